// Reads typed values: a number, and perhaps a unit.

// By what is typed, in lower case: what it measures, and how much of that.
const UNITS = new Map(Object.entries({
  s: ["time", 1], ms: ["time", 0.001], hz: ["pitch", 1], khz: ["pitch", 1000], k: ["pitch", 1000], db: ["level", 1],
  semitones: ["key", 1], st: ["key", 1], cents: ["key", 0.01],
}));
const NUMBER = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(\D*)$/;

const baseUnit = (unit) => unit.split(/[ ,]/)[0];
const lookUpUnit = (unit) => UNITS.get(baseUnit(unit).toLowerCase());

/** Returns the typed value of a control in its own unit; null if the text is none. */
export function parseValue(text, { unit }) {
  const [, digits, typedUnit] = NUMBER.exec(text.trim().toLowerCase().replace(",", ".").replace("−", "-")) ?? [];
  if (!digits) return null;
  const controlUnit = lookUpUnit(unit), number = Number(digits);
  if (!typedUnit) return number;
  if (!controlUnit && typedUnit === "%") return number / 100;
  const [quantity, size] = UNITS.get(typedUnit) ?? [];
  return (controlUnit ? quantity === controlUnit[0] : typedUnit === "k") ? (number * size) / (controlUnit?.[1] ?? 1) : null;
}

/** Says how a value of a control is typed. */
export const valueHint = (example, { unit }) => `Type a number, such as ${example}${lookUpUnit(unit) ? ` ${baseUnit(unit)}` : ""}`;
