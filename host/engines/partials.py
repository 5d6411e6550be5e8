"""Takes spectra apart into partials, each with its frequency and amplitude, and the noise that is left.

A decoded frame says how strong each bin is. A partial is a peak that stands out of its surroundings as the lobe of the
analysis window does; the rest is noise (sinusoids plus noise: Serra and Smith, "Spectral modeling synthesis",
Computer Music Journal 14:4, 1990).
"""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

HANN_ENERGY = 1.5  # sum of the squares of a Hann lobe of height 1 over all bins, wherever its centre is
# A lobe's energy over all bins in parts of its highest bin's, at most: between two bins, 1.5 / 0.85 ** 2.
LOBE_ENERGY = np.float32(2.1)
REACH = 2  # bins on either side of a peak that hold its energy
CLEARED = 3  # bins on either side of a peak that are the partial's, and not noise
SKIRT = (3, 4)  # bins on either side of a peak where a lobe has fallen by 30 dB or more, and noise has not
QUIETEST = 1e-4  # of a frame's strongest bin: softer harmonics are left out
QUIETEST_FREE = 5e-3  # of a frame's strongest bin: softer peaks that are no harmonics are artefacts of the decoder
NOISE_DB, TONE_DB = 12.0, 20.0  # above the noise: below the first all is noise, above the second all is a partial
SPREAD = 0.5  # bins by which a harmonic is wider than the one below it: vibrato and chorus spread them in proportion
WIDEST = 1 / 3  # of the fundamental, on either side: between two harmonics there is noise
MARGIN = max(*SKIRT, CLEARED)  # bins at either end of a frame that hold no free partial
TINY = 1e-20  # power, keeps logarithms and divisors above 0
FREE = 64  # partials of a frame that are no harmonics, at most
HIGHEST_HARMONIC = 400  # at most: only a fundamental below 55 Hz has more


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a frame that is taken apart, in one row: harmonics, free partials, noise.

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
        """Return how many numbers a row has."""
        return self.harmonics + 2 * FREE + self.noise

    def harmonic(self, rows: Array) -> Array:
        """Return the magnitudes at the centres of the harmonics' lobes, [rows, harmonics]."""
        return rows[:, : self.harmonics]

    def free(self, rows: Array) -> tuple[Array, Array]:
        """Return the places of free partials, in bins, and their magnitudes, each [rows, FREE]; unused ones are 0."""
        places = rows[:, self.harmonics : self.harmonics + FREE]
        return places, rows[:, self.harmonics + FREE : self.harmonics + 2 * FREE]

    def residue(self, rows: Array) -> Array:
        """Return the root mean square magnitude of the noise around each of its bins, [rows, noise]."""
        return rows[:, self.harmonics + 2 * FREE :]


def taken_apart(frames: Array, fundamentals: Floats, layout: Layout) -> Array:
    """Return the partials and the noise of magnitude frames.

    What lies around a harmonic of the fundamental and stands out of what lies between harmonics is that harmonic,
    however wide it is: a decoder's lobes are means of many frames'. Between two harmonics the highest peak, if it is a
    lobe, is a free partial, and the rest is noise. Without a fundamental all peaks that are lobes are free partials.

    Args:
        frames: [rows, bins], magnitudes of a Hann window's transform.
        fundamentals: [rows], in bins; NaN where there is none, and no partial is a harmonic.

    Returns:
        [rows, layout.width].
    """
    result = np.zeros((len(frames), layout.width), np.float32)
    pitched = (fundamentals > 0) if layout.harmonics else np.zeros(len(frames), bool)
    if pitched.all():
        _pitched(frames, fundamentals, layout, result)
    elif not pitched.any():
        _unpitched(frames, layout, result)
    else:
        for rows in (pitched, ~pitched):
            result[rows] = taken_apart(frames[rows], fundamentals[rows], layout)
    return result


class _Comb(NamedTuple):
    """The bins of a fundamental's harmonics, and of the gaps between them.

    Attributes:
        edges: first bins of the gap below the fundamental, of the fundamental, of the gap above it, of the second
            harmonic and so on, [2 * harmonics + 1].
        covered: bins of each of them, [2 * harmonics + 1].
        gap: for each bin of the noise the nearest gap, from 0, [noise].
    """

    edges: Indices
    covered: Array
    gap: Indices


@functools.lru_cache(maxsize=24)  # the pitch classes of two models
def _comb(first: float, layout: Layout, bins: int) -> _Comb:
    number = np.arange(1, layout.harmonics + 1)
    wide = np.minimum(CLEARED + SPREAD * (number - 1), max(WIDEST * first, 1.0))
    ends = np.rint(np.stack([number * first - wide, number * first + wide + 1], axis=1)).astype(np.intp)
    edges = np.minimum(np.concatenate([[0], ends.ravel()]), bins - 1)
    covered = np.maximum(np.diff(edges, append=bins), 1).astype(np.float32)
    gap = np.floor(np.arange(layout.noise) * layout.noise_width / first).astype(np.intp)
    return _Comb(edges, covered, np.minimum(gap, layout.harmonics))


def _pitched(frames: Array, fundamentals: Floats, layout: Layout, result: Array) -> None:
    """Take frames apart that all have a fundamental."""
    power = np.square(frames)
    combs = [_comb(first, layout, frames.shape[1]) for first in fundamentals.tolist()]
    sums = np.array([np.add.reduceat(row, comb.edges) for row, comb in zip(power, combs, strict=True)])
    peaks = np.array([np.maximum.reduceat(row, comb.edges)[::2] for row, comb in zip(power, combs, strict=True)])
    covered = np.array([comb.covered for comb in combs])
    loudest = power.max(axis=1, keepdims=True)
    # A lobe with as much noise beside it as it may have is no larger part of its gap's energy than this.
    alone = sums[:, ::2] < peaks * (LOBE_ENERGY + covered[:, ::2] * np.float32(10 ** (-NOISE_DB / 10)))
    found = np.nonzero((peaks > np.float32(QUIETEST_FREE**2) * loudest) & alone)
    if len(found[0]):
        row, gap = found
        edges = np.array([np.append(comb.edges, frames.shape[1]) for comb in combs])
        row, gap, place, strength = _gap_peaks(frames, row, gap, edges[row, 2 * gap], edges[row, 2 * gap + 1])
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        kept = np.flatnonzero(rank < FREE)
        row, gap, rank = row[kept], gap[kept], rank[kept]
        places, strengths = layout.free(result)
        places[row, rank], strengths[row, rank] = place[kept], strength[kept]
        sums[row, 2 * gap] -= np.float32(HANN_ENERGY) * np.square(strength[kept])
        np.maximum(sums, 0.0, out=sums)
    noise = sums[:, ::2] / covered[:, ::2]
    beside = (noise[:, :-1] + noise[:, 1:]) / 2
    more = (sums[:, 1::2] - covered[:, 1::2] * beside) / np.float32(HANN_ENERGY)
    own = np.maximum(more, 0.0)
    tone = _tone_share(10 * np.log10((own + TINY) / (beside + TINY)))
    tone *= own > np.float32(QUIETEST**2) * loudest
    layout.harmonic(result)[:] = tone * np.sqrt(own)
    # What of a harmonic is noise is spread over the gaps beside it.
    hiss = (more - np.square(tone) * own) * (np.float32(HANN_ENERGY / 2) / fundamentals[:, np.newaxis])
    noise[:, :-1] += hiss
    noise[:, 1:] += hiss
    noise = np.sqrt(np.maximum(noise, 0.0))
    for level, comb, residue in zip(noise, combs, layout.residue(result), strict=True):
        level.take(comb.gap, out=residue)


def _gap_peaks(
    frames: Array, row: Indices, gap: Indices, start: Indices, end: Indices
) -> tuple[Indices, Indices, Floats, Array]:
    """Return the highest peak of each gap between two harmonics, where it is a lobe.

    Args:
        row, gap: [gaps], the frame of each, and its number there.
        start, end: [gaps], the first bin of each, and the one after its last.

    Returns:
        Row and gap of the peaks that are lobes, their places in bins, and their heights.
    """
    start, end = np.maximum(start, MARGIN), np.minimum(end, frames.shape[1] - MARGIN)
    at = start[:, np.newaxis] + np.arange(max(int((end - start).max()), 1))
    inside = at < end[:, np.newaxis]
    heights = np.where(inside, frames[row[:, np.newaxis], np.minimum(at, frames.shape[1] - 1)], -1.0)
    peak = start + heights.argmax(axis=1)
    some = np.flatnonzero(end > start)
    some = some[_is_top(frames, row[some], peak[some])]
    tone = _tonality(frames, row[some], peak[some])
    some, tone = some[tone > 0], tone[tone > 0]
    return row[some], gap[some], *_lobes(frames, row[some], peak[some], tone)


def _unpitched(frames: Array, layout: Layout, result: Array) -> None:
    """Take frames apart that have no fundamental."""
    rest = frames.copy()
    row, peak, tone = _peaks(frames)
    if len(row):
        place, strength = _lobes(frames, row, peak, tone)
        _remove_lobes(rest, frames, row, peak, tone)
        order = np.lexsort((-strength, row))
        begin = np.searchsorted(row[order], np.arange(len(frames)))
        rank = np.arange(len(order)) - begin[row[order]]
        order, rank = order[rank < FREE], rank[rank < FREE]
        places, strengths = layout.free(result)
        places[row[order], rank] = place[order]
        strengths[row[order], rank] = strength[order]
    layout.residue(result)[:] = _noise_levels(rest, layout)


def _tone_share(above_db: Any) -> Any:
    """Return how much of a peak this far above the noise is a partial: 0 to 1."""
    return np.clip((above_db - NOISE_DB) / (TONE_DB - NOISE_DB), 0.0, 1.0)


def _peaks(frames: Array) -> tuple[Indices, Indices, Floats]:
    """Return rows and bins of the peaks, and how much of each is a partial: above 0, at most 1."""
    row, peak = np.nonzero(frames[:, MARGIN:-MARGIN] > QUIETEST_FREE * frames.max(axis=1, keepdims=True))
    peak += MARGIN
    top = _is_top(frames, row, peak)
    row, peak = row[top], peak[top]
    tone = _tonality(frames, row, peak)
    return row[tone > 0], peak[tone > 0], tone[tone > 0]


def _is_top(frames: Array, row: Indices, peak: Indices) -> npt.NDArray[np.bool_]:
    here = frames[row, peak]
    top: npt.NDArray[np.bool_] = (here > frames[row, peak - 1]) & (here >= frames[row, peak + 1])
    return top


def _tonality(frames: Array, row: Indices, peak: Indices) -> Floats:
    """Return how much of each peak is a partial, [peaks], 0 to 1, by how far it stands out of its skirt.

    That is the mean power of either side, and of both the geometric mean: a neighbour's lobe on one side harms little.
    """
    below, above = (
        sum(np.square(frames[row, peak + side * away]) for away in SKIRT) / np.float32(len(SKIRT)) for side in (-1, 1)
    )
    skirt = np.sqrt(below + TINY) * np.sqrt(above + TINY)
    tone: Floats = _tone_share(10 * np.log10(np.square(frames[row, peak]) / skirt))
    return tone


def _lobes(frames: Array, row: Indices, peak: Indices, tone: Floats) -> tuple[Floats, Array]:
    """Return the centres of lobes, in bins, and their heights there.

    The two highest bins of a Hann lobe, at ratio r, give its centre: (2 r - 1) / (r + 1) of a bin from the highest. The
    energy of a bin that two lobes reach counts half for each.
    """
    here, below, above = frames[row, peak], frames[row, peak - 1], frames[row, peak + 1]
    ratio = np.maximum(below, above) / here
    away = np.clip((2 * ratio - 1) / (ratio + 1), 0.0, 0.5)
    place: Floats = np.where(above > below, away, -away).astype(np.float64) + peak
    around = peak[:, np.newaxis] + np.arange(-REACH, REACH + 1)
    _, which, shared = np.unique(row[:, np.newaxis] * frames.shape[1] + around, return_inverse=True, return_counts=True)
    energy = np.sum(np.square(frames[row[:, np.newaxis], around]) / shared[which.reshape(around.shape)], axis=1)
    return place, (tone * np.sqrt(energy / np.float32(HANN_ENERGY))).astype(np.float32)


def _remove_lobes(rest: Array, frames: Array, row: Indices, peak: Indices, tone: Floats) -> None:
    """Take the peaks' lobes out of ``rest``, [rows, bins], down to what is beside them."""
    floor = np.minimum(frames[row, peak - SKIRT[-1]], frames[row, peak + SKIRT[-1]])[:, np.newaxis]
    left = np.sqrt(1 - np.square(tone)).astype(np.float32)[:, np.newaxis]
    there = row[:, np.newaxis], peak[:, np.newaxis] + np.arange(-CLEARED, CLEARED + 1)
    np.minimum.at(rest, there, np.maximum(floor, left * frames[there]))


def _noise_levels(rest: Array, layout: Layout) -> Array:
    """Return the root mean square of the bins that each bin of the noise covers, [rows, noise]."""
    bins = rest.shape[1]
    edges = np.rint((np.arange(layout.noise + 1) - 0.5) * layout.noise_width + 0.5)
    edges = np.clip(edges, 0, bins - 1).astype(np.intp)
    power = np.add.reduceat(np.square(rest), edges[:-1], axis=1)
    power /= np.maximum(np.diff(edges[:-1], append=bins), 1).astype(np.float32)
    return np.sqrt(power)
