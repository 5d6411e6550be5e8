// Names on the map: labels as people read them, and the families of instruments.

// Tried in this order: "Voice Lead" is a synth, "English Horn" a reed, "Bassoon" no bass. Names of General MIDI.
const FAMILIES = {
  synth: /\b(lead|pad)\b|^fx /i,
  voice: /voice|oohs|aahs|choir/i,
  piano: /piano|clavi|harpsi/i,
  mallets: /celesta|glockenspiel|music box|vibraphone|marimba|xylophone|tubular bells|dulcimer/i,
  organ: /organ|accordion|harmonica/i,
  guitar: /guitar/i,
  reed: /\bsax|oboe|english horn|bassoon|clarinet/i,
  pipe: /piccolo|flute|recorder|bottle|shakuhachi|whistle|ocarina/i,
  bass: /\bbass\b(?! drum)/i,
  brass: /trumpet|trombone|tuba|horn|brass/i,
  strings: /violin|viola|cello|contrabass|strings?\b|\bharp$/i,
  world: /sitar|banjo|shamisen|koto|kalimba|bag ?pipe|fiddle|shanai/i,
};
const FILED = /[_/\\]|[a-z]-(note)?\d|\.[a-zA-Z]\w{1,3}$|bpm$| no\. ?\d+$|^note ?\d+$/; // labels that came from files
const NUMBERED = /^(\d.*|no\.|(note|key|vel|v)\d+|[a-g][#b♯♭]?-?\d)$/i; // a note, a velocity, a take

/** A label without what its file adds: an ending, numbers, a tempo; "" where nothing is left. */
export function shownName(label) {
  if (!FILED.test(label)) return label;
  const words = label.replace(/\.[a-z]\w{1,3}$/i, "").split(/[\s_/\\]+|-(?=\d|note)|(?<=\d)-/);
  if (/^\d+ no\. ?\d+$/.test(label)) return words[0]; // a digit that is spoken
  const first = words.findIndex((word) => !NUMBERED.test(word));
  const after = words.findIndex((word, index) => index > first && NUMBERED.test(word));
  return first < 0 ? "" : words.slice(first, after < 0 ? words.length : after).join(" ");
}

/** The family of a name: of instruments that of General MIDI, of others what stands before a digit or a separator. */
export function family(name) {
  const known = Object.keys(FAMILIES).find((each) => FAMILIES[each].test(name));
  return known ?? (name.match(/^[^\d\s_/.-]+/)?.[0] ?? name).toLowerCase();
}
