"""Makes grains of decoded frames: cut from samples, or noise that a frame filters."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ...contract.card import Card
from ...dsp import gaussian_noise

Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

OPEN = 0.5  # cycles a sample: a low-pass there or above lets everything through
STEEP = 8  # exponent of the low-pass: twice the order of a Butterworth filter, whose magnitude it has
TRIED = 256  # lengths of padding, of which the one is taken that comes nearest to the pitch: below 0.1 cents
PRIMES = (2, 3, 5, 7)  # lengths with no other factor transform fast


class Cut(NamedTuple):
    """The measures of a grain: length in samples, pitch as a frequency ratio, low-pass cutoff in cycles a sample."""

    length: int
    ratio: float
    lowpass: float


class GrainSource(Protocol):
    """Makes grains, before their window."""

    def longest(self, ratio: float) -> int:
        """Return the largest length of a grain at a pitch, in samples."""
        ...

    def power(self, frame: Array, ratio: float, window: Array) -> float:
        """Return the mean square that grains of a frame have on average at a pitch, before a low-pass.

        It is weighted by the square of their ``window``, and so that of a texture of many.
        """
        ...

    def grains(self, frames: Array, cuts: Sequence[Cut], places: Sequence[Sequence[float]]) -> list[Array]:
        """Return a grain of each frame.

        Args:
            frames: [rows, frame_width].
            cuts: one a row.
            places: two random numbers on [0, 1) for each row.

        Returns:
            [length] each; what it shares with ``frames`` must not be written to.
        """
        ...


def source_of(card: Card, longest: int) -> GrainSource:
    """Return the source for a card's domain; ``longest``: samples of the longest grain that will be asked for."""
    return NoiseFrames(card, longest) if card.domain == "magnitude" else ResampledFrames(card, longest)


class ResampledFrames:
    """The middle of the frame, moved in pitch by band-limited resampling.

    The low-pass is applied in the same transform. A frame of magnitudes and phases is transformed back first.
    """

    def __init__(self, card: Card, longest: int) -> None:
        self._length, self._longest = card.frame_length, longest
        self._polar = card.domain == "magnitude_phase"

    def longest(self, ratio: float) -> int:
        """See `GrainSource.longest`: the whole frame."""
        return min(max(2, math.floor(self._length / ratio)), self._longest)

    def power(self, frame: Array, ratio: float, window: Array) -> float:
        """See `GrainSource.power`; not weighted. Resampling keeps the power, except beyond half the rate."""
        if self._polar:
            magnitudes = frame[: self._length // 2 + 1]
            return float(np.square(magnitudes).sum()) * 2 / self._length**2  # Parseval
        return float(np.square(frame).mean())

    def grains(self, frames: Array, cuts: Sequence[Cut], places: Sequence[Sequence[float]]) -> list[Array]:
        """See `GrainSource.grains`; nothing is random here."""
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
    """Gaussian noise with the frame as its amplitude spectrum, fresh for each grain, and the frame's envelope on it.

    Spectra of noise are never computed: they are read, from a random place of a table of Gaussian numbers, and turned
    by phases from another random place, so that two grains are never of the same noise. What is transformed is at
    least the grain, of a length that transforms fast, and the grain is its beginning.
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
        """See `GrainSource.longest`: noise has no end."""
        return self._longest

    def power(self, frame: Array, ratio: float, window: Array) -> float:
        """See `GrainSource.power`: a higher pitch is a wider spectrum of the same density, up to half the rate."""
        heard = frame[: min(self._bins, math.ceil(self._bins / ratio))]
        power = float(np.square(heard).sum()) * 2 * ratio / self._frame_length**2
        if not self._envelope_points:
            return power
        weights = np.square(window[_point_samples(self._envelope_points, len(window))])
        return power * float((weights * np.square(frame[self._bins :])).sum() / weights.sum())

    def grains(self, frames: Array, cuts: Sequence[Cut], places: Sequence[Sequence[float]]) -> list[Array]:
        """See `GrainSource.grains`; grains whose transforms are equally long are made in one."""
        lengths = [_fast_length(cut.length) for cut in cuts]
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
def _fast_length(length: int) -> int:
    """Return the least even length from ``length`` on that has no prime factor beyond `PRIMES`."""
    candidate = length + length % 2
    while _without_primes(candidate) > 1:
        candidate += 2
    return candidate


def _without_primes(number: int) -> int:
    for prime in PRIMES:
        while number % prime == 0:
            number //= prime
    return number


@functools.lru_cache(maxsize=256)
def _lengths(length: int, ratio: float) -> tuple[int, int]:
    """Return the padded lengths of a frame before and after resampling, whose quotient is nearest to the ratio."""
    if ratio == 1.0:
        return length, length
    padded = np.arange(length, length + TRIED)
    moved = np.maximum(np.round(padded / ratio), 2)
    best = int(np.argmin(np.abs(moved * ratio / padded - 1.0)))
    return int(padded[best]), int(moved[best])


@functools.lru_cache(maxsize=64)
def _resampling(length: int, moved: int, lowpass: float) -> Array:
    """Return the gain of each bin that the transforms before and after resampling both have."""
    shorter = min(length, moved)
    gains = np.full(shorter // 2 + 1, moved / length)
    if shorter % 2 == 0 and moved != length:  # its last bin stands for two, or for the half of one
        gains[-1] *= 2.0 if moved < length else 0.5
    return (gains * _butterworth(np.arange(len(gains)) / moved, lowpass)).astype(np.float32)


def _interpolated(values: Array, below: Indices, at: Array, above: Array) -> Array:
    """Return interpolated values: those ``below`` weighted by ``at``, and those after them by ``above``."""
    result: Array = values.take(below)
    result *= at
    upper = values[1:].take(below)
    upper *= above
    result += upper
    return result


@functools.lru_cache(maxsize=64)
def _filtering(frame: int, length: int, ratio: float, lowpass: float) -> tuple[Indices, Array, Array]:
    """Return what `_interpolated` needs for the magnitudes of a frame at the bins of a transform of noise."""
    cycles = np.arange(length // 2 + 1) / length
    places = cycles * frame / ratio
    below = np.minimum(places.astype(np.intp), frame // 2 - 1)
    part = places - below
    gain = math.sqrt(length / frame) * _butterworth(cycles, lowpass) * (places <= frame / 2)
    gain[[0, -1]] *= math.sqrt(2.0)  # the transform takes the real part there, half the power
    return below, (gain * (1.0 - part)).astype(np.float32), (gain * part).astype(np.float32)


@functools.lru_cache(maxsize=16)
def _stretching(points: int, length: int) -> tuple[Indices, Array, Array]:
    """Return what `_interpolated` needs for the points of an envelope at the samples of a grain."""
    places = np.linspace(0.0, points - 1.0, length)
    below = np.minimum(places.astype(np.intp), points - 2)
    part = (places - below).astype(np.float32)
    return below, 1 - part, part


@functools.lru_cache(maxsize=256)
def _point_samples(points: int, length: int) -> Indices:
    """Return the samples of a grain at which an envelope has its points."""
    return np.linspace(0, length - 1, points).round().astype(np.intp)


def _butterworth(cycles: npt.NDArray[np.float64], lowpass: float) -> npt.NDArray[np.float64] | float:
    return 1.0 if lowpass >= OPEN else 1.0 / np.sqrt(1.0 + (cycles / lowpass) ** STEEP)
