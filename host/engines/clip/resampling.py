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
    """A sound, [samples], and copies, each at half the last one's rate, made on first read or by `prepare`.

    ``right`` is the other side of a stereo sound's left; None: both sides are equal.
    """

    __slots__ = ("__weakref__", "_copies", "right", "samples")

    def __init__(self, samples: Array, right: "ResampledClip | None" = None) -> None:
        """``samples`` must not change afterwards; non-finite ones become silence."""
        if not np.isfinite(samples).all():
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        self.samples, self.right = samples, right
        self._copies: list[Copy] = []

    def __reduce__(self) -> tuple[type["ResampledClip"], tuple[Array, "ResampledClip | None"]]:
        return ResampledClip, (self.samples, self.right)

    @property
    def sides(self) -> list["ResampledClip"]:
        return [self] if self.right is None else [self, self.right]

    def prepare(self) -> None:
        """Make all copies, of both sides."""
        if self.right is not None:
            self.right.prepare()
        if len(self._copies) <= OCTAVES - 1:
            room = np.empty(ResampledClip.size(len(self.samples)), np.float32)
            self.put(room)
            self._copies = _copies(ClipMemory(room), 0, len(self.samples))

    @staticmethod
    def size(length: int) -> int:
        """Numbers in a clip with all copies."""
        return _begins(length)[-1]

    def put(self, room: Array) -> None:
        """Write the clip and all copies, of this side, into the start of ``room``, at least [size]."""
        copy_bounds = itertools.pairwise(_begins(len(self.samples)))
        for samples, (room_start, room_end) in zip((self.samples, *_octaves(self.samples)), copy_bounds, strict=True):
            _pad(samples, room[room_start:room_end])

    @classmethod
    def stored(
        cls, memory: ClipMemory, room_start: int, length: int, right: "ResampledClip | None" = None
    ) -> "ResampledClip":
        """The clip that `put` wrote to the memory from ``room_start`` on, reserved while in use."""
        clip = cls.__new__(cls)
        clip.right = right
        clip.samples = memory.flat[room_start + TAPS : room_start + TAPS + length]
        clip._copies = _copies(memory, room_start, length)
        return clip

    def copy(self, octave: int) -> Copy:
        """The copy at half the rate, ``octave`` times; 0 is the clip."""
        if octave == 0 and not self._copies:
            room = np.empty(_begins(len(self.samples))[1], np.float32)
            _pad(self.samples, room)
            self._copies = _copies(ClipMemory(room), 0, len(self.samples))[:1]
        elif octave >= len(self._copies):
            self.prepare()
        return self._copies[octave]


def _copies(memory: ClipMemory, room_start: int, length: int) -> list[Copy]:
    """The copies that `put` wrote from ``room_start`` on."""
    return [Copy(memory, room_start + copy_offset + TAPS // 2 + 1) for copy_offset in _begins(length)[:-1]]


@functools.lru_cache(maxsize=64)
def _begins(length: int) -> list[int]:
    """Offsets of a clip's copies in its room, and the room's size."""
    padded_sizes = [length + 2 * TAPS, *((length >> octave) + 3 * TAPS for octave in range(1, OCTAVES))]
    return [0, *itertools.accumulate(-(-(padded_size + PIECE) // PIECE) * PIECE for padded_size in padded_sizes)]


def _pad(samples: Array, room: Array) -> None:
    """Write samples between zeros."""
    room[:TAPS] = 0.0
    room[TAPS : TAPS + len(samples)] = samples
    room[TAPS + len(samples) :] = 0.0


def _octaves(samples: Array) -> list[Array]:
    """Copies at a half of the rate, a quarter and so on."""
    decimation = 1 << OCTAVES
    padded_length = fast_length(math.ceil((len(samples) + TAPS * decimation) / decimation), PRIMES) * decimation
    spectrum = np.fft.rfft(samples, padded_length)
    octave_copies = []
    for octave in range(1, OCTAVES):
        copy_length = padded_length >> octave
        bin_count = copy_length // 2 + 1
        fade_positions = np.clip((np.arange(bin_count) / (bin_count - 1) - TAPER) / (1 - TAPER), 0.0, 1.0)
        band_spectrum = spectrum[:bin_count] * (np.cos(np.pi * fade_positions) + 1.0) * (0.5 / (1 << octave))
        octave_copies.append(
            np.fft.irfft(band_spectrum, copy_length)[: (len(samples) >> octave) + TAPS].astype(np.float32)
        )
    return octave_copies


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
    return np.rint(np.exp2(np.clip(octaves, -OCTAVES, OCTAVES)) * ONE).astype(np.int64)


@functools.lru_cache(maxsize=1024)  # keys recur
def steady(semitones: float) -> int:
    """The step of a constant transposition."""
    return int(steps(semitones)[0])


def read(requests: Sequence[Request | Stretch]) -> list[Array]:
    """Samples of each request, read-only, bit-identical in any batch.

    All voices share a batch: most of the cost is per call.
    """
    sounds: list[Array] = []
    read_rows: list[_Row] = []
    for request_index, request in enumerate(requests):
        if isinstance(request, Stretch):
            clip, first_position, step, length, coming, share = request
            if (step == ONE or step == -ONE) and not first_position & (ONE - 1):
                sounds.append(_read_unresampled(request))
            else:
                sounds.append(_NOTHING)
                read_rows.append(
                    _Row(_band(abs(step)), request_index, clip, coming, share, length, first_position, step)
                )
        else:
            sounds.append(np.empty(len(request.places), np.float32))
            read_rows += _rows(request_index, request)
    if read_rows:
        read_rows.sort()  # by band and number, whose pairs are unique
        for read_row, sound in zip(read_rows, _interpolate(read_rows), strict=True):
            if read_row.mask is not None:
                sounds[read_row.number][read_row.mask] = sound[: read_row.length]
            else:
                sounds[read_row.number] = sound[: read_row.length]
    return sounds


_NOTHING: Array = np.zeros(0, np.float32)


def _read_unresampled(stretch: Stretch) -> Array:
    """Samples of a stretch at whole positions, a sample apart."""
    _, first_position, step, length, coming, share = stretch
    start_sample = first_position >> BITS
    clip_slice = (
        slice(start_sample, start_sample + length)
        if step > 0
        else slice(start_sample, start_sample - length if start_sample >= length else None, -1)
    )
    samples = stretch.clip.samples[clip_slice]
    if coming is None:
        return samples
    assert share is not None
    return _mixed(samples, coming.samples[clip_slice], share)


def _mixed(samples: Array, coming: Array, share: Array) -> Array:
    """Crossfade, where ``share`` is the gain of ``coming``."""
    mix = coming - samples
    mix *= share
    mix += samples
    return mix


def _rows(request_index: int, request: Request) -> Iterator[_Row]:
    """A request's rows, one for each low-pass."""
    clip, places, step, coming, share = request
    if len(step) == 1:
        yield _Row(_band(int(step[0])), request_index, clip, coming, share, len(places), places=places)
        return
    row_bands = _bands(step)
    for band in np.unique(row_bands).tolist():
        mask = row_bands == band
        masked_share = None if share is None else share[mask]
        positions = places[mask]
        yield _Row(band, request_index, clip, coming, masked_share, len(positions), places=positions, mask=mask)


def _interpolate(rows: Sequence[_Row]) -> Array:
    """Undefined beyond a row's length. Whole pieces, since only matrix products of equal sizes are bit-identical."""
    copies_by_side = [[row.clip.copy(row.band // BANDS) for row in rows]]
    if any(row.coming is not None for row in rows):
        copies_by_side.append([(row.coming or row.clip).copy(row.band // BANDS) for row in rows])
    positions = _places(rows)
    first_indices = np.array([[first for _, first in copies] for copies in copies_by_side], np.int64)
    sample_indices = positions >> BITS
    sample_indices += first_indices[0][:, np.newaxis]
    piece_numbers = sample_indices // PIECE
    is_piece_start = np.ones(piece_numbers.shape, np.bool_)
    np.not_equal(piece_numbers[:, 1:], piece_numbers[:, :-1], out=is_piece_start[:, 1:])
    piece_indices: Places = np.cumsum(is_piece_start, dtype=np.int64).reshape(piece_numbers.shape)
    piece_indices -= 1
    terms = _terms(
        rows,
        copies_by_side,
        piece_numbers[is_piece_start],
        [*piece_indices[:, 0].tolist(), int(piece_indices[-1, -1]) + 1],
        first_indices,
    )
    piece_indices *= PIECE
    piece_indices += sample_indices & (PIECE - 1)
    sounds, is_exact = _summed(np.moveaxis(terms.take(piece_indices, axis=1), -1, 0), positions)
    if is_exact.any():
        for copies, side_firsts, sound in zip(copies_by_side, first_indices, sounds, strict=True):
            for row_index in np.flatnonzero(is_exact.any(axis=1)).tolist():
                if not rows[row_index].band:
                    mask = is_exact[row_index]
                    exact_indices = sample_indices[row_index, mask] + (
                        side_firsts[row_index] - first_indices[0, row_index] + TAPS // 2 - 1
                    )
                    sound[row_index, mask] = copies[row_index].memory.flat[exact_indices]
    if len(copies_by_side) == 1:
        return sounds[0]
    coming_shares = np.zeros(positions.shape, np.float32)
    for row, share in zip(rows, coming_shares, strict=True):
        if row.share is not None:
            share[: row.length] = row.share
    return _mixed(sounds[0], sounds[1], coming_shares)


def _places(rows: Sequence[_Row]) -> Places:
    """Positions in the rows' copies, [rows, longest length]; a row's last one repeats beyond its length."""
    row_table = np.array([(row.length, row.first, row.step, row.band // BANDS) for row in rows], np.int64)
    row_lengths, first_positions, row_steps, octaves = row_table.T[:, :, np.newaxis]
    sample_numbers = np.arange(row_lengths.max())
    positions: Places = np.minimum(sample_numbers, row_lengths - 1) * row_steps
    positions += first_positions
    for row_index, row in enumerate(rows):
        if row.places is not None:
            positions[row_index, : row.length] = row.places
            positions[row_index, row.length :] = row.places[-1]
    if octaves.any():
        positions >>= octaves
    return positions


def _terms(
    rows: Sequence[_Row],
    copies_by_side: Sequence[Sequence[Copy]],
    piece_numbers: Places,
    piece_bounds: Sequence[int],
    first_indices: Places,
) -> Array:
    """Polynomials' terms, [sides, samples, DEGREE + 1], for ``rows`` sorted by band."""
    window_starts = (piece_numbers * PIECE)[:, np.newaxis] + np.arange(0, PIECE, GROUP)
    if len(copies_by_side) == 2:
        coming_starts = (
            window_starts + np.repeat(first_indices[1] - first_indices[0], np.diff(piece_bounds))[:, np.newaxis]
        )
        window_starts = np.stack([window_starts, coming_starts])
    else:
        window_starts = window_starts[np.newaxis]
    memory = copies_by_side[0][0].memory
    if all(copy.memory is memory for copies in copies_by_side for copy in copies):
        window_samples = memory.windows[window_starts]
    else:
        window_samples = np.empty((*window_starts.shape, WINDOW), np.float32)
        for copies, side_starts, room in zip(copies_by_side, window_starts, window_samples, strict=True):
            for copy, (begin, end) in zip(copies, itertools.pairwise(piece_bounds), strict=True):
                room[begin:end] = copy.memory.windows[side_starts[begin:end]]
    terms = np.empty((*window_starts.shape, GROUP * (DEGREE + 1)), np.float32)
    band_first_row = 0
    for next_row_index, row in enumerate(rows, 1):
        if next_row_index == len(rows) or rows[next_row_index].band != row.band:
            band_span = slice(piece_bounds[band_first_row], piece_bounds[next_row_index])
            np.matmul(window_samples[:, band_span], kernels()[row.band % BANDS], out=terms[:, band_span])
            band_first_row = next_row_index
    return terms.reshape(len(copies_by_side), -1, DEGREE + 1)


def _summed(terms: Array, positions: Places) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Values at ``positions``, and a mask of integer positions."""
    fractions = (positions & (ONE - 1)).astype(np.float32)
    is_exact = fractions == 0.0
    fractions *= np.float32(1.0 / ONE)
    fractions -= np.float32(0.5)
    sound: Array = terms[DEGREE] * fractions
    for power in range(DEGREE - 1, 0, -1):
        sound += terms[power]
        sound *= fractions
    sound += terms[0]
    return sound, is_exact


@functools.lru_cache(maxsize=256)
def _band(step: int) -> int:
    """The band of one step, as `_bands`."""
    return int(_bands(np.array([step], np.int64))[0])


def _bands(step: Places) -> Places:
    """Bands of steps: a copy's index times `BANDS`, and its low-pass."""
    octaves = np.log2(step / ONE)
    copy_indices = np.maximum(np.ceil(octaves) - 1, 0).astype(np.int64)
    lowpass_indices = np.clip(np.ceil((octaves - copy_indices) * AN_OCTAVE), 0, AN_OCTAVE).astype(np.int64)
    return copy_indices * BANDS + lowpass_indices


@functools.cache
def kernels() -> Array:
    """Tap weights of all low-passes, [BANDS, WINDOW, GROUP * (DEGREE + 1)]; the first call takes many blocks' time."""
    tap_weights = np.zeros((BANDS, WINDOW, GROUP, DEGREE + 1), np.float32)
    for lowpass_index in range(BANDS):
        for sample_shift in range(GROUP):
            tap_weights[lowpass_index, sample_shift : sample_shift + TAPS, sample_shift] = _kernel(lowpass_index)
    return tap_weights.reshape(BANDS, WINDOW, -1)


def _kernel(low: int) -> Array:
    """Kaiser-windowed sinc, cut off ``low`` / `AN_OCTAVE` octaves below half the rate, over the position less 1/2."""
    cutoff = 2.0 ** (-low / AN_OCTAVE)  # of half the rate
    fractions = np.cos(np.pi * (np.arange(64) + 0.5) / 64) / 2  # Chebyshev nodes: an even error between them
    tap_distances = np.arange(TAPS)[:, np.newaxis] - (TAPS // 2 - 1) - (fractions + 0.5)
    kaiser_window = np.i0(DECAY * np.sqrt(np.maximum(0.0, 1.0 - (tap_distances / (TAPS / 2)) ** 2))) / np.i0(DECAY)
    tap_weights = cutoff * np.sinc(cutoff * tap_distances) * kaiser_window
    fraction_powers = np.vander(fractions, DEGREE + 1, increasing=True)
    polynomial_weights: npt.NDArray[np.float64] = np.linalg.lstsq(fraction_powers, tap_weights.T, rcond=None)[0]
    return np.ascontiguousarray(polynomial_weights.T.astype(np.float32))


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
        """The segment of a clip that parameter ``values`` select."""
        first = min(round(values["clip.start"] * clip_length), clip_length - 1)
        length = max(1, min(round(values["clip.length"] * clip_length), clip_length - first))
        backwards = values["clip.reverse"] >= 0.5
        if not loops:
            as_recorded = not backwards and first + length == clip_length
            return cls(first, length, backwards, 0 if as_recorded else min(fade, length // 2))
        loop = min(round(values["clip.loop_start"] * length), length - 1)
        cross = min(round(values["clip.crossfade_seconds"] * sample_rate), (length - loop) // 2)
        return cls(first, length, backwards, 0, loop, length - loop - cross, cross)

    def is_whole(self, clip_length: int) -> bool:
        """Return whether a clip plays once, from its first sample to its last."""
        return not (self.period or self.backwards) and self.first == 0 and self.length == clip_length

    def wrapped(self, position: int) -> int:
        """Equivalent position in the loop's first two passes."""
        period_units, loop_position = self.period << BITS, position - (self.loop << BITS)
        return (
            position
            if not self.period or loop_position < period_units
            else (self.loop << BITS) + period_units + loop_position % period_units
        )

    def count_inside(self, position: int, step: int, count: int) -> int:
        """Count positions in the segment, ``step`` apart."""
        if self.period:
            return count
        return max(0, min(count, -((position - (self.length << BITS)) // step)))

    def straight(self, position: int, step: int, count: int) -> tuple[int, int] | None:
        """Clip position and step of ``count`` positions, ``step`` apart; None if one is faded or crossfaded, or the
        loop restarts.
        """
        last_position = position + step * (count - 1)
        if last_position >= (self.loop + self.period if self.period else self.length - self.fade) << BITS:
            period_units, loop_end = self.period << BITS, (self.loop + self.period) << BITS
            if not self.period or position - loop_end < self.cross << BITS or last_position - loop_end >= period_units:
                return None
            position -= period_units
        if self.backwards:
            return ((self.first + self.length - 1) << BITS) - position, -step
        return (self.first << BITS) + position, step

    def count_straight(self, position: int, step: int) -> int:
        """Number of `straight` positions from ``position`` on, ``step`` apart."""
        end_position = (self.loop + self.period if self.period else self.length - self.fade) << BITS
        if self.period and position >= end_position + (self.cross << BITS):
            end_position += self.period << BITS
        return max(0, -((position - end_position) // step))

    def requests(
        self, clip: ResampledClip, coming: ResampledClip | None, share: Array | None, positions: Places, step: Places
    ) -> list[tuple[Request, int, Array | None]]:
        """Requests, first places and weights, [n] each, whose weighted sum is the sound at ``positions``, [n].

        ``positions`` rise, in a loop from a `wrapped` position on.
        """
        if not self.period:
            fade_weights = None
            if self.fade and positions[-1] >= (self.length - self.fade) << BITS:
                remaining_shares = ((self.length << BITS) - positions) * (1.0 / (self.fade << BITS))
                fade_weights = np.minimum(remaining_shares, 1.0).astype(np.float32)
            return [(Request(clip, self._clip_places(positions), step, coming, share), 0, fade_weights)]
        loop_start, period_units, cross_units = self.loop << BITS, self.period << BITS, self.cross << BITS
        loop_positions = positions - loop_start
        is_repeated = loop_positions >= period_units
        loop_positions = np.where(is_repeated, loop_positions % period_units, loop_positions)
        is_fading = is_repeated & (loop_positions < cross_units)
        main_request = Request(clip, self._clip_places(loop_start + loop_positions), step, coming, share)
        if not is_fading.any():
            return [(main_request, 0, None)]
        fade_angles = np.where(is_fading, loop_positions, 0) * (np.pi / 2 / cross_units)
        rise_weights = np.where(is_fading, np.sin(fade_angles), 1.0).astype(np.float32)
        fall_weights = np.where(is_fading, np.cos(fade_angles), 0.0).astype(np.float32)
        fading_indices = np.flatnonzero(is_fading)
        first_index, end_index = int(fading_indices[0]), int(fading_indices[-1]) + 1
        late_positions = loop_start + period_units + np.where(is_fading, loop_positions, 0)[first_index:end_index]
        tail_request = Request(
            clip,
            self._clip_places(late_positions),
            step if len(step) == 1 else step[first_index:end_index],
            coming,
            None if share is None else share[first_index:end_index],
        )
        return [(main_request, 0, rise_weights), (tail_request, first_index, fall_weights[first_index:end_index])]

    def _clip_places(self, positions: Places) -> Places:
        """Positions in the clip of positions in the segment."""
        if self.backwards:
            return ((self.first + self.length - 1) << BITS) - positions
        return (self.first << BITS) + positions
