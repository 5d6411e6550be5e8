"""A clip as it is read: its samples, and copies of them for higher pitches, in memory that processes may share."""

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

TAPS = 48  # samples from which one between them is made: clean up to 0.83 of half the rate, see `_kernel` of `reading`
BESIDE = 4  # successive samples whose taps are taken together: most of these are the same
WINDOW = TAPS + BESIDE - 1
PIECE = 8 * BESIDE  # samples that are always read together, counted from the beginning of the memory
OCTAVES = 6  # of pitch, at most: 72 semitones
TAPER = 0.9  # of the band of a copy an octave lower: from there on it fades


class Rooms:
    """Memory in which clips lie, [numbers], and all windows of it, [numbers - WINDOW + 1, WINDOW]."""

    __slots__ = ("flat", "windows")

    def __init__(self, flat: Array) -> None:
        """Keep what is there, and let others write to it."""
        self.flat = flat
        self.windows: Array = np.lib.stride_tricks.sliding_window_view(flat, WINDOW)


class Copy(NamedTuple):
    """A clip at its own rate or a lower one: the taps of its first sample are in memory from number ``first`` on."""

    rooms: Rooms
    first: int


class ResampledClip:
    """A sound, [samples], and its copies an octave and more lower, each at half the rate of the one before.

    A copy is made when it is first read, or by `prepare`.
    """

    __slots__ = ("__weakref__", "_copies", "samples")

    def __init__(self, samples: Array) -> None:
        """Keep the samples, which must not be written to from now on; what is not finite becomes silence."""
        if not np.isfinite(samples).all():
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        self.samples = samples
        self._copies: list[Copy] = []

    def __reduce__(self) -> tuple[type["ResampledClip"], tuple[Array]]:
        """A copy in another process makes its own copies."""
        return ResampledClip, (self.samples,)

    def prepare(self) -> None:
        """Make all copies now."""
        if len(self._copies) <= OCTAVES - 1:
            room = np.empty(ResampledClip.size(len(self.samples)), np.float32)
            self.put(room)
            self._copies = _copies(Rooms(room), 0, len(self.samples))

    @staticmethod
    def size(length: int) -> int:
        """Return how many numbers a clip of ``length`` samples is with all its copies, a multiple of `PIECE`."""
        return _begins(length)[-1]

    def put(self, room: Array) -> None:
        """Write it and all its copies into ``room``, [size]."""
        places = itertools.pairwise(_begins(len(self.samples)))
        for copy, (begin, end) in zip((self.samples, *_octaves(self.samples)), places, strict=True):
            _pad(copy, room[begin:end])

    @classmethod
    def there(cls, rooms: Rooms, number: int, length: int) -> "ResampledClip":
        """Return the clip of ``length`` samples that was `put` into the room of a number, all of one size.

        The room is its own as long as it is used.
        """
        clip, begin = cls.__new__(cls), number * ResampledClip.size(length)
        clip.samples = rooms.flat[begin + TAPS : begin + TAPS + length]
        clip._copies = _copies(rooms, begin, length)
        return clip

    def copy(self, octave: int) -> Copy:
        """Return the copy that is so many octaves lower."""
        if octave == 0 and not self._copies:
            room = np.empty(_begins(len(self.samples))[1], np.float32)
            _pad(self.samples, room)
            self._copies = _copies(Rooms(room), 0, len(self.samples))[:1]
        elif octave >= len(self._copies):
            self.prepare()
        return self._copies[octave]


def _copies(rooms: Rooms, begin: int, length: int) -> list[Copy]:
    """Return all copies of a clip of ``length`` samples that lie in memory from number ``begin`` on."""
    return [Copy(rooms, begin + each + TAPS // 2 + 1) for each in _begins(length)[:-1]]


@functools.lru_cache(maxsize=64)
def _begins(length: int) -> list[int]:
    """Return where the copies of a clip begin, with the silence around them, the clip itself first; and their end."""
    sizes = [length + 2 * TAPS, *((length >> octave) + 3 * TAPS for octave in range(1, OCTAVES))]
    return [0, *itertools.accumulate(-(-(size + PIECE) // PIECE) * PIECE for size in sizes)]


def _pad(samples: Array, room: Array) -> None:
    """Write samples into a room, and silence around them."""
    room[:TAPS] = 0.0
    room[TAPS : TAPS + len(samples)] = samples
    room[TAPS + len(samples) :] = 0.0


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
