// Names on the map, and the families of instruments.

// Of General MIDI, in this order: "Voice Lead" is a synth, "English Horn" a reed, "Bassoon" no bass.
const FAMILIES = {
  synth: /\b(lead|pad)\b|^fx /i,
  voice: /voice|oohs|aahs|choir/i,
  piano: /piano|clav|harpsi/i,
  mallets: /celesta|glocken|music box|vibra|marimba|xylo|tubular|dulcimer/i,
  organ: /organ|accordion|harmonica/i,
  guitar: /guitar/i,
  reed: /sax|oboe|english horn|bassoon|clarinet/i,
  pipe: /piccolo|flute|recorder|bottle|shaku|whistle|ocarina/i,
  bass: /\bbass\b(?! drum)/i,
  brass: /trumpet|trombone|tuba|horn|brass/i,
  strings: /violin|viola|cello|contrabass|strings?\b|harp$/i,
  world: /sitar|banjo|shamisen|koto|kalimba|bag ?pipe|fiddle|shanai/i,
};
const FILED = /[_/\\]|[a-z]-(note)?\d|\.[a-zA-Z]\w{1,3}$|bpm$| no\. ?\d+$|^note ?\d+$/; // labels from files
const NUMBERED = /^(\d.*|no\.|(note|key|vel|v)\d+|[a-g][#b♯♭]?-?\d)$/i; // notes, velocities, takes

/** A label without what its file adds: an ending, numbers, a tempo; "" where nothing is left. */
export function shownName(label) {
  if (!FILED.test(label)) return label;
  if (/^\d+ no\./.test(label)) return label.split(" ")[0]; // a digit that is spoken
  const words = label.replace(/\.[a-z]\w{1,3}$/i, "").split(/[\s_/\\]+|-(?=\d|note)|(?<=\d)-/);
  const first = words.findIndex((word) => !NUMBERED.test(word));
  const after = words.findIndex((word, index) => index > first && NUMBERED.test(word));
  return first < 0 ? "" : words.slice(first, after < 0 ? words.length : after).join(" ");
}

/** The family of a name: of General MIDI, else what stands before a digit or a separator. */
export const family = (name) =>
  Object.keys(FAMILIES).find((candidate) => FAMILIES[candidate].test(name)) ?? (name.match(/^[^\d\s_/.-]+/)?.[0] ?? name).toLowerCase();
