"""Grain synthesis: resampled samples, or noise filtered by a magnitude frame."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Indices
from ...contract.card import Card
from ...noise import gaussian_noise
from ...stft import fast_length

OPEN = 0.5  # cycles per sample: a low-pass is open from here
STEEP = 8  # twice the order of the Butterworth low-pass
TRIED = 256  # padding lengths; the best one errs by less than 0.1 cents
PRIMES = (2, 3, 5, 7)  # prime factors of fast transforms


class Cut(NamedTuple):
    length: int  # samples
    ratio: float  # of frequencies
    lowpass: float  # cutoff in cycles per sample


class GrainSource(Protocol):
    """Synthesizes grains without their window."""

    def longest(self, ratio: float) -> int:
        """Maximum grain length in samples."""

    def power(self, frame: Array, ratio: float, window: Array) -> float:
        """Expected mean square of grains before the low-pass, weighted by the squared ``window``."""

    def grains(self, frames: Array, cuts: Sequence[Cut], places: Sequence[Sequence[float]]) -> list[Array]:
        """A grain per frame, [length] each, read-only if shared with ``frames``.

        Args:
            frames: [rows, frame_width].
            places: two random numbers on [0, 1) per row.
        """


def source_of(card: Card, longest: int) -> GrainSource:
    return NoiseFrames(card, longest) if card.domain == "magnitude" else ResampledFrames(card, longest)


class ResampledFrames:
    """Cuts the frame's middle, transposed and low-passed by band-limited resampling."""

    def __init__(self, card: Card, longest: int) -> None:
        self._length, self._longest = card.frame_length, longest
        self._polar = card.domain == "magnitude_phase"

    def longest(self, ratio: float) -> int:
        return min(max(2, math.floor(self._length / ratio)), self._longest)

    def power(self, frame: Array, ratio: float, window: Array) -> float:
        """Unweighted; resampling keeps it below half the rate."""
        if self._polar:
            magnitudes = frame[: self._length // 2 + 1]
            return float(np.square(magnitudes).sum()) * 2 / self._length**2  # Parseval
        return float(np.square(frame).mean())

    def grains(self, frames: Array, cuts: Sequence[Cut], places: Sequence[Sequence[float]]) -> list[Array]:
        if self._polar:
            magnitudes, phases = np.split(frames, 2, axis=1)
            frames = np.fft.irfft(magnitudes * np.exp(1j * phases), self._length).astype(np.float32, copy=False)
        return [self._cut(frame, *cut) for frame, cut in zip(frames, cuts, strict=True)]

    def _cut(self, frame: Array, length: int, ratio: float, lowpass: float) -> Array:
        whole = self._length
        if ratio != 1.0 or lowpass < OPEN:
            padded, moved = _lengths(self._length, ratio)
            gains = _resampling(padded, moved, lowpass)
            spectrum = np.fft.rfft(frame, padded)[: len(gains)] * gains
            frame = np.fft.irfft(spectrum, moved).astype(np.float32, copy=False)
            whole = round(self._length * moved / padded)
        first = max(0, (whole - length) // 2)
        return frame[first : first + length]


class NoiseFrames:
    """Gaussian noise with the frame's amplitude spectrum and envelope, new for each grain.

    Its spectrum is a random part of a Gaussian table times the phases of another.
    """

    def __init__(self, card: Card, longest: int) -> None:
        self._frame_length, self._bins, self._envelope_points = (
            card.frame_length,
            card.frame_length // 2 + 1,
            card.envelope_points,
        )
        self._longest = longest
        self._table = gaussian_noise(1 << longest.bit_length())
        self._phasors = self._table / np.abs(self._table)

    def longest(self, ratio: float) -> int:
        return self._longest

    def power(self, frame: Array, ratio: float, window: Array) -> float:
        """Higher pitches widen the spectrum at equal density, up to half the rate."""
        heard = frame[: min(self._bins, math.ceil(self._bins / ratio))]
        power = float(np.square(heard).sum()) * 2 * ratio / self._frame_length**2
        if not self._envelope_points:
            return power
        weights = np.square(window[_point_samples(self._envelope_points, len(window))])
        return power * float((weights * np.square(frame[self._bins :])).sum() / weights.sum())

    def grains(self, frames: Array, cuts: Sequence[Cut], places: Sequence[Sequence[float]]) -> list[Array]:
        lengths = [_even_length(cut.length) for cut in cuts]
        made: list[Array] = [frames[0]] * len(cuts)
        for length in dict.fromkeys(lengths):
            rows = [row for row, other in enumerate(lengths) if other == length]
            bins = length // 2 + 1
            room = len(self._table) - bins
            spectra = np.empty((len(rows), bins), np.complex64)
            for spectrum, row in zip(spectra, rows, strict=True):
                first, then = (int(place * room) for place in places[row])
                np.multiply(self._table[first : first + bins], self._phasors[then : then + bins], out=spectrum)
                _, ratio, lowpass = cuts[row]
                spectrum *= _interpolated(frames[row], *_filtering(self._frame_length, length, ratio, lowpass))
            sounds = np.fft.irfft(spectra, length)
            for sound, row in zip(sounds, rows, strict=True):
                made[row] = self._shaped(sound[: cuts[row].length], frames[row])
        return made

    def _shaped(self, sound: Array, frame: Array) -> Array:
        if not self._envelope_points:
            return sound
        shaped = _interpolated(frame[self._bins :], *_stretching(self._envelope_points, len(sound)))
        shaped *= sound
        return shaped


@functools.cache
def _even_length(length: int) -> int:
    return fast_length(length, PRIMES, step=2)


@functools.lru_cache(maxsize=256)
def _lengths(length: int, ratio: float) -> tuple[int, int]:
    if ratio == 1.0:
        return length, length
    padded = np.arange(length, length + TRIED)
    moved = np.maximum(np.round(padded / ratio), 2)
    best = int(np.argmin(np.abs(moved * ratio / padded - 1.0)))
    return int(padded[best]), int(moved[best])


@functools.lru_cache(maxsize=64)
def _resampling(length: int, moved: int, lowpass: float) -> Array:
    shorter = min(length, moved)
    gains = np.full(shorter // 2 + 1, moved / length)
    if shorter % 2 == 0 and moved != length:  # its last bin counts twice, or half
        gains[-1] *= 2.0 if moved < length else 0.5
    return (gains * _butterworth(np.arange(len(gains)) / moved, lowpass)).astype(np.float32)


def _interpolated(values: Array, below: Indices, at: Array, above: Array) -> Array:
    result: Array = values.take(below)
    result *= at
    upper = values[1:].take(below)
    upper *= above
    result += upper
    return result


@functools.lru_cache(maxsize=64)
def _filtering(frame: int, length: int, ratio: float, lowpass: float) -> tuple[Indices, Array, Array]:
    cycles = np.arange(length // 2 + 1) / length
    places = cycles * frame / ratio
    below = np.minimum(places.astype(np.intp), frame // 2 - 1)
    part = places - below
    gain = math.sqrt(length / frame) * _butterworth(cycles, lowpass) * (places <= frame / 2)
    gain[[0, -1]] *= math.sqrt(2.0)  # only the real part counts there, half the power
    return below, (gain * (1.0 - part)).astype(np.float32), (gain * part).astype(np.float32)


@functools.lru_cache(maxsize=16)
def _stretching(points: int, length: int) -> tuple[Indices, Array, Array]:
    places = np.linspace(0.0, points - 1.0, length)
    below = np.minimum(places.astype(np.intp), points - 2)
    part = (places - below).astype(np.float32)
    return below, 1 - part, part


@functools.lru_cache(maxsize=256)
def _point_samples(points: int, length: int) -> Indices:
    return np.linspace(0, length - 1, points).round().astype(np.intp)


def _butterworth(cycles: npt.NDArray[np.float64], lowpass: float) -> npt.NDArray[np.float64] | float:
    return 1.0 if lowpass >= OPEN else 1.0 / np.sqrt(1.0 + (cycles / lowpass) ** STEEP)
