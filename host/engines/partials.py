"""Spectra taken apart: partials, each with its frequency and strength, and the noise that is left.

A decoded frame says how strong each bin is. A partial is a peak that stands out of its surroundings as the lobe of the
analysis window does; what it is not is noise (sinusoids plus noise: Serra and Smith, "Spectral modeling synthesis",
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
REACH = 2  # bins on either side of a peak that hold its energy
CLEARED = 3  # bins on either side that are the partial's, and not noise
SKIRT = (3, 4)  # bins on either side where a lobe has fallen by 30 dB or more, and noise has not
QUIETEST = 1e-4  # of a frame's strongest bin: a harmonic that is softer is none
QUIETEST_FREE = 1e-3  # of it: a peak that is softer and no harmonic is one of the decoder's own making
NOISE_DB, TONE_DB = 12.0, 20.0  # what stands out of the noise by less is noise, by more a partial, in between both
SPREAD = 0.5  # bins by which a harmonic is wider than the one below it: vibrato and chorus spread them in proportion
WIDEST = 1 / 3  # of the fundamental, on either side: between two harmonics there is noise
VALLEY = 1  # bins on either side of the middle between two harmonics that tell how strong the noise is
TINY = np.float32(1e-20)
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
    if len(pitched):
        strengths, left = _harmonics(frames[pitched], fundamentals[pitched], layout.harmonics)
        layout.harmonic(result)[pitched] = strengths
        rest[pitched] = left
    row, peak, tone = _peaks(frames, rest)
    if len(row):
        place, strength = _lobes(frames, row, peak, tone)
        _clear(rest, frames, row, peak, tone)
        order = np.lexsort((-strength, row))
        begin = np.searchsorted(row[order], np.arange(count))
        rank = np.arange(len(order)) - begin[row[order]]
        order, rank = order[rank < FREE], rank[rank < FREE]
        places, strengths = layout.free(result)
        places[row[order], rank] = place[order]
        strengths[row[order], rank] = strength[order]
    layout.residue(result)[:] = _means(rest, layout)
    return result


class _Comb(NamedTuple):
    """The bins of a fundamental's harmonics, and of what lies between them.

    Attributes:
        windows: first bins of the harmonics and of what follows each, in turn, [2 * harmonics].
        valleys: first bins of the valleys and of what follows each, [2 * (harmonics + 1)]; the first is below the
            fundamental.
        owner: [bins], the harmonic that a bin belongs to, from 0; their number where it belongs to none.
    """

    windows: Indices
    valleys: Indices
    owner: Indices


@functools.lru_cache(maxsize=24)  # of two models
def _comb(first: float, count: int, bins: int) -> _Comb:
    number = np.arange(1, count + 1)
    wide = np.minimum(CLEARED + SPREAD * (number - 1), max(WIDEST * first, 1.0))

    def ends(low: npt.NDArray[Any], high: npt.NDArray[Any]) -> Indices:
        pairs = np.stack([np.rint(low), np.rint(high) + 1], axis=1).astype(np.intp)
        return np.minimum(pairs.ravel(), bins - 1)

    middle = (np.arange(count + 1) + 0.5) * first
    at = np.arange(bins)
    nearest = np.clip(np.rint(at / first).astype(np.intp), 1, count) - 1
    low, high = number * first - wide, number * first + wide
    inside = (at >= np.rint(low)[nearest]) & (at <= np.rint(high)[nearest])
    return _Comb(
        ends(low, high),
        ends(middle - VALLEY, middle + VALLEY),
        np.where(inside, nearest, count),
    )


def _harmonics(frames: Array, fundamentals: Floats, count: int) -> tuple[Array, Array]:
    """Harmonics of frames that all have a fundamental.

    Returns:
        Their magnitudes, [rows, count], and frames without them, [rows, bins].
    """
    power = np.square(frames)
    combs = [_comb(first, count, frames.shape[1]) for first in fundamentals.tolist()]
    windows = np.stack([np.add.reduceat(row, comb.windows)[::2] for row, comb in zip(power, combs, strict=True)])
    valleys = np.stack([np.add.reduceat(row, comb.valleys)[::2] for row, comb in zip(power, combs, strict=True)])
    covered = np.stack([comb.windows[1::2] - comb.windows[::2] for comb in combs])
    valleys /= np.stack([np.maximum(comb.valleys[1::2] - comb.valleys[::2], 1) for comb in combs])
    noise = (valleys[:, :-1] + valleys[:, 1:]) / 2
    own = np.maximum(windows - covered * noise, 0.0) / np.float32(HANN_ENERGY)
    loudest = np.square(np.float32(QUIETEST) * frames.max(axis=1, keepdims=True))
    tone = np.where(own > loudest, _tone(10 * np.log10((own + TINY) / (noise + TINY))), 0.0)
    strengths = (tone * np.sqrt(own)).astype(np.float32)
    remains = np.full((len(frames), count + 1), np.inf, np.float32)
    remains[:, :-1][tone > 0] = np.sqrt(np.maximum(noise, (1 - np.square(tone)) * own))[tone > 0]
    owner = np.stack([comb.owner for comb in combs]) + (count + 1) * np.arange(len(frames))[:, np.newaxis]
    return strengths, np.minimum(frames, remains.take(owner))


def _tone(above_db: Any) -> Any:
    """How much of what stands so far out of the noise is a partial: 0 to 1."""
    return np.clip((above_db - NOISE_DB) / (TONE_DB - NOISE_DB), 0.0, 1.0)


def _peaks(frames: Array, rest: Array) -> tuple[Indices, Indices, Floats]:
    """Rows and bins of peaks in what harmonics leave, and how much of each is a partial: above 0, at most 1."""
    margin = max(*SKIRT, CLEARED)
    row, peak = np.nonzero(rest[:, margin:-margin] > QUIETEST_FREE * frames.max(axis=1, keepdims=True))
    peak += margin
    here = frames[row, peak]
    top = (here > frames[row, peak - 1]) & (here >= frames[row, peak + 1]) & (here == rest[row, peak])
    row, peak, here = row[top], peak[top], here[top]
    skirt = sum(np.square(frames[row, peak + side * away]) for side in (-1, 1) for away in SKIRT)
    tone = _tone(10 * np.log10(np.square(here) / (skirt / np.float32(2 * len(SKIRT)) + TINY)))
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
    floor = np.minimum(frames[row, peak - SKIRT[-1]], frames[row, peak + SKIRT[-1]])[:, np.newaxis]
    left = np.sqrt(1 - np.square(tone)).astype(np.float32)[:, np.newaxis]
    there = row[:, np.newaxis], peak[:, np.newaxis] + np.arange(-CLEARED, CLEARED + 1)
    np.minimum.at(rest, there, np.maximum(floor, left * frames[there]))


def _means(rest: Array, layout: Layout) -> Array:
    """Root mean square of the bins that each bin of the noise covers, [rows, noise]."""
    bins = rest.shape[1]
    edges = np.rint((np.arange(layout.noise + 1) - 0.5) * layout.noise_width + 0.5)
    edges = np.clip(edges, 0, bins - 1).astype(np.intp)
    power = np.add.reduceat(np.square(rest), edges[:-1], axis=1)
    power /= np.maximum(np.diff(edges[:-1], append=bins), 1).astype(np.float32)
    return np.sqrt(power)
