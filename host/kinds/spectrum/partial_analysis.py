"""Takes spectra apart into partials, each with its frequency and amplitude, and the noise that is left.

A decoded frame says how strong each bin is. A partial is a peak that stands out of its surroundings as the lobe of the
analysis window does; the rest is noise (sinusoids plus noise: Serra and Smith, "Spectral modeling synthesis",
Computer Music Journal 14:4, 1990).
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...contract.partials import stretched

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
SKIRTS = 1 / 4  # of the fundamental, on either side, that a lobe's skirts may fill: noise is measured beyond them
LOWEST = 2  # bins of a clearing below the fundamental, where rumble and breath are not alike
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
        most_free: free partials, at most.
        lows: bands of noise that lie below the first bins of that spectrum, which follow it.
    """

    harmonics: int
    noise: int
    noise_width: float
    most_free: int = FREE
    lows: int = 0

    @property
    def width(self) -> int:
        """Return how many numbers a row has."""
        return self.harmonics + 2 * self.most_free + self.noise + self.lows

    def harmonic(self, rows: Array) -> Array:
        """Return the magnitudes at the centres of the harmonics' lobes, [rows, harmonics]."""
        return rows[:, : self.harmonics]

    def free(self, rows: Array) -> tuple[Array, Array]:
        """Return the places of free partials, in bins, and their magnitudes, [rows, most_free]; unused ones are 0."""
        middle = self.harmonics + self.most_free
        return rows[:, self.harmonics : middle], rows[:, middle : middle + self.most_free]

    def residue(self, rows: Array) -> Array:
        """Return the root mean square magnitude of the noise around each of its bins, [rows, noise]."""
        first = self.harmonics + 2 * self.most_free
        return rows[:, first : first + self.noise]

    def low(self, rows: Array) -> Array:
        """Return the root mean square magnitude of the noise in each of the low bands, [rows, lows]."""
        return rows[:, self.width - self.lows :]


def taken_apart(frames: Array, fundamentals: Floats, layout: Layout, stiffness: Floats | None = None) -> Array:
    """Return the partials and the noise of magnitude frames.

    What lies around a harmonic of the fundamental and stands out of what lies between harmonics is that harmonic,
    however wide it is: a decoder's lobes are means of many frames'. Between two harmonics the highest peak, if it is a
    lobe, is a free partial, and the rest is noise. Without a fundamental all peaks that are lobes are free partials.

    Args:
        frames: [rows, bins], magnitudes of a Hann window's transform.
        fundamentals: [rows], in bins; NaN where there is none, and no partial is a harmonic.
        stiffness: B of each row, [rows], by which strings stretch partials (`stretched`); None: no string is stiff.

    Returns:
        [rows, layout.width].
    """
    result = np.zeros((len(frames), layout.width), np.float32)
    pitched = (fundamentals > 0) if layout.harmonics else np.zeros(len(frames), bool)
    stiff = np.zeros(len(frames)) if stiffness is None else stiffness
    if pitched.all():
        _pitched(frames, fundamentals, stiff, layout, result)
    elif not pitched.any():
        _unpitched(frames, layout, result)
    else:
        for rows in (pitched, ~pitched):
            result[rows] = taken_apart(frames[rows], fundamentals[rows], layout, stiff[rows])
    return result


class _Between(NamedTuple):
    """Places between points that rise: the points below and above each, from 0, and how far it is from the first."""

    low: Indices
    high: Indices
    part: Array

    @classmethod
    def of(cls, places: Floats, points: Floats) -> "_Between":
        """Return where places lie; what is beyond the first or the last point lies on it."""
        point = np.clip(np.searchsorted(points, places, side="right") - 1, 0, max(len(points) - 2, 0))
        after = np.minimum(point + 1, len(points) - 1)
        part = (places - points[point]) / np.maximum(points[after] - points[point], 1.0)
        return cls(point, after, np.clip(part, 0.0, 1.0).astype(np.float32))

    def value(self, values: Array) -> Array:
        """Return what lies at the places on straight lines between values, [points]."""
        low = values.take(self.low)
        rise = values.take(self.high)
        rise -= low
        rise *= self.part
        low += rise
        return low


class _Comb(NamedTuple):
    """The bins of a fundamental's harmonics, and of the clearings between them, which no lobe reaches.

    Attributes:
        edges: first bins of the gap below the fundamental, of the fundamental, of the gap above it, of the second
            harmonic and so on, [2 * harmonics + 1].
        covered: bins of each of them, [2 * harmonics + 1].
        bounds: first bins of the parts of a frame, [parts]: clearings below the fundamental, the fundamental with its
            skirts, the clearing above it, the second harmonic with its skirts and so on, as far as the frame reaches.
        clearings, harmonics: which parts are clearings, and which the harmonics that lie within the frame.
        sizes: bins of each part, [parts].
        beside, below: where harmonics, [harmonics], and bins of the noise, [noise], lie between the clearings' middles.
        owner: for each bin of the noise the nearest harmonic, from 0, [noise].
        share: how much of the bin is that harmonic's part, [noise].
    """

    edges: Indices
    covered: Array
    bounds: Indices
    clearings: Indices
    harmonics: Indices
    sizes: Array
    beside: _Between
    below: _Between
    owner: Indices
    share: Array


@functools.lru_cache(maxsize=24)  # the pitch classes of two models
def _comb(first: float, stiff: float, layout: Layout, bins: int) -> _Comb:
    number = np.arange(1, layout.harmonics + 1)
    middle = first * stretched(number, stiff)
    wide = np.minimum(CLEARED + SPREAD * (number - 1), max(WIDEST * first, 1.0))
    ends = np.rint(np.stack([middle - wide, middle + wide + 1], axis=1)).astype(np.intp)
    edges = np.minimum(np.concatenate([[0], ends.ravel()]), bins - 1)
    covered = np.maximum(np.diff(edges, append=bins), 1).astype(np.float32)
    wide = np.maximum(wide, SKIRTS * first)
    parts = np.rint(np.stack([middle - wide, middle + wide + 1], axis=1)).astype(np.intp)
    end = 0
    for part in parts:  # of one bin at least, and a clearing of one between two, however close harmonics are
        part[0] = max(part[0], end + 1)
        part[1] = end = max(part[1], part[0] + 1)
    heard = parts[parts[:, 0] < bins]
    until = int(heard[0, 0]) if len(heard) else bins
    low = np.arange(0, max(until - LOWEST + 1, 1), LOWEST)
    bounds = np.concatenate([low, heard.ravel()])
    bounds = bounds[bounds < bins]
    sizes = np.diff(bounds, append=bins).astype(np.float32)
    harmonics = np.arange(len(low), len(bounds), 2)
    clearings = np.delete(np.arange(len(bounds)), harmonics)
    middles = (bounds + (sizes - 1) / 2)[clearings]
    places = np.arange(layout.noise) * layout.noise_width
    nearest = np.interp(places, middle, number) if stiff else places / first
    owner = np.clip(np.rint(nearest).astype(np.intp), 1, max(len(heard), 1)) - 1
    begin, end = np.minimum(parts[owner], bins).T - 0.5
    half = layout.noise_width / 2
    share = np.clip(np.minimum(places + half, end) - np.maximum(places - half, begin), 0, None) / layout.noise_width
    beside, below = (_Between.of(at.astype(np.float64), middles) for at in (middle, places))
    return _Comb(edges, covered, bounds, clearings, harmonics, sizes, beside, below, owner, share.astype(np.float32))


def _pitched(frames: Array, fundamentals: Floats, stiffness: Floats, layout: Layout, result: Array) -> None:
    """Take frames apart that all have a fundamental."""
    combs = [
        _comb(first, stiff, layout, frames.shape[1])
        for first, stiff in zip(fundamentals.tolist(), stiffness.tolist(), strict=True)
    ]
    power = _without_free(frames, combs, layout, result)
    levels, beside = [], np.empty((len(frames), layout.harmonics), np.float32)
    own, whole, sizes = np.empty_like(beside), np.zeros_like(beside), np.ones_like(beside)
    for row, (comb, of_row) in enumerate(zip(combs, power, strict=True)):
        parts = np.add.reduceat(of_row, comb.bounds)
        heard = len(comb.harmonics)
        whole[row, :heard], sizes[row, :heard] = parts[comb.harmonics], comb.sizes[comb.harmonics]
        own[row] = np.add.reduceat(of_row, comb.edges)[1::2]
        parts /= comb.sizes
        level = np.log(parts.take(comb.clearings) + np.float32(TINY))
        beside[row] = comb.beside.value(level)
        levels.append(level)
    beside = np.exp(beside)
    own -= np.array([comb.covered[1::2] for comb in combs]) * beside
    # A harmonic stands out where its lobe is; its skirts, which vibrato and attacks raise, are its own as well.
    tone = _tone_share(10 * np.log10((np.maximum(own, 0.0) / np.float32(HANN_ENERGY) + TINY) / (beside + TINY)))
    more = (whole - sizes * beside) / np.float32(HANN_ENERGY)
    strength = np.maximum(more, 0.0)
    tone *= strength > np.float32(QUIETEST**2) * np.square(frames.max(axis=1, keepdims=True))
    layout.harmonic(result)[:] = tone * np.sqrt(strength)
    # What of a harmonic is noise stays where it is.
    hiss = (more - np.square(tone) * strength) * (np.float32(HANN_ENERGY) / sizes)
    residue = layout.residue(result)
    for row, (comb, level) in enumerate(zip(combs, levels, strict=True)):
        noise = np.exp(comb.below.value(level))
        noise[noise < 2 * TINY] = 0
        spread = hiss[row].take(comb.owner)
        spread *= comb.share
        noise += spread
        residue[row] = noise
    np.sqrt(np.maximum(residue, 0.0, out=residue), out=residue)


def _without_free(frames: Array, combs: Sequence[_Comb], layout: Layout, result: Array) -> Array:
    """Find free partials between harmonics, and return the power of the frames without their lobes, [rows, bins]."""
    power = np.square(frames)
    sums = np.array([np.add.reduceat(row, comb.edges)[::2] for row, comb in zip(power, combs, strict=True)])
    peaks = np.array([np.maximum.reduceat(row, comb.edges)[::2] for row, comb in zip(power, combs, strict=True)])
    covered = np.array([comb.covered[::2] for comb in combs])
    # A lobe with as much noise beside it as it may have is no larger part of its gap's energy than this.
    alone = sums < peaks * (LOBE_ENERGY + covered * np.float32(10 ** (-NOISE_DB / 10)))
    found = np.nonzero((peaks > np.float32(QUIETEST_FREE**2) * power.max(axis=1, keepdims=True)) & alone)
    if not len(found[0]):
        return power
    row, gap = found
    edges = np.array([np.append(comb.edges, frames.shape[1]) for comb in combs])
    row, peak, tone = _gap_peaks(frames, row, edges[row, 2 * gap], edges[row, 2 * gap + 1])
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = np.flatnonzero(rank < FREE)
    row, peak, tone, rank = row[kept], peak[kept], tone[kept], rank[kept]
    places, strengths = layout.free(result)
    places[row, rank], strengths[row, rank] = _lobes(frames, row, peak, tone)
    rest = frames.copy()
    _remove_lobes(rest, frames, row, peak, tone)
    return np.square(rest)


def _gap_peaks(frames: Array, row: Indices, start: Indices, end: Indices) -> tuple[Indices, Indices, Floats]:
    """Return the highest peak of each gap between two harmonics, where it is a lobe.

    Args:
        row: [gaps], the frame of each.
        start, end: [gaps], the first bin of each, and the one after its last.

    Returns:
        Rows and bins of the peaks, and how much of each is a partial: above 0, at most 1.
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
    return row[some], peak[some], tone


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
    around += row[:, np.newaxis] * frames.shape[1]
    energy = np.sum(np.square(frames.take(around)) / np.bincount(around.ravel())[around], axis=1)
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
