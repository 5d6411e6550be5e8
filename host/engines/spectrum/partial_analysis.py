"""Partial analysis: splits magnitude spectra into partials and residual noise, and detects pitch in single frames.

A partial is a peak that stands out as the lobe of the analysis window does; the rest is noise (Serra and Smith,
"Spectral modeling synthesis", Computer Music Journal 14:4, 1990).

The period is the lag of the best peak in the frame's autocorrelation, divided by the window's (P. Boersma, "Accurate
short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound", Proc. Institute
of Phonetic Sciences 17, Amsterdam 1993). The window centers it on the frame, so it follows speech better than YIN.
Spectral peaks refine it by cents.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Doubles, Indices
from ...model.partials import HANN_ENERGY, stretched
from ...signal import window
from ...units import A4_HZ

# Maximum ratio of a lobe's energy over all bins to that of its highest: between two bins, 1.5 / 0.85 ** 2.
LOBE_ENERGY = np.float32(2.1)
PEAK_REACH = 2  # bins on either side of a peak that hold its energy
CLEARED = 3  # bins on either side of a peak that belong to the partial, not to noise
SKIRT = (3, 4)  # bins on either side of a peak where a lobe is at least 30 dB down, and noise is not
QUIETEST = 1e-4  # of a frame's strongest bin: softer harmonics are skipped
QUIETEST_FREE = 5e-3  # of a frame's strongest bin: softer inharmonic peaks are artifacts of the decoder
NOISE_DB, TONE_DB = 12.0, 20.0  # above the noise: pure noise below the first, a pure partial above the second
SPREAD = 0.5  # widening in bins per harmonic: vibrato and chorus spread them in proportion
WIDEST = 1 / 3  # of the fundamental, on either side: noise remains between harmonics
SKIRTS = 1 / 4  # of the fundamental, on either side, that a lobe's skirts may fill: noise is measured beyond them
LOWEST = 2  # bins of a clearing below the fundamental, where rumble and breath differ
MARGIN = max(*SKIRT, CLEARED)  # bins at either end of a frame without free partials
TINY = 1e-20  # power, keeps logarithms and divisors above 0
FREE = 64  # maximum inharmonic partials of a frame
HIGHEST_HARMONIC = 400  # only a fundamental below 55 Hz has more


@dataclass(frozen=True, slots=True)
class Layout:
    """Row of an analyzed frame: harmonics, free partials, noise, low noise bands, decoded bands."""

    harmonics: int
    noise: int
    noise_width: float  # frame bins per noise bin
    most_free: int = FREE
    lows: int = 0  # noise bands below the first noise bins
    bands: int = 0  # of a decoded frame

    @property
    def width(self) -> int:
        return self.harmonics + 2 * self.most_free + self.noise + self.lows + self.bands

    def harmonic(self, rows: Array) -> Array:
        """Magnitudes at lobe centers, [rows, harmonics]."""
        return rows[:, : self.harmonics]

    def free(self, rows: Array) -> tuple[Array, Array]:
        """Positions in bins, and magnitudes, [rows, most_free]; unused ones are 0."""
        middle = self.harmonics + self.most_free
        return rows[:, self.harmonics : middle], rows[:, middle : middle + self.most_free]

    def residue(self, rows: Array) -> Array:
        """Root mean square magnitudes, [rows, noise]."""
        first = self.harmonics + 2 * self.most_free
        return rows[:, first : first + self.noise]

    def low(self, rows: Array) -> Array:
        """Root mean square magnitudes, [rows, lows]."""
        return rows[:, self.width - self.bands - self.lows : self.width - self.bands]

    def band_power(self, rows: Array) -> Array:
        """Mean square magnitudes, [rows, bands]."""
        return rows[:, self.width - self.bands :]


def split_partials(frames: Array, fundamentals: Doubles, layout: Layout, stiffness: Doubles | None = None) -> Array:
    """Split magnitude frames into partials and noise, [rows, layout.width].

    A harmonic is the energy around a multiple of the fundamental above the level beside it, at any width: a decoder's
    lobes average those of many frames. The highest peak between two harmonics, if a lobe, is a free partial. Without a
    fundamental, all lobe peaks are.

    Args:
        frames: of a Hann window, [rows, bins].
        fundamentals: in bins, [rows]; NaN if unpitched.
        stiffness: B of strings, [rows]; None: 0.
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
            result[rows] = split_partials(frames[rows], fundamentals[rows], layout, stiff[rows])
    return result


class _Between(NamedTuple):
    low: Indices
    high: Indices
    part: Array

    @classmethod
    def of(cls, places: Doubles, points: Doubles) -> "_Between":
        point = np.clip(np.searchsorted(points, places, side="right") - 1, 0, max(len(points) - 2, 0))
        after = np.minimum(point + 1, len(points) - 1)
        part = (places - points[point]) / np.maximum(points[after] - points[point], 1.0)
        return cls(point, after, np.clip(part, 0.0, 1.0).astype(np.float32))

    def value(self, values: Array) -> Array:
        low = values.take(self.low)
        rise = values.take(self.high)
        rise -= low
        rise *= self.part
        low += rise
        return low


class _Comb(NamedTuple):
    """Bins of harmonics, and of the clearings between them that no lobe reaches."""

    edges: Indices  # first bins of gaps and harmonics in turn, [2 * harmonics + 1]
    covered: Array  # their numbers of bins
    bounds: Indices  # first bins of clearings and harmonics with skirts, [parts]
    clearings: Indices  # indices of these parts, as ``harmonics``
    harmonics: Indices
    sizes: Array  # their numbers of bins
    beside: _Between  # harmonics between clearings' middles
    below: _Between  # noise bins between clearings' middles
    owner: Indices  # nearest harmonic of each noise bin, from 0, [noise]
    share: Array  # fraction of the bin in that harmonic's part, [noise]


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
    for part in parts:  # at least one bin each, and one bin between, for close harmonics too
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


def _pitched(frames: Array, fundamentals: Doubles, stiffness: Doubles, layout: Layout, result: Array) -> None:
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
    # The lobe detects a harmonic; its skirts, which vibrato and attacks raise, count toward its energy.
    tone = _tone_share(10 * np.log10((np.maximum(own, 0.0) / np.float32(HANN_ENERGY) + TINY) / (beside + TINY)))
    more = (whole - sizes * beside) / np.float32(HANN_ENERGY)
    strength = np.maximum(more, 0.0)
    tone *= strength > np.float32(QUIETEST**2) * np.square(frames.max(axis=1, keepdims=True))
    layout.harmonic(result)[:] = tone * np.sqrt(strength)
    # The noise part of a harmonic stays in place.
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
    power = np.square(frames)
    sums = np.array([np.add.reduceat(row, comb.edges)[::2] for row, comb in zip(power, combs, strict=True)])
    peaks = np.array([np.maximum.reduceat(row, comb.edges)[::2] for row, comb in zip(power, combs, strict=True)])
    covered = np.array([comb.covered[::2] for comb in combs])
    # A gap of one lobe and the most noise that it may have has at most this energy.
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


def _gap_peaks(frames: Array, row: Indices, start: Indices, end: Indices) -> tuple[Indices, Indices, Doubles]:
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
    rest = frames.copy()
    row, peak, tone = _partial_peaks(frames)
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
    return np.clip((above_db - NOISE_DB) / (TONE_DB - NOISE_DB), 0.0, 1.0)


def _partial_peaks(frames: Array) -> tuple[Indices, Indices, Doubles]:
    """Rows and bins, and the partial's share of each."""
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


def _tonality(frames: Array, row: Indices, peak: Indices) -> Doubles:
    """The skirts' geometric mean limits the harm of a neighbor's lobe."""
    below, above = (
        sum(np.square(frames[row, peak + side * away]) for away in SKIRT) / np.float32(len(SKIRT)) for side in (-1, 1)
    )
    skirt = np.sqrt(below + TINY) * np.sqrt(above + TINY)
    tone: Doubles = _tone_share(10 * np.log10(np.square(frames[row, peak]) / skirt))
    return tone


def _lobes(frames: Array, row: Indices, peak: Indices, tone: Doubles) -> tuple[Doubles, Array]:
    """The two highest bins of a Hann lobe, at ratio r, locate its center: (2 r - 1) / (r + 1) of a bin from the
    highest.
    """
    here, below, above = frames[row, peak], frames[row, peak - 1], frames[row, peak + 1]
    ratio = np.maximum(below, above) / here
    away = np.clip((2 * ratio - 1) / (ratio + 1), 0.0, 0.5)
    place: Doubles = np.where(above > below, away, -away).astype(np.float64) + peak
    around = peak[:, np.newaxis] + np.arange(-PEAK_REACH, PEAK_REACH + 1)
    around += row[:, np.newaxis] * frames.shape[1]
    energy = np.sum(np.square(frames.take(around)) / np.bincount(around.ravel())[around], axis=1)
    return place, (tone * np.sqrt(energy / np.float32(HANN_ENERGY))).astype(np.float32)


def _remove_lobes(rest: Array, frames: Array, row: Indices, peak: Indices, tone: Doubles) -> None:
    floor = np.minimum(frames[row, peak - SKIRT[-1]], frames[row, peak + SKIRT[-1]])[:, np.newaxis]
    left = np.sqrt(1 - np.square(tone)).astype(np.float32)[:, np.newaxis]
    there = row[:, np.newaxis], peak[:, np.newaxis] + np.arange(-CLEARED, CLEARED + 1)
    np.minimum.at(rest, there, np.maximum(floor, left * frames[there]))


def _noise_levels(rest: Array, layout: Layout) -> Array:
    bins = rest.shape[1]
    edges = np.rint((np.arange(layout.noise + 1) - 0.5) * layout.noise_width + 0.5)
    edges = np.clip(edges, 0, bins - 1).astype(np.intp)
    power = np.add.reduceat(np.square(rest), edges[:-1], axis=1)
    power /= np.maximum(np.diff(edges[:-1], append=bins), 1).astype(np.float32)
    return np.sqrt(power)


LOWEST_HZ = 40.0  # a flat E1, the double bass's lowest; three periods must fit into a frame
HIGHEST_HZ = 4500.0  # a sharp C8, the piano's last key
RUMBLE_HZ = 20.0  # inaudible below, so no pitch
VOICED = 0.5  # minimum periodic energy: noise as strong as the tone (Boersma's 0.45, rounded)
OCTAVE_COST = 0.02  # per octave: of equal peaks the shorter period wins (Boersma's 0.01 fails more often here)
HARMONICS = 8  # whose peaks count: higher ones are weak or inharmonic
HARMONIC_REACH = 3  # search range of a harmonic's peak, in bins on either side
FARTHEST = 0.03  # of a harmonic's frequency, half a semitone: peaks further away belong to others
LEAST_DIVISOR = 1e-30  # keeps divisors above 0


def fundamentals(magnitudes: Array, rate: int) -> Doubles:
    """Fractional MIDI notes, [rows]; NaN if unpitched.

    Args:
        magnitudes: of Hann-windowed frames, [rows, frame_length // 2 + 1].
        rate: Hz.
    """
    return sharpened(_by_autocorrelation(magnitudes, rate), magnitudes, rate)


@functools.cache
def _window_autocorrelation(length: int) -> Doubles:
    recurs: Doubles = np.fft.irfft(np.square(np.abs(np.fft.rfft(window("hann", length)))), length)
    return recurs


@functools.cache
def _lowpass(bins: int) -> Doubles:
    place = np.clip(np.linspace(-1.0, 3.0, bins), 0.0, 1.0)
    return np.square(np.cos(np.pi / 2 * place))


def _by_autocorrelation(magnitudes: Array, rate: int) -> Doubles:
    length = 2 * (magnitudes.shape[1] - 1)
    longest = min(math.ceil(rate / LOWEST_HZ), length // 3)
    power = np.square(magnitudes, dtype=np.float64)
    power[:, : math.ceil(RUMBLE_HZ * length / rate)] = 0
    power *= _lowpass(power.shape[1])
    recurs = np.fft.irfft(power, length, axis=1)[:, : longest + 2] / _window_autocorrelation(length)[: longest + 2]
    recurs /= np.maximum(recurs[:, :1], LEAST_DIVISOR)
    before, at, after = recurs[:, :-2], recurs[:, 1:-1], recurs[:, 2:]
    lags = np.arange(1, longest + 1)
    top = (at > before) & (at >= after) & (lags >= rate / HIGHEST_HZ - 1)
    curve = np.where(top, before - 2 * at + after, -1.0)
    heights = np.where(top, at - np.square(before - after) / (8 * curve), 0.0)
    chosen = np.arange(len(recurs)), np.argmax(heights - OCTAVE_COST * np.log2(lags), axis=1)
    periods = lags[chosen[1]] + ((before - after) / (2 * curve))[chosen]
    notes: Doubles = 69 + 12 * np.log2(rate / periods / A4_HZ)
    return np.where(heights[chosen] > VOICED, notes, np.nan)


def sharpened(notes: Doubles, magnitudes: Array, rate: int) -> Doubles:
    """Refine notes, [rows], by near peaks of their harmonics; NaN stays NaN.

    From peaks at f(k) with energies w, the fundamental is the least-squares fit, sum(w k f(k)) / sum(w k k); exact for
    steady sinusoids. Other arguments: as `fundamentals`.
    """
    exact = notes.copy()
    rows = np.flatnonzero(np.isfinite(notes))
    if not len(rows):
        return exact
    heard, last = magnitudes[rows].astype(np.float64), magnitudes.shape[1] - 2
    first = A4_HZ * np.exp2((exact[rows, np.newaxis] - 69) / 12) * 2 * (last + 1) / rate  # bins
    order, row = np.arange(1, HARMONICS + 1), np.arange(len(rows))[:, np.newaxis]
    wanted = order * first
    peak = _harmonic_peaks(heard, wanted, np.maximum(first / 4, 1.0))
    below, here, above = (heard[row, peak + step] for step in (-1, 0, 1))
    ratio = np.maximum(below, above) / np.maximum(here, LEAST_DIVISOR)
    shift = np.clip((2 * ratio - 1) / (ratio + 1), 0.0, 0.5)  # of a Hann lobe
    found = peak + np.where(above > below, shift, -shift)
    kept = (here >= below) & (here >= above) & (np.abs(found - wanted) < FARTHEST * wanted) & (wanted < last)
    weight = kept * np.square(here)
    fit = (weight * order * found).sum(axis=1) / np.maximum((weight * np.square(order)).sum(axis=1), LEAST_DIVISOR)
    right = fit > 0
    exact[rows[right]] += 12 * np.log2(fit[right] / first[right, 0])
    return exact


def _harmonic_peaks(heard: Doubles, wanted: Doubles, near: Doubles) -> Indices:
    around = np.rint(wanted)[:, :, np.newaxis] + np.arange(-HARMONIC_REACH, HARMONIC_REACH + 1)
    inside = np.abs(around - wanted[:, :, np.newaxis]) <= near[:, :, np.newaxis]
    bins = np.clip(around, 1, heard.shape[1] - 2).astype(np.intp)
    levels = np.where(inside, heard[np.arange(len(heard))[:, np.newaxis, np.newaxis], bins], 0.0)
    best: Indices = np.take_along_axis(bins, levels.argmax(axis=2)[:, :, np.newaxis], axis=2)[:, :, 0]
    return best
