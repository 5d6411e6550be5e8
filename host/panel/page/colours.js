// Colours of the dots. Notes go round a circle of hues of one lightness; brightness goes along cividis.

// Seventeen points of cividis, from 0 to 1 (Nuñez, Anderton and Renslow 2018, doi:10.1371/journal.pone.0199239), sRGB.
const CIVIDIS = [
  [0, 34, 78], [0, 46, 106], [26, 56, 111], [50, 67, 109], [67, 78, 108], [83, 90, 109], [97, 101, 111], [111, 112, 115], [125, 124, 120],
  [140, 136, 120], [155, 148, 118], [171, 160, 114], [188, 174, 108], [205, 187, 99], [222, 201, 88], [240, 216, 70], [254, 232, 56],
];

export function cividis(place) {
  const at = Math.min(Math.max(place, 0), 1) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  const mix = CIVIDIS[low].map((first, channel) => Math.round(first + (CIVIDIS[low + 1][channel] - first) * (at - low)));
  return `rgb(${mix.join(" ")})`;
}

export const LEVELS = 24; // colours of brightness that a map is drawn in

/** The colour of a level, kept off the end of cividis that the ground is as dark or as light as. */
export const brightness = (level, dark) => cividis((level / (LEVELS - 1)) * 0.78 + (dark ? 0.22 : 0));

/** The colour of a pitch class 0 to 11, C is red. */
export const pitch = (note, dark) => `oklch(${dark ? 0.76 : 0.56} ${dark ? 0.13 : 0.15} ${25 + 30 * note})`;
