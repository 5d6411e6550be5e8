// Colours of dots: hues of one lightness for pitches, of three for groups; cividis for timbre and loudness.

import { dark, noteClass } from "./dom.js";

// Seventeen points of cividis, from 0 to 1 (Nuñez, Anderton and Renslow 2018, doi:10.1371/journal.pone.0199239), sRGB.
const CIVIDIS = [
  [0, 34, 78], [0, 46, 106], [26, 56, 111], [50, 67, 109], [67, 78, 108], [83, 90, 109], [97, 101, 111], [111, 112, 115], [125, 124, 120],
  [140, 136, 120], [155, 148, 118], [171, 160, 114], [188, 174, 108], [205, 187, 99], [222, 201, 88], [240, 216, 70], [254, 232, 56],
];

export function cividis(place) {
  const position = Math.min(Math.max(place, 0), 1) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(position), CIVIDIS.length - 2);
  const mix = CIVIDIS[low].map((first, channel) => Math.round(first + (CIVIDIS[low + 1][channel] - first) * (position - low)));
  return `rgb(${mix.join(" ")})`;
}

const LEVELS = 24; // colours of a ramp that a map is drawn in
const NAMED = 12; // groups up to which the legend names each
const RAMPS = { timbre: ["brightness", "dull", "bright"], loudness: ["loudness", "soft", "loud"] };

/** The colour of a level, kept off the end of cividis that the ground is as dark or as light as. */
const ramp = (level) => cividis((level / (LEVELS - 1)) * 0.78 + (dark.matches ? 0.22 : 0));

/** The colour of a pitch class 0 to 11, C is red. */
const pitch = (note) => `oklch(${dark.matches ? "0.76 0.13" : "0.56 0.15"} ${25 + 30 * note})`;

/** The colour of one of several groups: neighbours differ in hue and lightness. */
const group = (index, count) => `oklch(${(dark.matches ? 0.74 : 0.5) + 0.12 * ((index % 3) - 1)} 0.13 ${25 + (360 * index) / count})`;

/** By what the dots of a surface can be coloured: only what tells some from others. */
export function choices({ groups: { label, family }, ends, notes }) {
  const several = { label: label.names.length > 1, family: family.names.length > 1 && family.names.length < label.names.length };
  const differ = { ...several, pitch: notes.some((note) => note >= 0) };
  for (const [by, [values]] of Object.entries(RAMPS)) differ[by] = ends[values][1] > ends[values][0];
  return ["label", "timbre", "loudness", "pitch", "family"].filter((by) => differ[by]);
}

/** The colour of a dot; null where it has none. */
export function dotColour(surface, dot, by) {
  if (by in RAMPS) return ramp(Math.round(surface.level(RAMPS[by][0], dot) * (LEVELS - 1)));
  if (by === "pitch") return surface.notes[dot] < 0 ? null : pitch(surface.notes[dot]);
  const nameIndex = surface.groups[by]?.indexByLabel[surface.label[dot]] ?? -1;
  return nameIndex < 0 ? null : group(nameIndex, surface.groups[by].names.length);
}

/** What the colours mean: texts, and pairs of a colour and its text. */
export function legend(surface, by) {
  if (by === "pitch") return Array.from({ length: 12 }, (_, note) => [pitch(note), noteClass(note)]);
  if (by in RAMPS) return [RAMPS[by][1], ...Array.from({ length: 8 }, (_, step) => [ramp((step / 7) * (LEVELS - 1)), ""]), RAMPS[by][2]];
  const names = surface.groups[by]?.names ?? [];
  return names.length > NAMED ? [`${names.length} colours: point at a dot for its name`] : names.map((name, index) => [group(index, names.length), name]);
}
