"""Spectra taken apart: partials, each with its frequency and strength, and the noise that is left.

A decoded frame says how strong each bin is. A partial is a peak that stands out of its surroundings as the lobe of the
analysis window does; what it is not is noise (sinusoids plus noise: Serra and Smith, "Spectral modeling synthesis",
Computer Music Journal 14:4, 1990).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

HANN_ENERGY = 1.5  # sum of the squares of a Hann lobe of height 1 over all bins, wherever its centre is
REACH = 2  # bins on either side of a peak that hold its energy
CLEARED = 3  # bins on either side that are the partial's, and not noise
SKIRT = (3, 4)  # bins on either side where a lobe has fallen by 30 dB or more, and noise has not
QUIETEST = 1e-4  # of a frame's strongest bin: what is softer is noise
NOISE_DB, TONE_DB = 12.0, 20.0  # a peak above its skirt by less is noise, by more a partial, in between both
HARMONIC_CENTS = 35.0  # what is nearer to a harmonic of its key is that harmonic, decoded inexactly
HARMONIC_SHARE = 0.15  # of the fundamental: what is farther from a harmonic is none, be it high up
FREE = 64  # partials of a frame that belong to no harmonic: the strongest are kept
HIGHEST_HARMONIC = 400  # more would be those of a fundamental below 55 Hz


@dataclass(frozen=True, slots=True)
class Layout:
    """How a frame that is taken apart lies in one row: harmonics, free partials, noise.

    Attributes:
        harmonics: amplitudes of the harmonics 1 to this many.
        noise: bins of the noise's spectrum.
        noise_width: how many bins of a frame each of them is wide.
    """

    harmonics: int
    noise: int
    noise_width: float

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return self.harmonics + 2 * FREE + self.noise

    def harmonic(self, rows: Array) -> Array:
        """Magnitudes at the centre of the harmonics' lobes, [rows, harmonics]."""
        return rows[:, : self.harmonics]

    def free(self, rows: Array) -> tuple[Array, Array]:
        """Free partials: where they are, in bins, and their magnitudes, each [rows, FREE]; what is not there is 0."""
        places = rows[:, self.harmonics : self.harmonics + FREE]
        return places, rows[:, self.harmonics + FREE : self.harmonics + 2 * FREE]

    def residue(self, rows: Array) -> Array:
        """Root mean square magnitude of the noise around each of its bins, [rows, noise]."""
        return rows[:, self.harmonics + 2 * FREE :]


def taken_apart(frames: Array, fundamentals: Floats, layout: Layout) -> Array:
    """Partials and noise of magnitude frames.

    Args:
        frames: [rows, bins], magnitudes of a Hann window's transform.
        fundamentals: [rows], in bins; NaN where there is none, and no partial is a harmonic.

    Returns:
        [rows, layout.width].
    """
    count = len(frames)
    result = np.zeros((count, layout.width), np.float32)
    row, peak, tone = _peaks(frames)
    place, strength = _lobes(frames, row, peak, tone)

    first = fundamentals[row]
    with np.errstate(invalid="ignore"):
        harmonic = np.rint(place / first)
        tolerance = (
            np.minimum(np.exp2(HARMONIC_CENTS / 1200) - 1, HARMONIC_SHARE / np.maximum(harmonic, 1.0))
            * harmonic
            * first
        )
        owned = (harmonic >= 1) & (harmonic <= layout.harmonics) & (np.abs(place - harmonic * first) <= tolerance)
    number = row[owned] * layout.harmonics + harmonic[owned].astype(np.intp) - 1
    energy = np.bincount(number, np.square(strength[owned], dtype=np.float64), count * layout.harmonics)
    layout.harmonic(result)[:] = np.sqrt(energy).reshape(count, layout.harmonics)

    loose = np.flatnonzero(~owned)
    order = loose[np.lexsort((-strength[loose], row[loose]))]
    begin = np.searchsorted(row[order], np.arange(count))
    rank = np.arange(len(order)) - begin[row[order]]
    order, rank = order[rank < FREE], rank[rank < FREE]
    places, strengths = layout.free(result)
    places[row[order], rank] = place[order]
    strengths[row[order], rank] = strength[order]

    layout.residue(result)[:] = _noise(frames, row, peak, tone, layout)
    return result


def _peaks(frames: Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Array]:
    """Rows and bins of the peaks, and how much of each is a partial: above 0, at most 1."""
    margin = max(*SKIRT, CLEARED)
    middle = frames[:, margin:-margin]
    left, right = frames[:, margin - 1 : -margin - 1], frames[:, margin + 1 : 1 - margin]
    floor = QUIETEST * frames.max(axis=1, keepdims=True)
    row, peak = np.nonzero((middle > left) & (middle >= right) & (middle > floor))
    peak += margin
    skirt = sum(np.square(frames[row, peak + side * away]) for side in (-1, 1) for away in SKIRT)
    height = 20 * np.log10(frames[row, peak]) - 10 * np.log10(skirt / (2 * len(SKIRT)) + np.float32(1e-20))
    tone = np.clip((height - NOISE_DB) / (TONE_DB - NOISE_DB), 0.0, 1.0).astype(np.float32)
    some = tone > 0
    return row[some], peak[some], tone[some]


def _lobes(frames: Array, row: npt.NDArray[np.intp], peak: npt.NDArray[np.intp], tone: Array) -> tuple[Floats, Array]:
    """Where the lobes' centres are, in bins, and how high they are there.

    Of a Hann lobe the two highest bins, at ratio r, tell the place: (2 r - 1) / (r + 1) of a bin from the highest.
    """
    here, below, above = frames[row, peak], frames[row, peak - 1], frames[row, peak + 1]
    ratio = np.maximum(below, above) / here
    away = np.clip((2 * ratio - 1) / (ratio + 1), 0.0, 0.5)
    place: Floats = np.where(above > below, away, -away).astype(np.float64) + peak
    energy = sum(np.square(frames[row, peak + offset]) for offset in range(-REACH, REACH + 1))
    return place, (tone * np.sqrt(energy / np.float32(HANN_ENERGY))).astype(np.float32)


def _noise(frames: Array, row: npt.NDArray[np.intp], peak: npt.NDArray[np.intp], tone: Array, layout: Layout) -> Array:
    """What the partials leave, [rows, noise]: of the power of the bins that each bin of the noise covers, the mean."""
    rest = frames.copy()
    floor = np.minimum(frames[row, peak - SKIRT[-1]], frames[row, peak + SKIRT[-1]])
    left = np.sqrt(1 - np.square(tone))
    for offset in range(-CLEARED, CLEARED + 1):
        there = peak + offset
        rest[row, there] = np.minimum(rest[row, there], np.maximum(floor, left * frames[row, there]))
    total = np.zeros((len(rest), rest.shape[1] + 1))
    np.cumsum(np.square(rest), axis=1, out=total[:, 1:])
    edge = np.clip((np.arange(layout.noise + 1) - 0.5) * layout.noise_width + 0.5, 0, rest.shape[1])
    below = np.minimum(edge.astype(np.intp), rest.shape[1] - 1)
    reached = total[:, below] + (total[:, below + 1] - total[:, below]) * (edge - below)
    return np.sqrt(np.diff(reached) / np.maximum(np.diff(edge), 1e-6)).astype(np.float32)
