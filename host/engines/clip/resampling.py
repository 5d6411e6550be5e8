"""Plays segments of clips at variable pitch: band-limited interpolation of octave-decimated copies.

Positions and steps are fixed-point integers, `ONE` a sample. Their sums are exact: block boundaries are inaudible. A
position on a sample returns it exactly, unless the pitch is raised.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...arrays import Array
from ...signal import fast_length

TAPS = 48  # samples per interpolated sample: clean up to 0.83 of half the rate, see `_kernel` of `resampling`
GROUP = 4  # successive samples computed together, because they share most taps
WINDOW = TAPS + GROUP - 1
PIECE = 8 * GROUP  # samples always read together, aligned to the memory's start
PRIMES = (2, 3, 5)  # prime factors of fast transforms
OCTAVES = 6  # maximum transposition: 72 semitones
TAPER = 0.9  # of a copy's band: start of its fade-out


class ClipMemory:
    """Memory of clips, [numbers], and its windows, [numbers - WINDOW + 1, WINDOW]."""

    __slots__ = ("flat", "windows")

    def __init__(self, flat: Array) -> None:
        self.flat = flat
        self.windows: Array = np.lib.stride_tricks.sliding_window_view(flat, WINDOW)


class Copy(NamedTuple):
    """A clip at one rate; ``first`` indexes its first sample's first tap."""

    memory: ClipMemory
    first: int


class ResampledClip:
    """A sound, [samples], and copies, each at half the last one's rate, made on first read or by `prepare`."""

    __slots__ = ("__weakref__", "_copies", "samples")

    def __init__(self, samples: Array) -> None:
        """``samples`` must not change afterwards; non-finite ones become silence."""
        if not np.isfinite(samples).all():
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        self.samples = samples
        self._copies: list[Copy] = []

    def __reduce__(self) -> tuple[type["ResampledClip"], tuple[Array]]:
        return ResampledClip, (self.samples,)

    def prepare(self) -> None:
        if len(self._copies) <= OCTAVES - 1:
            room = np.empty(ResampledClip.size(len(self.samples)), np.float32)
            self.put(room)
            self._copies = _copies(ClipMemory(room), 0, len(self.samples))

    @staticmethod
    def size(length: int) -> int:
        """Numbers in a clip with all copies."""
        return _begins(length)[-1]

    def put(self, room: Array) -> None:
        """Write the clip and all copies into ``room``, [size]."""
        places = itertools.pairwise(_begins(len(self.samples)))
        for copy, (begin, end) in zip((self.samples, *_octaves(self.samples)), places, strict=True):
            _pad(copy, room[begin:end])

    @classmethod
    def stored(cls, memory: ClipMemory, number: int, length: int) -> "ResampledClip":
        """The clip that `put` wrote to room ``number`` of equal rooms, reserved while in use."""
        clip, begin = cls.__new__(cls), number * ResampledClip.size(length)
        clip.samples = memory.flat[begin + TAPS : begin + TAPS + length]
        clip._copies = _copies(memory, begin, length)
        return clip

    def copy(self, octave: int) -> Copy:
        if octave == 0 and not self._copies:
            room = np.empty(_begins(len(self.samples))[1], np.float32)
            _pad(self.samples, room)
            self._copies = _copies(ClipMemory(room), 0, len(self.samples))[:1]
        elif octave >= len(self._copies):
            self.prepare()
        return self._copies[octave]


def _copies(memory: ClipMemory, begin: int, length: int) -> list[Copy]:
    return [Copy(memory, begin + offset + TAPS // 2 + 1) for offset in _begins(length)[:-1]]


@functools.lru_cache(maxsize=64)
def _begins(length: int) -> list[int]:
    sizes = [length + 2 * TAPS, *((length >> octave) + 3 * TAPS for octave in range(1, OCTAVES))]
    return [0, *itertools.accumulate(-(-(size + PIECE) // PIECE) * PIECE for size in sizes)]


def _pad(samples: Array, room: Array) -> None:
    room[:TAPS] = 0.0
    room[TAPS : TAPS + len(samples)] = samples
    room[TAPS + len(samples) :] = 0.0


def _octaves(samples: Array) -> list[Array]:
    decimation = 1 << OCTAVES
    padded = fast_length(math.ceil((len(samples) + TAPS * decimation) / decimation), PRIMES) * decimation
    spectrum = np.fft.rfft(samples, padded)
    copies = []
    for octave in range(1, OCTAVES):
        length = padded >> octave
        bins = length // 2 + 1
        fading = np.clip((np.arange(bins) / (bins - 1) - TAPER) / (1 - TAPER), 0.0, 1.0)
        part = spectrum[:bins] * (np.cos(np.pi * fading) + 1.0) * (0.5 / (1 << octave))
        copies.append(np.fft.irfft(part, length)[: (len(samples) >> octave) + TAPS].astype(np.float32))
    return copies


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
    """A request's part for one low-pass; ``mask`` selects positions, None: all."""

    band: int
    number: int
    clip: ResampledClip
    coming: ResampledClip | None
    share: Array | None
    length: int
    first: int = 0
    step: int = 0
    places: Places | None = None
    mask: npt.NDArray[np.bool_] | None = None


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
    sounds: list[Array] = []
    rows: list[_Row] = []
    for number, request in enumerate(requests):
        if isinstance(request, Stretch):
            clip, first, step, length, coming, share = request
            if (step == ONE or step == -ONE) and not first & (ONE - 1):
                sounds.append(_read_unresampled(request))
            else:
                sounds.append(_NOTHING)
                rows.append(_Row(_band(abs(step)), number, clip, coming, share, length, first, step))
        else:
            sounds.append(np.empty(len(request.places), np.float32))
            rows += _rows(number, request)
    if rows:
        rows.sort()  # by band and number, whose pairs are unique
        for row, sound in zip(rows, _interpolate(rows), strict=True):
            if row.mask is not None:
                sounds[row.number][row.mask] = sound[: row.length]
            else:
                sounds[row.number] = sound[: row.length]
    return sounds


_NOTHING: Array = np.zeros(0, np.float32)


def _read_unresampled(stretch: Stretch) -> Array:
    _, first, step, length, coming, share = stretch
    start = first >> BITS
    span = slice(start, start + length) if step > 0 else slice(start, start - length if start >= length else None, -1)
    samples = stretch.clip.samples[span]
    if coming is None:
        return samples
    assert share is not None
    return _mixed(samples, coming.samples[span], share)


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
        mask = bands == band
        gains = None if share is None else share[mask]
        positions = places[mask]
        yield _Row(band, number, clip, coming, gains, len(positions), places=positions, mask=mask)


def _interpolate(rows: Sequence[_Row]) -> Array:
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
    piece_indices: Places = np.cumsum(begins, dtype=np.int64).reshape(pieces.shape)
    piece_indices -= 1
    terms = _terms(rows, sides, pieces[begins], [*piece_indices[:, 0].tolist(), int(piece_indices[-1, -1]) + 1], firsts)
    piece_indices *= PIECE
    piece_indices += numbers & (PIECE - 1)
    sounds, exact = _summed(np.moveaxis(terms.take(piece_indices, axis=1), -1, 0), places)
    if exact.any():
        for copies, side_firsts, sound in zip(sides, firsts, sounds, strict=True):
            for number in np.flatnonzero(exact.any(axis=1)).tolist():
                if not rows[number].band:
                    mask = exact[number]
                    samples = numbers[number, mask] + (side_firsts[number] - firsts[0, number] + TAPS // 2 - 1)
                    sound[number, mask] = copies[number].memory.flat[samples]
    if len(sides) == 1:
        main_sound: Array = sounds[0]
        return main_sound
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
    windows = (pieces * PIECE)[:, np.newaxis] + np.arange(0, PIECE, GROUP)
    if len(sides) == 2:
        coming_windows = windows + np.repeat(firsts[1] - firsts[0], np.diff(ends))[:, np.newaxis]
        windows = np.stack([windows, coming_windows])
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
    terms = np.empty((*windows.shape, GROUP * (DEGREE + 1)), np.float32)
    first = 0
    for number, row in enumerate(rows, 1):
        if number == len(rows) or rows[number].band != row.band:
            band_span = slice(ends[first], ends[number])
            np.matmul(samples[:, band_span], _kernels()[row.band % BANDS], out=terms[:, band_span])
            first = number
    return terms.reshape(len(sides), -1, DEGREE + 1)


def _summed(terms: Array, places: Places) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Values at ``places``, and a mask of integer positions."""
    fraction = (places & (ONE - 1)).astype(np.float32)
    exact = fraction == 0.0
    fraction *= np.float32(1.0 / ONE)
    fraction -= np.float32(0.5)
    sound: Array = terms[DEGREE] * fraction
    for power in range(DEGREE - 1, 0, -1):
        sound += terms[power]
        sound *= fraction
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
    kernels = np.zeros((BANDS, WINDOW, GROUP, DEGREE + 1), np.float32)
    for low in range(BANDS):
        for shift in range(GROUP):
            kernels[low, shift : shift + TAPS, shift] = _kernel(low)
    return kernels.reshape(BANDS, WINDOW, -1)


def _kernel(low: int) -> Array:
    """Kaiser-windowed sinc, cut off ``low`` / `AN_OCTAVE` octaves below half the rate, over the position less 1/2."""
    cutoff = 2.0 ** (-low / AN_OCTAVE)  # of half the rate
    fractions = np.cos(np.pi * (np.arange(64) + 0.5) / 64) / 2  # Chebyshev nodes: an even error between them
    distances = np.arange(TAPS)[:, np.newaxis] - (TAPS // 2 - 1) - (fractions + 0.5)
    shape = np.i0(DECAY * np.sqrt(np.maximum(0.0, 1.0 - (distances / (TAPS / 2)) ** 2))) / np.i0(DECAY)
    weights = cutoff * np.sinc(cutoff * distances) * shape
    powers = np.vander(fractions, DEGREE + 1, increasing=True)
    fitted: npt.NDArray[np.float64] = np.linalg.lstsq(powers, weights.T, rcond=None)[0]
    return np.ascontiguousarray(fitted.T.astype(np.float32))


class ClipSegment(NamedTuple):
    """Counts in samples; fixed-point positions count from its first played sample."""

    first: int
    length: int
    backwards: bool
    fade: int  # samples of the final fade-out
    loop: int = 0  # returns here after each ``period`` samples
    period: int = 0  # 0 without a loop
    cross: int = 0  # samples at its end that fade out over its first ones

    @classmethod
    def from_values(
        cls, clip_length: int, values: dict[str, float], loops: bool, sample_rate: int, fade: int
    ) -> "ClipSegment":
        first = min(round(values["clip.start"] * clip_length), clip_length - 1)
        length = max(1, min(round(values["clip.length"] * clip_length), clip_length - first))
        backwards = values["clip.reverse"] >= 0.5
        if not loops:
            as_recorded = not backwards and first + length == clip_length
            return cls(first, length, backwards, 0 if as_recorded else min(fade, length // 2))
        loop = min(round(values["clip.loop_start"] * length), length - 1)
        cross = min(round(values["clip.crossfade_seconds"] * sample_rate), (length - loop) // 2)
        return cls(first, length, backwards, 0, loop, length - loop - cross, cross)

    def wrapped(self, place: int) -> int:
        """Equivalent position in the loop's first two passes."""
        turn, loop_position = self.period << BITS, place - (self.loop << BITS)
        return place if not self.period or loop_position < turn else (self.loop << BITS) + turn + loop_position % turn

    def count_inside(self, place: int, step: int, count: int) -> int:
        """Count positions in the segment, ``step`` apart."""
        if self.period:
            return count
        return max(0, min(count, -((place - (self.length << BITS)) // step)))

    def straight(self, place: int, step: int, count: int) -> tuple[int, int] | None:
        """Clip position and step of ``count`` positions, ``step`` apart; None if one is faded or crossfaded, or the
        loop restarts.
        """
        last = place + step * (count - 1)
        if last >= (self.loop + self.period if self.period else self.length - self.fade) << BITS:
            turn, loop_end = self.period << BITS, (self.loop + self.period) << BITS
            if not self.period or place - loop_end < self.cross << BITS or last - loop_end >= turn:
                return None
            place -= turn
        if self.backwards:
            return ((self.first + self.length - 1) << BITS) - place, -step
        return (self.first << BITS) + place, step

    def count_straight(self, place: int, step: int) -> int:
        """Number of `straight` positions from ``place`` on, ``step`` apart."""
        end = (self.loop + self.period if self.period else self.length - self.fade) << BITS
        if self.period and place >= end + (self.cross << BITS):
            end += self.period << BITS
        return max(0, -((place - end) // step))

    def requests(
        self, clip: ResampledClip, coming: ResampledClip | None, share: Array | None, places: Places, step: Places
    ) -> list[tuple[Request, int, Array | None]]:
        """Requests, first places and weights, [n] each, whose weighted sum is the sound at ``places``, [n].

        ``places`` rise, in a loop from a `wrapped` position on.
        """
        if not self.period:
            weight = None
            if self.fade and places[-1] >= (self.length - self.fade) << BITS:
                remaining = ((self.length << BITS) - places) * (1.0 / (self.fade << BITS))
                weight = np.minimum(remaining, 1.0).astype(np.float32)
            return [(Request(clip, self._clip_places(places), step, coming, share), 0, weight)]
        begin, turn, cross = self.loop << BITS, self.period << BITS, self.cross << BITS
        loop_positions = places - begin
        repeated = loop_positions >= turn
        loop_positions = np.where(repeated, loop_positions % turn, loop_positions)
        fading = repeated & (loop_positions < cross)
        head = Request(clip, self._clip_places(begin + loop_positions), step, coming, share)
        if not fading.any():
            return [(head, 0, None)]
        angle = np.where(fading, loop_positions, 0) * (np.pi / 2 / cross)
        rise = np.where(fading, np.sin(angle), 1.0).astype(np.float32)
        fall = np.where(fading, np.cos(angle), 0.0).astype(np.float32)
        fading_places = np.flatnonzero(fading)
        first, last = int(fading_places[0]), int(fading_places[-1]) + 1
        late = begin + turn + np.where(fading, loop_positions, 0)[first:last]
        tail = Request(
            clip,
            self._clip_places(late),
            step if len(step) == 1 else step[first:last],
            coming,
            None if share is None else share[first:last],
        )
        return [(head, 0, rise), (tail, first, fall[first:last])]

    def _clip_places(self, places: Places) -> Places:
        if self.backwards:
            return ((self.first + self.length - 1) << BITS) - places
        return (self.first << BITS) + places
