"""Reads clips at any place between their samples, without what a higher pitch would fold back.

Places and steps are whole numbers of parts of a sample, `ONE` a sample: their sums are exact, so that no division of a
sound into blocks shows. A place that lies on a sample gives that very sample, as long as the pitch is not raised.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

BITS = 32
ONE = 1 << BITS  # parts of a sample
TAPS = 48  # samples from which one between them is made: clean up to 0.83 of half the rate, see `_kernel`
DECAY = 8.0  # of Kaiser's window: what is folded back or mirrored is 80 dB down, beyond the edge of the band
DEGREE = 7  # of the polynomials of a tap's weight over the way from sample to sample: they err by less, -100 dB
ROWS = 32  # sounds are made in pieces of so many samples from a note-on: products of equal sizes are equal to the bit
AN_OCTAVE = 24  # low-passes in an octave of pitch
BANDS = AN_OCTAVE + 1  # low-passes of a copy, from that for its own rate to that for twice the pitch
OCTAVES = 6  # of pitch, at most: 72 semitones
TAPER = 0.9  # of the band of a copy an octave lower: from there on it fades


class Clip:
    """A sound, [samples], and its copies an octave and more lower, each at half the rate of the one before.

    A copy is made when it is first read, or by `prepare`.
    """

    __slots__ = ("__weakref__", "_copies", "samples")

    def __init__(self, samples: Array) -> None:
        """Keep the samples, which must not be written to from now on; what is not finite becomes silence."""
        if not np.isfinite(samples).all():
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        self.samples = samples
        self._copies: list[Array] = []

    def __reduce__(self) -> tuple[type["Clip"], tuple[Array]]:
        """A copy in another process makes its own copies."""
        return Clip, (self.samples,)

    def prepare(self) -> None:
        """Make all copies now."""
        if len(self._copies) <= OCTAVES - 1:
            self._copies = [_windows(_padded(copy)) for copy in (self.samples, *_octaves(self.samples))]

    @staticmethod
    def size(length: int) -> int:
        """Return how many numbers a clip of ``length`` samples is with all its copies."""
        return sum(_sizes(length))

    def put(self, room: Array) -> None:
        """Write it and all its copies into ``room``, [size]."""
        copies = [_padded(copy) for copy in (self.samples, *_octaves(self.samples))]
        np.concatenate(copies, out=room)

    @classmethod
    def there(cls, room: Array, length: int) -> "Clip":
        """Return the clip of ``length`` samples that was `put` into a room, which is its own as long as it is used."""
        clip = cls.__new__(cls)
        ends = list(itertools.accumulate(_sizes(length)))
        clip.samples = room[TAPS : TAPS + length]
        clip._copies = [_windows(room[begin:end]) for begin, end in itertools.pairwise([0, *ends])]
        return clip

    def windows(self, octave: int) -> Array:
        """Return the samples around each place of a copy, [places, TAPS]; row 0 is `TAPS` samples before the first."""
        if octave == 0 and not self._copies:
            self._copies = [_windows(_padded(self.samples))]
        elif octave >= len(self._copies):
            self.prepare()
        return self._copies[octave]


class Request(NamedTuple):
    """Asks for a clip's samples at ``places``, [n], which move there by ``step``, [n] or [1] for all.

    ``row`` is that of the first place: samples since the note-on.
    """

    clip: Clip
    places: Places
    step: Places
    row: int


class Stretch(NamedTuple):
    """Asks for a clip's samples at ``length`` places, of which the next is always ``step`` further.

    ``step`` is below 0 where it is read backwards; ``row`` as of `Request`.
    """

    clip: Clip
    first: int
    step: int
    length: int
    row: int

    @property
    def as_it_is(self) -> bool:
        """Return whether its places are samples of the clip, one after another."""
        return abs(self.step) == ONE and not self.first & (ONE - 1)


def steps(semitones: npt.ArrayLike) -> Places:
    """Return the parts of a sample from one sample to the next at these transpositions, [1] for one number, or [n]."""
    octaves = np.atleast_1d(np.asarray(semitones, np.float64)) / 12.0
    paces: Places = np.rint(np.exp2(np.clip(octaves, -OCTAVES, OCTAVES)) * ONE).astype(np.int64)
    return paces


@functools.lru_cache(maxsize=1024)  # keys come again and again
def steady(semitones: float) -> Places:
    """Return `steps` of one number, [1]; not to be written to."""
    return steps(semitones)


class Reader:
    """Reads clips: all voices' at once, for most of what it costs is by the call."""

    def __init__(self) -> None:
        self._room: Array = np.zeros((ROWS, TAPS), np.float32)

    def read(self, requests: Sequence[Request | Stretch]) -> list[Array]:
        """Return what clips have at the places of each request, [n] each; only to be read."""
        found: list[Array] = [np.zeros(0, np.float32)] * len(requests)
        between: list[tuple[int, Request, int]] = []
        stretches: list[tuple[int, Stretch]] = []
        for number, request in enumerate(requests):
            if isinstance(request, Stretch):
                if request.as_it_is:
                    found[number] = _samples(request)
                else:
                    stretches.append((number, request))
                continue
            clip, places, step, _ = request
            if len(step) == 1:
                if step[0] == ONE and not places[0] & (ONE - 1):
                    found[number] = clip.samples[places >> BITS]
                else:
                    between.append((number, request, _band(int(step[0]))))
                continue
            bands = _bands(step)
            found[number] = np.zeros(len(places), np.float32)
            between += [(number, request, band) for band in np.unique(bands).tolist()]
        if between:
            for (number, request, band), sound in zip(between, self._between(between), strict=True):
                step = request.step
                found[number] = sound if len(step) == 1 else np.where(_bands(step) == band, sound, found[number])
        if stretches:
            sounds = self._stretches([stretch for _, stretch in stretches])
            for (number, _), sound in zip(stretches, sounds, strict=True):
                found[number] = sound
        return found

    def _stretches(self, stretches: Sequence[Stretch]) -> list[Array]:
        """Return what copies have in each stretch through its low-pass, [length] each."""
        bands = [_band(abs(stretch.step)) for stretch in stretches]
        rows = -(-(ROWS - 1 + max(stretch.length for stretch in stretches)) // ROWS) * ROWS
        numbers = [
            (first, step, row % ROWS, band // BANDS)
            for (_, first, step, _, row), band in zip(stretches, bands, strict=True)
        ]
        first, step, lead, octave = np.array(numbers, np.int64).T[:, :, np.newaxis]
        places = (np.arange(rows) - lead) * step
        places += first
        places >>= octave
        firsts = places >> BITS
        firsts += TAPS // 2 + 1
        room = self._room_for(places.size).reshape(*places.shape, TAPS)
        mine = [slice(row % ROWS, row % ROWS + length) for _, _, _, length, row in stretches]
        for number, (stretch, band, where) in enumerate(zip(stretches, bands, mine, strict=True)):
            room[number, where] = stretch.clip.windows(band // BANDS)[firsts[number, where]]
        kernels = _kernels()[[band % BANDS for band in bands], np.newaxis]
        terms = np.matmul(room.reshape(len(stretches), -1, ROWS, TAPS), kernels).reshape(*places.shape, -1)
        sound, exact = _summed(np.moveaxis(terms, -1, 0), places)
        if exact.any():
            for number, (stretch, band, where) in enumerate(zip(stretches, bands, mine, strict=True)):
                if not band and (there := exact[number, where]).any():
                    sound[number, where][there] = stretch.clip.samples[places[number, where][there] >> BITS]
        return [sound[number, where] for number, where in enumerate(mine)]

    def _room_for(self, rows: int) -> Array:
        """Return room for the samples around so many places, [rows, TAPS]; what is in it is finite."""
        if rows > len(self._room):
            self._room = np.zeros((rows, TAPS), np.float32)
        return self._room[:rows]

    def _between(self, requests: Sequence[tuple[int, Request, int]]) -> list[Array]:
        """Return what copies have at the places of each request through its low-pass, [n] each."""
        pieces = [-(-(request.row % ROWS + len(request.places)) // ROWS) for _, request, _ in requests]
        rows = sum(pieces) * ROWS
        room, places = self._room_for(rows), np.zeros(rows, np.int64)
        mine, at = [], 0
        for (_, request, band), count in zip(requests, pieces, strict=True):
            first = at + request.row % ROWS
            mine.append(slice(first, first + len(request.places)))
            at += count * ROWS
            places[mine[-1]] = request.places >> band // BANDS
        firsts = (places >> BITS) + (TAPS // 2 + 1)
        for (_, request, band), where in zip(requests, mine, strict=True):
            room[where] = request.clip.windows(band // BANDS)[firsts[where]]
        kernels = _kernels()[np.repeat([band % BANDS for _, _, band in requests], pieces)]
        terms = np.matmul(room.reshape(-1, ROWS, TAPS), kernels).reshape(rows, -1).T
        sound, exact = _summed(terms, places)
        for (_, request, band), where in zip(requests, mine, strict=True):
            if not band and (there := exact[where]).any():
                sound[where][there] = request.clip.samples[request.places[there] >> BITS]
        return [sound[where] for where in mine]


def _samples(stretch: Stretch) -> Array:
    """Return the samples of a stretch whose places are samples."""
    clip, first, step, length, _ = stretch
    at = first >> BITS
    if step > 0:
        return clip.samples[at : at + length]
    return clip.samples[at : at - length if at >= length else None : -1]


def _summed(terms: Array, places: Places) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return the polynomials' values at places, of their terms, [DEGREE + 1, *places]; and which places are samples."""
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
    """Return the kernels of all low-passes, [BANDS, TAPS, DEGREE + 1]."""
    return np.stack([_kernel(low) for low in range(BANDS)])


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


def _padded(samples: Array) -> Array:
    """Return samples with silence around them."""
    padded = np.zeros(len(samples) + 2 * TAPS, np.float32)
    padded[TAPS:-TAPS] = samples
    return padded


def _windows(padded: Array) -> Array:
    """Return views of as many successive samples as there are taps."""
    return np.lib.stride_tricks.sliding_window_view(padded, TAPS)


def _sizes(length: int) -> list[int]:
    """Return the lengths of all copies of a clip, with the silence around them, the clip itself first."""
    return [length + 2 * TAPS, *((length >> octave) + 3 * TAPS for octave in range(1, OCTAVES))]


def _octaves(samples: Array) -> list[Array]:
    """Return copies at a half of the rate, a quarter and so on."""
    whole = 1 << OCTAVES
    padded = _fast_length(math.ceil((len(samples) + TAPS * whole) / whole)) * whole
    spectrum = np.fft.rfft(samples, padded)
    copies = []
    for octave in range(1, OCTAVES):
        length = padded >> octave
        bins = length // 2 + 1
        fading = np.clip((np.arange(bins) / (bins - 1) - TAPER) / (1 - TAPER), 0.0, 1.0)
        part = spectrum[:bins] * (np.cos(np.pi * fading) + 1.0) * (0.5 / (1 << octave))
        copies.append(np.fft.irfft(part, length)[: (len(samples) >> octave) + TAPS].astype(np.float32))
    return copies


def _fast_length(length: int) -> int:
    """Return the least number from ``length`` on without a prime factor beyond 5."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
