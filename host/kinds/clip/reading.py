"""Reads clips at any place between their samples, without what a higher pitch would fold back.

Places and steps are whole numbers of parts of a sample, `ONE` a sample: their sums are exact, so that no division of a
sound into blocks shows. A place that lies on a sample gives that very sample, as long as the pitch is not raised.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .octaves import BESIDE, OCTAVES, PIECE, TAPS, WINDOW, Copy, ResampledClip

Array = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

BITS = 32
ONE = 1 << BITS  # parts of a sample
DECAY = 8.0  # of Kaiser's window: what is folded back or mirrored is 80 dB down, beyond the edge of the band
DEGREE = 7  # of the polynomials of a tap's weight over the way from sample to sample: they err by less, -100 dB
AN_OCTAVE = 24  # low-passes in an octave of pitch
BANDS = AN_OCTAVE + 1  # low-passes of a copy, from that for its own rate to that for twice the pitch


class Request(NamedTuple):
    """Asks for a clip's samples at ``places``, [n], which move there by ``step``, [n] or [1] for all.

    Where it goes over to a clip that is ``coming``, that one has the ``share``, [n], and this one the rest.
    """

    clip: ResampledClip
    places: Places
    step: Places
    coming: ResampledClip | None = None
    share: Array | None = None


class Stretch(NamedTuple):
    """Asks for a clip's samples at ``length`` places, of which the next is always ``step`` further.

    ``step`` is below 0 where it is read backwards; ``coming`` and ``share`` as of `Request`.
    """

    clip: ResampledClip
    first: int
    step: int
    length: int
    coming: ResampledClip | None = None
    share: Array | None = None


class _Row(NamedTuple):
    """The places of a request that are read through one low-pass: ``places``, or ``length`` a ``step`` apart.

    ``there`` says which of the request's they are, [n]; None: all.
    """

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
    """Return the parts of a sample from one sample to the next at these transpositions, [1] for one number, or [n]."""
    octaves = np.atleast_1d(np.asarray(semitones, np.float64)) / 12.0
    paces: Places = np.rint(np.exp2(np.clip(octaves, -OCTAVES, OCTAVES)) * ONE).astype(np.int64)
    return paces


@functools.lru_cache(maxsize=1024)  # keys come again and again
def steady(semitones: float) -> int:
    """Return `steps` of one number."""
    return int(steps(semitones)[0])


def read(requests: Sequence[Request | Stretch]) -> list[Array]:
    """Return what clips have at the places of each request, [n] each; only to be read.

    All voices' are read at once, for most of what it costs is by the call. What one is given does not depend on what
    else is read, to the bit.
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
        rows.sort()  # by band and number, which no two share
        for row, sound in zip(rows, _between(rows), strict=True):
            if row.there is not None:
                found[row.number][row.there] = sound[: row.length]
            else:
                found[row.number] = sound[: row.length]
    return found


_NOTHING: Array = np.zeros(0, np.float32)


def _as_it_is(stretch: Stretch) -> Array:
    """Return the samples of a stretch whose places are samples."""
    _, first, step, length, coming, share = stretch
    at = first >> BITS
    there = slice(at, at + length) if step > 0 else slice(at, at - length if at >= length else None, -1)
    samples = stretch.clip.samples[there]
    if coming is None:
        return samples
    assert share is not None
    return _mixed(samples, coming.samples[there], share)


def _mixed(samples: Array, coming: Array, share: Array) -> Array:
    """Return samples of which a share has gone over to what is coming."""
    mixed = coming - samples
    mixed *= share
    mixed += samples
    return mixed


def _rows(number: int, request: Request) -> Iterator[_Row]:
    """Give the rows of a request: one of each low-pass through which a part of it is read."""
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
    """Return what clips have in each row through its low-pass, [rows, n]; beyond a row's length, anything.

    `WINDOW` samples give the terms of `BESIDE` successive samples: for each, the sums of taps times the powers of the
    kernel's polynomials, whose value at the way to the next sample is what lies there. They are found for whole pieces
    of the memory, of those in which places lie: products of equal sizes, each sample at its place in them, are equal to
    the bit.
    """
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
                    sound[number, there] = copies[number].rooms.flat[samples]
    if len(sides) == 1:
        only: Array = sounds[0]
        return only
    shares = np.zeros(places.shape, np.float32)
    for row, share in zip(rows, shares, strict=True):
        if row.share is not None:
            share[: row.length] = row.share
    return _mixed(sounds[0], sounds[1], shares)


def _places(rows: Sequence[_Row]) -> Places:
    """Return the places of all rows in their copies, [rows, n]; the last is repeated beyond a row's length."""
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
    """Return the terms of the polynomials of all samples of pieces, [sides, samples, DEGREE + 1].

    Args:
        rows: in the order of their bands.
        sides: the copies of each row's clip, and of what is coming, [sides][rows].
        pieces: by their numbers in the memory of the rows' clips.
        ends: where each row's pieces begin, and the last one's end.
        firsts: of ``sides``, [sides, rows].
    """
    windows = (pieces * PIECE)[:, np.newaxis] + np.arange(0, PIECE, BESIDE)
    if len(sides) == 2:
        other = windows + np.repeat(firsts[1] - firsts[0], np.diff(ends))[:, np.newaxis]
        windows = np.stack([windows, other])
    else:
        windows = windows[np.newaxis]
    rooms = sides[0][0].rooms
    if all(copy.rooms is rooms for copies in sides for copy in copies):
        samples = rooms.windows[windows]
    else:
        samples = np.empty((*windows.shape, WINDOW), np.float32)
        for copies, numbers, room in zip(sides, windows, samples, strict=True):
            for copy, (begin, end) in zip(copies, itertools.pairwise(ends), strict=True):
                room[begin:end] = copy.rooms.windows[numbers[begin:end]]
    terms = np.empty((*windows.shape, BESIDE * (DEGREE + 1)), np.float32)
    first = 0
    for number, row in enumerate(rows, 1):
        if number == len(rows) or rows[number].band != row.band:
            there = slice(ends[first], ends[number])
            np.matmul(samples[:, there], _kernels()[row.band % BANDS], out=terms[:, there])
            first = number
    return terms.reshape(len(sides), -1, DEGREE + 1)


def _summed(terms: Array, places: Places) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return the polynomials' values at places, of their terms, [DEGREE + 1, sides, *places]; which are samples."""
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
    """Return `_bands` of one step."""
    return int(_bands(np.array([step], np.int64))[0])


def _bands(step: Places) -> Places:
    """Return which copy is read at steps, times low-passes of an octave, and through which of these."""
    octaves = np.log2(step / ONE)
    copies = np.maximum(np.ceil(octaves) - 1, 0).astype(np.int64)
    lows = np.clip(np.ceil((octaves - copies) * AN_OCTAVE), 0, AN_OCTAVE).astype(np.int64)
    bands: Places = copies * BANDS + lows
    return bands


@functools.cache
def _kernels() -> Array:
    """Return the kernels of all low-passes, [BANDS, WINDOW, BESIDE * (DEGREE + 1)], each for successive samples."""
    kernels = np.zeros((BANDS, WINDOW, BESIDE, DEGREE + 1), np.float32)
    for low in range(BANDS):
        for later in range(BESIDE):
            kernels[low, later : later + TAPS, later] = _kernel(low)
    return kernels.reshape(BANDS, WINDOW, -1)


def _kernel(low: int) -> Array:
    """Return the polynomials of the taps' weights, [TAPS, DEGREE + 1], lowest power first.

    They are of a sinc under Kaiser's window, whose cutoff lies ``low`` / `AN_OCTAVE` octaves below half the rate. The
    variable is the way from the middle tap to the next, less a half: -0.5 to 0.5.
    """
    cutoff = 2.0 ** (-low / AN_OCTAVE)  # of half the rate
    ways = np.cos(np.pi * (np.arange(64) + 0.5) / 64) / 2  # where polynomials that fit there fit evenly between
    away = np.arange(TAPS)[:, np.newaxis] - (TAPS // 2 - 1) - (ways + 0.5)
    shape = np.i0(DECAY * np.sqrt(np.maximum(0.0, 1.0 - (away / (TAPS / 2)) ** 2))) / np.i0(DECAY)
    weights = cutoff * np.sinc(cutoff * away) * shape
    powers = np.vander(ways, DEGREE + 1, increasing=True)
    fitted: npt.NDArray[np.float64] = np.linalg.lstsq(powers, weights.T, rcond=None)[0]
    return np.ascontiguousarray(fitted.T.astype(np.float32))
