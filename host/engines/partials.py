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
Indices = npt.NDArray[np.intp]

HANN_ENERGY = 1.5  # sum of the squares of a Hann lobe of height 1 over all bins, wherever its centre is
REACH = 2  # bins on either side of a peak that hold its energy
CLEARED = 3  # bins on either side that are the partial's, and not noise
SKIRT = (3, 4)  # bins on either side where a lobe has fallen by 30 dB or more, and noise has not
QUIETEST = 1e-4  # of a frame's strongest bin: what is softer is noise
NOISE_DB, TONE_DB = 12.0, 20.0  # what stands out of the noise by less is noise, by more a partial, in between both
SPREAD = 0.5  # bins by which a harmonic is wider than the one below it: vibrato and chorus spread them in proportion
WIDEST = 1 / 3  # of the fundamental, on either side: between two harmonics there is noise
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

    What lies around a harmonic of the fundamental and stands out of what lies between harmonics is that harmonic,
    however wide it is: a decoder's lobes are means of many frames'. Elsewhere, peaks that are lobes are free partials.

    Args:
        frames: [rows, bins], magnitudes of a Hann window's transform.
        fundamentals: [rows], in bins; NaN where there is none, and no partial is a harmonic.

    Returns:
        [rows, layout.width].
    """
    count = len(frames)
    result = np.zeros((count, layout.width), np.float32)
    rest = frames.copy()
    pitched = np.flatnonzero(fundamentals > 0) if layout.harmonics else np.empty(0, np.intp)
    inside = np.zeros(frames.shape, bool)
    if len(pitched):
        strengths, taken, left = _harmonics(frames[pitched], fundamentals[pitched], layout.harmonics)
        layout.harmonic(result)[pitched] = strengths
        inside[pitched], rest[pitched] = taken, left
    row, peak, tone = _peaks(frames, inside)
    place, strength = _lobes(frames, row, peak, tone)
    _clear(rest, frames, row, peak, tone)
    layout.residue(result)[:] = _means(rest, layout)

    order = np.lexsort((-strength, row))
    begin = np.searchsorted(row[order], np.arange(count))
    rank = np.arange(len(order)) - begin[row[order]]
    order, rank = order[rank < FREE], rank[rank < FREE]
    places, strengths = layout.free(result)
    places[row[order], rank] = place[order]
    strengths[row[order], rank] = strength[order]
    return result


def _harmonics(frames: Array, fundamentals: Floats, count: int) -> tuple[Array, npt.NDArray[np.bool_], Array]:
    """Harmonics of frames that all have a fundamental.

    Returns:
        Their magnitudes, [rows, count]; which bins are theirs, [rows, bins]; frames without them, [rows, bins].
    """
    bins = frames.shape[1]
    power = np.zeros((len(frames), bins + 1))
    np.cumsum(np.square(frames), axis=1, out=power[:, 1:])
    first = fundamentals[:, np.newaxis]
    number = np.arange(1, count + 1)
    wide = np.minimum(CLEARED + SPREAD * (number - 1), np.maximum(WIDEST * first, 1.0))

    def between(low: Floats, high: Floats) -> tuple[Floats, Indices]:
        below = np.clip(np.rint(low).astype(np.intp), 0, bins)
        above = np.clip(np.rint(high).astype(np.intp) + 1, below, bins)
        rows = np.arange(len(frames))[:, np.newaxis]
        return power[rows, above] - power[rows, below], above - below

    energy, covered = between(number * first - wide, number * first + wide)
    valley, wide_valley = between((np.arange(count + 1) + 0.5) * first - 1, (np.arange(count + 1) + 0.5) * first + 1)
    valley = valley / np.maximum(wide_valley, 1)
    noise = (valley[:, :-1] + valley[:, 1:]) / 2
    own = np.maximum(energy - covered * noise, 0.0) / HANN_ENERGY
    loudest = np.square(QUIETEST * frames.max(axis=1, keepdims=True))
    tone = _tone(10 * np.log10((own + 1e-20) / (noise + 1e-20))) * (own > loudest)
    strengths = (tone * np.sqrt(own)).astype(np.float32)

    at = np.arange(bins)
    nearest = np.clip(np.rint(at / first).astype(np.intp), 1, count) - 1
    rows = np.arange(len(frames))[:, np.newaxis]
    taken = (np.abs(at - (nearest + 1) * first) <= wide[rows, nearest]) & (tone[rows, nearest] > 0)
    left = np.sqrt(np.maximum(noise, (1 - np.square(tone)) * own))[rows, nearest].astype(np.float32)
    return strengths, taken, np.where(taken, np.minimum(frames, left), frames)


def _tone(above_db: Floats) -> Floats:
    """How much of what stands so far out of the noise is a partial: 0 to 1."""
    return np.clip((above_db - NOISE_DB) / (TONE_DB - NOISE_DB), 0.0, 1.0)


def _peaks(frames: Array, inside: npt.NDArray[np.bool_]) -> tuple[Indices, Indices, Floats]:
    """Rows and bins of the peaks outside of what is taken, and how much of each is a partial: above 0, at most 1."""
    margin = max(*SKIRT, CLEARED)
    middle = frames[:, margin:-margin]
    left, right = frames[:, margin - 1 : -margin - 1], frames[:, margin + 1 : 1 - margin]
    floor = QUIETEST * frames.max(axis=1, keepdims=True)
    row, peak = np.nonzero((middle > left) & (middle >= right) & (middle > floor) & ~inside[:, margin:-margin])
    peak += margin
    skirt = sum(np.square(frames[row, peak + side * away]) for side in (-1, 1) for away in SKIRT)
    tone = _tone(20 * np.log10(frames[row, peak]) - 10 * np.log10(skirt / (2 * len(SKIRT)) + np.float32(1e-20)))
    some = tone > 0
    return row[some], peak[some], tone[some]


def _lobes(frames: Array, row: Indices, peak: Indices, tone: Floats) -> tuple[Floats, Array]:
    """Where the lobes' centres are, in bins, and how high they are there.

    Of a Hann lobe the two highest bins, at ratio r, tell the place: (2 r - 1) / (r + 1) of a bin from the highest.
    """
    here, below, above = frames[row, peak], frames[row, peak - 1], frames[row, peak + 1]
    ratio = np.maximum(below, above) / here
    away = np.clip((2 * ratio - 1) / (ratio + 1), 0.0, 0.5)
    place: Floats = np.where(above > below, away, -away).astype(np.float64) + peak
    energy = sum(np.square(frames[row, peak + offset]) for offset in range(-REACH, REACH + 1))
    return place, (tone * np.sqrt(energy / np.float32(HANN_ENERGY))).astype(np.float32)


def _clear(rest: Array, frames: Array, row: Indices, peak: Indices, tone: Floats) -> None:
    """Take the peaks' lobes out of ``rest``, [rows, bins], down to what is beside them."""
    floor = np.minimum(frames[row, peak - SKIRT[-1]], frames[row, peak + SKIRT[-1]])
    left = np.sqrt(1 - np.square(tone)).astype(np.float32)
    for offset in range(-CLEARED, CLEARED + 1):
        there = peak + offset
        rest[row, there] = np.minimum(rest[row, there], np.maximum(floor, left * frames[row, there]))


def _means(rest: Array, layout: Layout) -> Array:
    """Root mean square of the bins that each bin of the noise covers, [rows, noise]."""
    bins = rest.shape[1]
    total = np.zeros((len(rest), bins + 1))
    np.cumsum(np.square(rest), axis=1, out=total[:, 1:])
    edge = np.clip((np.arange(layout.noise + 1) - 0.5) * layout.noise_width + 0.5, 0, bins)
    below = np.minimum(edge.astype(np.intp), bins - 1)
    reached = total[:, below] + (total[:, below + 1] - total[:, below]) * (edge - below)
    power: Floats = np.diff(reached) / np.maximum(np.diff(edge), 1e-6)
    return np.sqrt(np.maximum(power, 0.0)).astype(np.float32)
