// Reads values as musicians type them: a number, and a unit if they like.

// By what is typed, in lower case: what it measures, and how much of that.
const UNITS = new Map(Object.entries({
  s: ["time", 1], sec: ["time", 1], ms: ["time", 0.001], hz: ["frequency", 1], khz: ["frequency", 1000], db: ["level", 1],
  st: ["interval", 1], semitone: ["interval", 1], semitones: ["interval", 1], cent: ["interval", 0.01], cents: ["interval", 0.01],
}));
const PLAIN = new Map([["%", 0.01], ["k", 1000]]); // of controls without a unit
const NUMBER = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(\D*)$/;

const first = (unit) => unit.split(/[ ,]/)[0];
const known = (unit) => UNITS.get(first(unit).toLowerCase());

/** Returns the typed value of a control in its own unit; null if the text is none. */
export function typed(text, { unit }) {
  const [, digits, given] = NUMBER.exec(text.trim().toLowerCase().replace(",", ".").replace("−", "-")) ?? [];
  if (!digits) return null;
  const own = known(unit), number = Number(digits);
  if (!given) return number;
  if (!own) return PLAIN.has(given) ? number * PLAIN.get(given) : null;
  const [what, size] = UNITS.get(given === "k" ? "khz" : given) ?? [];
  return what === own[0] ? (number * size) / own[1] : null;
}

/** Says how a value of a control is typed. */
export const wanted = (example, { unit }) => `Type a number, such as ${example}${known(unit) ? ` ${first(unit)}` : ""}`;
