"""Windows, STFT, overlap-add and chroma."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import Array
from .units import A4_HZ

LOWEST_HZ = 27.5  # A0, the lowest note of the publication's chromagram
HIGHEST_HZ = 4186.01  # C8, its highest


@functools.cache
def window(name: str, length: int) -> Array:
    """Periodic, [length]."""
    t = 2.0 * np.pi * np.arange(length) / length
    shapes = {
        "hann": 0.5 - 0.5 * np.cos(t),
        "blackman": 0.42 - 0.5 * np.cos(t) + 0.08 * np.cos(2 * t),
        "rectangular": np.ones(length),
    }
    shape = shapes[name].astype(np.float32)
    shape.setflags(write=False)
    return shape


def stft(signal: Array, frame_length: int, hop_length: int, window_name: str = "hann") -> npt.NDArray[np.complex64]:
    """Short-time Fourier transform, [frames, frame_length // 2 + 1], of [samples].

    Without padding: frame ``i`` starts at sample ``i * hop_length``.
    """
    frames = np.lib.stride_tricks.sliding_window_view(signal, frame_length)[::hop_length]
    return np.fft.rfft(frames * window(window_name, frame_length), axis=-1).astype(np.complex64)


@functools.cache
def from_middle(bins: int) -> Array:
    """Signs, [bins], that move a spectrum's time origin between the frame's middle and start."""
    signs = np.where(np.arange(bins) % 2 == 0, np.float32(1), np.float32(-1))
    signs.setflags(write=False)
    return signs


@functools.cache
def chroma_bins(sample_rate: int, frame_length: int) -> Array:
    """Pitch class of each bin, one-hot from A0 to C8, else zero: [bins, 12].

    Colonel & Keene 2020, section III-B: sums energy over bands around 88 notes.
    """
    hz = np.fft.rfftfreq(frame_length, 1.0 / sample_rate)
    half_semitone = 2.0 ** (1 / 24)
    inside = (hz > LOWEST_HZ / half_semitone) & (hz < HIGHEST_HZ * half_semitone)
    note = np.round(69 + 12 * np.log2(np.where(inside, hz, A4_HZ) / A4_HZ)).astype(int)
    bins = np.zeros((len(hz), 12), np.float32)
    bins[inside, note[inside] % 12] = 1.0
    bins.setflags(write=False)
    return bins


def chroma(magnitudes: Array, sample_rate: int, frame_length: int) -> Array:
    """Pitch class energies, [..., 12], C first, of magnitudes, [..., bins]."""
    return np.square(magnitudes) @ chroma_bins(sample_rate, frame_length)


def overlapped_hops(frames: Array, hop: int) -> Array:
    """Overlap-add [..., n, length] to [..., hops, hop], all first hops of frames before all second ones."""
    count, length = frames.shape[-2:]
    hops = np.zeros((*frames.shape[:-2], count - 1 - -length // hop, hop), np.float32)
    for row, begin in enumerate(range(0, length, hop)):
        part = frames[..., begin : begin + hop]
        hops[..., row : row + count, : part.shape[-1]] += part
    return hops


def overlap_add(pieces: npt.NDArray[np.floating[Any]], hop: int) -> Array:
    """[n, length] to [(n - 1) * hop + length]."""
    count, length = pieces.shape
    total = np.zeros((count - 1) * hop + length, np.float32)
    for number, piece in enumerate(pieces):
        total[number * hop : number * hop + length] += piece
    return total


def fast_length(length: int, primes: Sequence[int], step: int = 1) -> int:
    """First multiple of ``step`` from ``length`` on without other prime factors."""
    candidate = -(-length // step) * step
    while _without(primes, candidate) > 1:
        candidate += step
    return candidate


def _without(primes: Sequence[int], number: int) -> int:
    for prime in primes:
        while number % prime == 0:
            number //= prime
    return number
