// Reads values as musicians type them: a number, and a unit if they like.

// By what is typed, in lower case: what it measures, and how much of that.
const UNITS = new Map(Object.entries({
  s: ["time", 1], ms: ["time", 0.001], hz: ["pitch", 1], khz: ["pitch", 1000], k: ["pitch", 1000], db: ["level", 1],
  semitones: ["key", 1], st: ["key", 1], cents: ["key", 0.01],
}));
const NUMBER = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(\D*)$/;

const first = (unit) => unit.split(/[ ,]/)[0];
const known = (unit) => UNITS.get(first(unit).toLowerCase());

/** Returns the typed value of a control in its own unit; null if the text is none. */
export function typed(text, { unit }) {
  const [, digits, given] = NUMBER.exec(text.trim().toLowerCase().replace(",", ".").replace("−", "-")) ?? [];
  if (!digits) return null;
  const own = known(unit), number = Number(digits);
  if (!given) return number;
  if (!own && given === "%") return number / 100;
  const [what, size] = UNITS.get(given) ?? [];
  return (own ? what === own[0] : given === "k") ? (number * size) / (own?.[1] ?? 1) : null;
}

/** Says how a value of a control is typed. */
export const wanted = (example, { unit }) => `Type a number, such as ${example}${known(unit) ? ` ${first(unit)}` : ""}`;
