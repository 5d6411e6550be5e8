"""Clips with octave-decimated copies for higher pitches, in memory that processes share."""

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...stft import fast_length

TAPS = 48  # samples per interpolated sample: clean up to 0.83 of half the rate, see `_kernel` of `resampling`
BESIDE = 4  # successive samples computed together, because they share most taps
WINDOW = TAPS + BESIDE - 1
PIECE = 8 * BESIDE  # samples always read together, aligned to the memory's start
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
    return [Copy(memory, begin + each + TAPS // 2 + 1) for each in _begins(length)[:-1]]


@functools.lru_cache(maxsize=64)
def _begins(length: int) -> list[int]:
    sizes = [length + 2 * TAPS, *((length >> octave) + 3 * TAPS for octave in range(1, OCTAVES))]
    return [0, *itertools.accumulate(-(-(size + PIECE) // PIECE) * PIECE for size in sizes)]


def _pad(samples: Array, room: Array) -> None:
    room[:TAPS] = 0.0
    room[TAPS : TAPS + len(samples)] = samples
    room[TAPS + len(samples) :] = 0.0


def _octaves(samples: Array) -> list[Array]:
    whole = 1 << OCTAVES
    padded = fast_length(math.ceil((len(samples) + TAPS * whole) / whole), PRIMES) * whole
    spectrum = np.fft.rfft(samples, padded)
    copies = []
    for octave in range(1, OCTAVES):
        length = padded >> octave
        bins = length // 2 + 1
        fading = np.clip((np.arange(bins) / (bins - 1) - TAPER) / (1 - TAPER), 0.0, 1.0)
        part = spectrum[:bins] * (np.cos(np.pi * fading) + 1.0) * (0.5 / (1 << octave))
        copies.append(np.fft.irfft(part, length)[: (len(samples) >> octave) + TAPS].astype(np.float32))
    return copies
