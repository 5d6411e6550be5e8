"""Clip resampling: band-limited fractional-delay interpolation at variable pitch.

Positions and steps are fixed-point integers, `ONE` a sample. Their sums are exact: block boundaries are inaudible. A
position on a sample returns it exactly, unless the pitch is raised.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...arrays import Array
from .resampled_clip import BESIDE, OCTAVES, PIECE, TAPS, WINDOW, Copy, ResampledClip

Places = npt.NDArray[np.int64]

BITS = 32
ONE = 1 << BITS  # fixed-point units per sample
DECAY = 8.0  # Kaiser window's beta: aliases and images are 80 dB down beyond the band edge
DEGREE = 7  # of the polynomials of tap weights over the fractional position: error of -100 dB
AN_OCTAVE = 24  # low-passes per octave of pitch
BANDS = AN_OCTAVE + 1  # low-passes of a copy, from its own rate to twice the pitch


class Request(NamedTuple):
    """Reads a clip at ``places``, [n], with ratios ``step``, [n] or [1]; ``share``, [n], is the gain of ``coming``."""

    clip: ResampledClip
    places: Places
    step: Places
    coming: ResampledClip | None = None
    share: Array | None = None


class Stretch(NamedTuple):
    """Reads ``length`` positions, ``step`` apart, backwards if negative; ``coming`` as in `Request`."""

    clip: ResampledClip
    first: int
    step: int
    length: int
    coming: ResampledClip | None = None
    share: Array | None = None


class _Row(NamedTuple):
    """A request's part for one low-pass; ``there`` masks positions, None: all."""

    band: int
    number: int
    clip: ResampledClip
    coming: ResampledClip | None
    share: Array | None
    length: int
    first: int = 0
    step: int = 0
    places: Places | None = None
    there: npt.NDArray[np.bool_] | None = None


def steps(semitones: npt.ArrayLike) -> Places:
    """Fixed-point steps of transpositions, [n]; [1] for one number."""
    octaves = np.atleast_1d(np.asarray(semitones, np.float64)) / 12.0
    paces: Places = np.rint(np.exp2(np.clip(octaves, -OCTAVES, OCTAVES)) * ONE).astype(np.int64)
    return paces


@functools.lru_cache(maxsize=1024)  # keys recur
def steady(semitones: float) -> int:
    return int(steps(semitones)[0])


def read(requests: Sequence[Request | Stretch]) -> list[Array]:
    """Samples of each request, read-only, bit-identical in any batch.

    All voices share a batch: most of the cost is per call.
    """
    found: list[Array] = []
    rows: list[_Row] = []
    for number, request in enumerate(requests):
        if isinstance(request, Stretch):
            clip, first, step, length, coming, share = request
            if (step == ONE or step == -ONE) and not first & (ONE - 1):
                found.append(_as_it_is(request))
            else:
                found.append(_NOTHING)
                rows.append(_Row(_band(abs(step)), number, clip, coming, share, length, first, step))
        else:
            found.append(np.empty(len(request.places), np.float32))
            rows += _rows(number, request)
    if rows:
        rows.sort()  # by band and number, whose pairs are unique
        for row, sound in zip(rows, _between(rows), strict=True):
            if row.there is not None:
                found[row.number][row.there] = sound[: row.length]
            else:
                found[row.number] = sound[: row.length]
    return found


_NOTHING: Array = np.zeros(0, np.float32)


def _as_it_is(stretch: Stretch) -> Array:
    _, first, step, length, coming, share = stretch
    at = first >> BITS
    there = slice(at, at + length) if step > 0 else slice(at, at - length if at >= length else None, -1)
    samples = stretch.clip.samples[there]
    if coming is None:
        return samples
    assert share is not None
    return _mixed(samples, coming.samples[there], share)


def _mixed(samples: Array, coming: Array, share: Array) -> Array:
    mixed = coming - samples
    mixed *= share
    mixed += samples
    return mixed


def _rows(number: int, request: Request) -> Iterator[_Row]:
    clip, places, step, coming, share = request
    if len(step) == 1:
        yield _Row(_band(int(step[0])), number, clip, coming, share, len(places), places=places)
        return
    bands = _bands(step)
    for band in np.unique(bands).tolist():
        there = bands == band
        own = None if share is None else share[there]
        mine = places[there]
        yield _Row(band, number, clip, coming, own, len(mine), places=mine, there=there)


def _between(rows: Sequence[_Row]) -> Array:
    """Undefined beyond a row's length. Whole pieces, since only matrix products of equal sizes are bit-identical."""
    sides = [[row.clip.copy(row.band // BANDS) for row in rows]]
    if any(row.coming is not None for row in rows):
        sides.append([(row.coming or row.clip).copy(row.band // BANDS) for row in rows])
    places = _places(rows)
    firsts = np.array([[first for _, first in copies] for copies in sides], np.int64)
    numbers = places >> BITS
    numbers += firsts[0][:, np.newaxis]
    pieces = numbers // PIECE
    begins = np.ones(pieces.shape, np.bool_)
    np.not_equal(pieces[:, 1:], pieces[:, :-1], out=begins[:, 1:])
    which: Places = np.cumsum(begins, dtype=np.int64).reshape(pieces.shape)
    which -= 1
    terms = _terms(rows, sides, pieces[begins], [*which[:, 0].tolist(), int(which[-1, -1]) + 1], firsts)
    which *= PIECE
    which += numbers & (PIECE - 1)
    sounds, exact = _summed(np.moveaxis(terms.take(which, axis=1), -1, 0), places)
    if exact.any():
        for copies, own, sound in zip(sides, firsts, sounds, strict=True):
            for number in np.flatnonzero(exact.any(axis=1)).tolist():
                if not rows[number].band:
                    there = exact[number]
                    samples = numbers[number, there] + (own[number] - firsts[0, number] + TAPS // 2 - 1)
                    sound[number, there] = copies[number].memory.flat[samples]
    if len(sides) == 1:
        only: Array = sounds[0]
        return only
    shares = np.zeros(places.shape, np.float32)
    for row, share in zip(rows, shares, strict=True):
        if row.share is not None:
            share[: row.length] = row.share
    return _mixed(sounds[0], sounds[1], shares)


def _places(rows: Sequence[_Row]) -> Places:
    """The last position repeats beyond a row's length."""
    table = np.array([(row.length, row.first, row.step, row.band // BANDS) for row in rows], np.int64)
    lengths, first, step, octave = table.T[:, :, np.newaxis]
    counts = np.arange(lengths.max())
    places: Places = np.minimum(counts, lengths - 1) * step
    places += first
    for number, row in enumerate(rows):
        if row.places is not None:
            places[number, : row.length] = row.places
            places[number, row.length :] = row.places[-1]
    if octave.any():
        places >>= octave
    return places


def _terms(
    rows: Sequence[_Row], sides: Sequence[Sequence[Copy]], pieces: Places, ends: Sequence[int], firsts: Places
) -> Array:
    """[sides, samples, DEGREE + 1], for ``rows`` sorted by band."""
    windows = (pieces * PIECE)[:, np.newaxis] + np.arange(0, PIECE, BESIDE)
    if len(sides) == 2:
        other = windows + np.repeat(firsts[1] - firsts[0], np.diff(ends))[:, np.newaxis]
        windows = np.stack([windows, other])
    else:
        windows = windows[np.newaxis]
    memory = sides[0][0].memory
    if all(copy.memory is memory for copies in sides for copy in copies):
        samples = memory.windows[windows]
    else:
        samples = np.empty((*windows.shape, WINDOW), np.float32)
        for copies, numbers, room in zip(sides, windows, samples, strict=True):
            for copy, (begin, end) in zip(copies, itertools.pairwise(ends), strict=True):
                room[begin:end] = copy.memory.windows[numbers[begin:end]]
    terms = np.empty((*windows.shape, BESIDE * (DEGREE + 1)), np.float32)
    first = 0
    for number, row in enumerate(rows, 1):
        if number == len(rows) or rows[number].band != row.band:
            there = slice(ends[first], ends[number])
            np.matmul(samples[:, there], _kernels()[row.band % BANDS], out=terms[:, there])
            first = number
    return terms.reshape(len(sides), -1, DEGREE + 1)


def _summed(terms: Array, places: Places) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Values at ``places``, and a mask of integer positions."""
    way = (places & (ONE - 1)).astype(np.float32)
    exact = way == 0.0
    way *= np.float32(1.0 / ONE)
    way -= np.float32(0.5)
    sound: Array = terms[DEGREE] * way
    for power in range(DEGREE - 1, 0, -1):
        sound += terms[power]
        sound *= way
    sound += terms[0]
    return sound, exact


@functools.lru_cache(maxsize=256)
def _band(step: int) -> int:
    return int(_bands(np.array([step], np.int64))[0])


def _bands(step: Places) -> Places:
    octaves = np.log2(step / ONE)
    copies = np.maximum(np.ceil(octaves) - 1, 0).astype(np.int64)
    lows = np.clip(np.ceil((octaves - copies) * AN_OCTAVE), 0, AN_OCTAVE).astype(np.int64)
    bands: Places = copies * BANDS + lows
    return bands


@functools.cache
def _kernels() -> Array:
    kernels = np.zeros((BANDS, WINDOW, BESIDE, DEGREE + 1), np.float32)
    for low in range(BANDS):
        for later in range(BESIDE):
            kernels[low, later : later + TAPS, later] = _kernel(low)
    return kernels.reshape(BANDS, WINDOW, -1)


def _kernel(low: int) -> Array:
    """Kaiser-windowed sinc, cut off ``low`` / `AN_OCTAVE` octaves below half the rate, over the position less 1/2."""
    cutoff = 2.0 ** (-low / AN_OCTAVE)  # of half the rate
    ways = np.cos(np.pi * (np.arange(64) + 0.5) / 64) / 2  # Chebyshev nodes: an even error between them
    away = np.arange(TAPS)[:, np.newaxis] - (TAPS // 2 - 1) - (ways + 0.5)
    shape = np.i0(DECAY * np.sqrt(np.maximum(0.0, 1.0 - (away / (TAPS / 2)) ** 2))) / np.i0(DECAY)
    weights = cutoff * np.sinc(cutoff * away) * shape
    powers = np.vander(ways, DEGREE + 1, increasing=True)
    fitted: npt.NDArray[np.float64] = np.linalg.lstsq(powers, weights.T, rcond=None)[0]
    return np.ascontiguousarray(fitted.T.astype(np.float32))
