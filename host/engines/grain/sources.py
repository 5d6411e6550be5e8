"""Sources of grains: resampled samples, or noise filtered by a magnitude frame; their mix into streams of sound."""

import ctypes
import functools
import math
import struct
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Indices, Spectrum, address_of
from ...kinds.card_fields import ImageBand
from ...model.card import Card
from ...model.image import COSINE, LEFT, OTHER, OWN, RIGHT, SINE, image_curves
from ...signal import fast_length, gaussian_noise, white_noise
from ...voice_library import CoreGrainCut, voice_library

OPEN = 0.5  # cycles per sample: a low-pass is open from here
STEEP = 8  # twice the order of the Butterworth low-pass
TRIED = 256  # padding lengths; the best one errs by less than 0.1 cents
PRIMES = (2, 3, 5, 7)  # prime factors of fast transforms
SIGN_HZ = 100.0  # bins this near turn the same way: the sound of a click stays within 10 ms
PLACE_OFFSET = 0.5  # of the tables, between the noise that both sides share and the one of their difference
KEPT_IMAGES = 64  # each for grains of one length and amount


class Cut(NamedTuple):
    length: int  # samples
    ratio: float  # of frequencies
    lowpass: float  # cutoff in cycles per sample


class PlacedGrain(NamedTuple):
    """A grain and the sums to which it is added, [2, length - skipped]; ``image``: as in `GrainSource.grains`."""

    cut: Cut
    image: float
    places: Sequence[float]  # two random numbers on [0, 1)
    window: Array  # [length]
    side_gains: tuple[float, float]
    sums: Array
    skipped: int  # samples before the note


class GrainSource(ABC):
    """Synthesizes grains."""

    @abstractmethod
    def longest(self, ratio: float) -> int:
        """Maximum grain length in samples."""

    @abstractmethod
    def power(self, frame: Array, ratio: float, window: Array) -> float:
        """Expected mean square of grains before the low-pass, weighted by the squared ``window``."""

    @abstractmethod
    def grains(
        self,
        frames: Array,
        cuts: Sequence[Cut],
        places: Sequence[Sequence[float]],
        images: Sequence[float] | None = None,
    ) -> list[Array]:
        """A grain per frame without its window, read-only if shared with ``frames``: [length], or sides [2, length].

        Args:
            frames: [rows, frame_width].
            places: two random numbers on [0, 1) per row.
            images: amount of the stereo image per row, 0 to 2. At 0, of a model without one, and with None, a grain is
                mono.
        """

    def add(self, frames: Array, placed_grains: Sequence[PlacedGrain], highest_power: float) -> None:
        """Add a grain per frame to its sums, at most as loud as ``highest_power``, a mean square."""
        cuts, images, places, *_ = zip(*placed_grains, strict=True)
        for frame, grain, sound in zip(frames, placed_grains, self.grains(frames, cuts, places, images), strict=True):
            window, power = grain.window, self.power(frame, grain.cut.ratio, grain.window)
            if power > highest_power:
                window = window * np.float32(math.sqrt(highest_power / power))
            windowed_sound = (sound * window)[..., grain.skipped :]
            side_sounds = np.broadcast_to(windowed_sound, grain.sums.shape)
            for side, side_sound, gain in zip(grain.sums, side_sounds, grain.side_gains, strict=True):
                side += side_sound * gain


PACKED_GRAIN = struct.Struct("@12Pd2fi0d")  # a `CoreGrain`, ten times as fast
COMPLEX_BYTES = 8
Curves = Callable[[int, float], Array]  # by bins and amount: curves of an image, [8, bins], or gains made of them


def source_of(card: Card, longest: int, image_bands: Sequence[ImageBand] | None = None) -> GrainSource:
    """Return the source of a model's grains of at most ``longest`` samples; ``image_bands`` replace its image."""
    bands = image_bands or card.image
    curves = None if bands is None else _curves_of(bands, card.sample_rate)
    return NoiseFrames(card, longest, curves) if card.domain == "magnitude" else ResampledFrames(card, longest, curves)


def _curves_of(image_bands: Sequence[ImageBand], sample_rate: int) -> Curves:
    image = np.array(image_bands)
    return lambda bins, amount: image_curves(image, amount, 1.0, sample_rate, bins)


class ResampledFrames(GrainSource):
    """Cuts the frame's middle, transposed and low-passed by band-limited resampling.

    An image gives the sides gains, and phases that differ by the angle of their correlation.
    """

    def __init__(self, card: Card, longest: int, curves: Curves | None = None) -> None:
        self._length, self._longest = card.frame_length, longest
        self._polar = card.domain == "magnitude_phase"
        self._side_gains = None if curves is None else _side_gains_of(curves, card.sample_rate)

    def longest(self, ratio: float) -> int:
        return min(max(2, math.floor(self._length / ratio)), self._longest)

    def power(self, frame: Array, ratio: float, window: Array) -> float:
        """Unweighted; resampling keeps it below half the rate."""
        if self._polar:
            magnitudes = frame[: self._length // 2 + 1]
            return float(np.square(magnitudes).sum()) * 2 / self._length**2  # Parseval
        return float(np.square(frame).mean())

    def grains(
        self,
        frames: Array,
        cuts: Sequence[Cut],
        places: Sequence[Sequence[float]],
        images: Sequence[float] | None = None,
    ) -> list[Array]:
        if self._polar:
            magnitudes, phases = np.split(frames, 2, axis=1)
            frames = np.fft.irfft(magnitudes * np.exp(1j * phases), self._length).astype(np.float32, copy=False)
        amounts = images or [0.0] * len(cuts)
        return [self._cut(frame, *cut, amount) for frame, cut, amount in zip(frames, cuts, amounts, strict=True)]

    def _cut(self, frame: Array, length: int, ratio: float, lowpass: float, image: float) -> Array:
        """Cut a grain from a frame."""
        full_length, side_gains = self._length, self._side_gains if image > 0 else None
        if ratio != 1.0 or lowpass < OPEN or side_gains is not None:
            padded_length, resampled_length = _lengths(self._length, ratio)
            bin_gains = _resampling(padded_length, resampled_length, lowpass)
            spectrum = np.fft.rfft(frame, padded_length)[: len(bin_gains)] * bin_gains
            if side_gains is not None:
                spectrum = spectrum * side_gains(resampled_length // 2 + 1, image)[:, : len(bin_gains)]
            frame = np.fft.irfft(spectrum, resampled_length).astype(np.float32, copy=False)
            full_length = round(self._length * resampled_length / padded_length)
        first_sample = max(0, (full_length - length) // 2)
        return frame[..., first_sample : first_sample + length]


def image_signs(rate: int) -> Indices:
    """Signs of the left side's angle, one for each `SIGN_HZ` up to half the rate."""
    return np.where(white_noise(math.ceil(rate / 2 / SIGN_HZ) + 1) > 0, 1, -1)


def _side_gains_of(curves: Curves, rate: int) -> Callable[[int, float], Spectrum]:
    """Complex gains of both sides, [2, bins], by bins and amount."""
    signs = image_signs(rate)

    @functools.lru_cache(maxsize=KEPT_IMAGES)
    def side_gains(bins: int, amount: float) -> Spectrum:
        image = curves(bins, amount)
        bin_signs = signs[(np.linspace(0, rate / 2, bins) / SIGN_HZ).astype(np.intp)]
        turn = image[COSINE] + 1j * image[SINE] * bin_signs
        return np.stack([image[LEFT] * turn, image[RIGHT] * turn.conj()]).astype(np.complex64)

    return side_gains


class NoiseFrames(GrainSource):
    """Gaussian noise with the frame's amplitude spectrum and envelope, new for each grain.

    Its spectrum is a random part of a Gaussian table times the phases of another. With an image, the sides have sum and
    difference of two such noises, as loud and as alike as the image says.
    """

    def __init__(self, card: Card, longest: int, curves: Curves | None = None) -> None:
        self._frame_length, self._bins, self._envelope_points = (
            card.frame_length,
            card.frame_length // 2 + 1,
            card.envelope_points,
        )
        self._longest = longest
        self._mixes = None if curves is None else _noise_mixes_of(curves)
        self._table = gaussian_noise(1 << longest.bit_length())
        self._phasors = np.asarray(self._table / np.abs(self._table), np.complex64)
        self._library = voice_library()
        self._table_addresses = address_of(self._table), address_of(self._phasors)

    def longest(self, ratio: float) -> int:
        return self._longest

    def power(self, frame: Array, ratio: float, window: Array) -> float:
        """Higher pitches widen the spectrum at equal density, up to half the rate."""
        audible_bins = frame[: min(self._bins, math.ceil(self._bins / ratio))]
        power = float(np.square(audible_bins).sum()) * 2 * ratio / self._frame_length**2
        if not self._envelope_points:
            return power
        point_weights = np.square(window[_point_samples(self._envelope_points, len(window))])
        return power * float((point_weights * np.square(frame[self._bins :])).sum() / point_weights.sum())

    def grains(
        self,
        frames: Array,
        cuts: Sequence[Cut],
        places: Sequence[Sequence[float]],
        images: Sequence[float] | None = None,
    ) -> list[Array]:
        amounts = images or [0.0] * len(cuts)
        sizes = [(_even_length(cut.length), self._sides(amount)) for cut, amount in zip(cuts, amounts, strict=True)]
        grains: list[Array] = [frames[0]] * len(cuts)
        for transform_length, sides in dict.fromkeys(sizes):
            row_indices = [row_index for row_index, size in enumerate(sizes) if size == (transform_length, sides)]
            bin_count = transform_length // 2 + 1
            spectra = np.empty((len(row_indices), sides, bin_count), np.complex64)
            for spectrum, row_index in zip(spectra, row_indices, strict=True):
                _, ratio, lowpass = cuts[row_index]
                magnitudes = _interpolated(
                    frames[row_index], *_filtering(self._frame_length, transform_length, ratio, lowpass)
                )
                noise = self._noise(places[row_index], bin_count)
                noise *= magnitudes
                if self._mixes is None or sides == 1:
                    spectrum[0] = noise
                    continue
                other_noise = self._noise(_independent_places(places[row_index]), bin_count)
                other_noise *= magnitudes
                mixes = self._mixes(bin_count, amounts[row_index])
                for side, (own_gain, other_gain) in zip(spectrum, mixes, strict=True):
                    side[:] = own_gain * noise + other_gain * other_noise
            sounds = np.fft.irfft(spectra if sides == 2 else spectra[:, 0], transform_length)
            for sound, row_index in zip(sounds, row_indices, strict=True):
                grains[row_index] = self._shaped(sound[..., : cuts[row_index].length], frames[row_index])
        return grains

    def add(self, frames: Array, placed_grains: Sequence[PlacedGrain], highest_power: float) -> None:
        library = self._library
        if library is None:
            super().add(frames, placed_grains, highest_power)
            return
        frames = np.ascontiguousarray(frames, np.float32)
        cuts = [_core_cut(self._frame_length, self._envelope_points, grain.cut) for grain in placed_grains]
        sizes = [(cut.length, self._sides(grain.image)) for cut, grain in zip(cuts, placed_grains, strict=True)]
        transforms = {size: _Transforms(*size, count) for size, count in Counter(sizes).items()}
        addresses = {size: transform.addresses() for size, transform in transforms.items()}
        imaged = {(cut.bins, grain.image) for cut, grain in zip(cuts, placed_grains, strict=True) if grain.image > 0}
        mixes = {key: self._mixes(*key) for key in imaged} if self._mixes is not None else {}
        mix_addresses = {key: address_of(mix) for key, mix in mixes.items()}
        core_grains = b"".join(
            [
                self._packed(
                    cut,
                    grain,
                    frame,
                    mix_addresses.get((cut.bins, grain.image), 0),
                    *next(addresses[size]),
                    highest_power,
                )
                for cut, grain, frame, size in zip(cuts, placed_grains, _row_addresses(frames), sizes, strict=True)
            ]
        )
        library.core_grain_spectra(core_grains, len(placed_grains))
        for transform in transforms.values():
            transform.sounds[:] = np.fft.irfft(transform.spectra, transform.length)
        library.core_add_grains(core_grains, len(placed_grains))

    def _packed(
        self,
        cut: "_CoreCut",
        grain: PlacedGrain,
        frame: int,
        mixes: int,
        spectrum: int,
        sound: int,
        highest_power: float,
    ) -> bytes:
        """A `CoreGrain`; its frame, mixes, spectrum and sound are addresses, mixes 0 for a mono one."""
        sums = address_of(grain.sums)
        other_noise = self._addresses(_independent_places(grain.places), cut.bins) if mixes else (0, 0)
        return PACKED_GRAIN.pack(
            *(cut.address, frame, *self._addresses(grain.places, cut.bins), *other_noise, mixes, spectrum, sound),
            *(address_of(grain.window), sums, sums + grain.sums.strides[0], highest_power),
            *(*grain.side_gains, grain.skipped),
        )

    def _sides(self, image: float) -> int:
        return 2 if self._mixes is not None and image > 0 else 1

    def _noise(self, places: Sequence[float], bin_count: int) -> Spectrum:
        """A white spectrum from two places of the tables, [bins]."""
        noise_first, phasor_first = self._first_bins(places, bin_count)
        noise = self._table[noise_first : noise_first + bin_count]
        return noise * self._phasors[phasor_first : phasor_first + bin_count]

    def _addresses(self, places: Sequence[float], bin_count: int) -> tuple[int, int]:
        """Addresses of the factors of a `_noise`."""
        noise_first, phasor_first = self._first_bins(places, bin_count)
        noise_address, phasor_address = self._table_addresses
        return noise_address + noise_first * COMPLEX_BYTES, phasor_address + phasor_first * COMPLEX_BYTES

    def _first_bins(self, places: Sequence[float], bin_count: int) -> tuple[int, int]:
        last_start = len(self._table) - bin_count
        noise_place, phasor_place = places
        return int(noise_place * last_start), int(phasor_place * last_start)

    def _shaped(self, sound: Array, frame: Array) -> Array:
        """Apply a frame's envelope to a sound, [..., length]."""
        if not self._envelope_points:
            return sound
        envelope = _interpolated(frame[self._bins :], *_stretching(self._envelope_points, sound.shape[-1]))
        return sound * envelope


def _independent_places(places: Sequence[float]) -> tuple[float, float]:
    """Places of a noise that is independent of that of ``places``."""
    noise_place, phasor_place = places
    return (noise_place + PLACE_OFFSET) % 1.0, (phasor_place + PLACE_OFFSET) % 1.0


def _noise_mixes_of(curves: Curves) -> Curves:
    """Gains of two noises on the left, then on the right, [2, 2, bins], by bins and amount."""

    @functools.lru_cache(maxsize=KEPT_IMAGES)
    def mixes(bins: int, amount: float) -> Array:
        image = curves(bins, amount)
        sum_gains, difference_gains = image[OWN], image[OTHER]
        left_gains = image[LEFT] * np.stack([sum_gains, difference_gains])
        return np.stack([left_gains, image[RIGHT] * np.stack([sum_gains, -difference_gains])])

    return mixes


@functools.cache
def _even_length(length: int) -> int:
    """Even length of a fast transform."""
    return fast_length(length, PRIMES, step=2)


@functools.lru_cache(maxsize=256)
def _lengths(length: int, ratio: float) -> tuple[int, int]:
    """Padded length and length after resampling, whose ratio is nearest to ``ratio``."""
    if ratio == 1.0:
        return length, length
    padded_lengths = np.arange(length, length + TRIED)
    resampled_lengths = np.maximum(np.round(padded_lengths / ratio), 2)
    best_index = int(np.argmin(np.abs(resampled_lengths * ratio / padded_lengths - 1.0)))
    return int(padded_lengths[best_index]), int(resampled_lengths[best_index])


@functools.lru_cache(maxsize=64)
def _resampling(length: int, resampled_length: int, lowpass: float) -> Array:
    """Gains of the bins that resampling keeps."""
    shorter_length = min(length, resampled_length)
    bin_gains = np.full(shorter_length // 2 + 1, resampled_length / length)
    if shorter_length % 2 == 0 and resampled_length != length:  # its last bin counts twice, or half
        bin_gains[-1] *= 2.0 if resampled_length < length else 0.5
    return (bin_gains * _butterworth(np.arange(len(bin_gains)) / resampled_length, lowpass)).astype(np.float32)


def _interpolated(values: Array, lower_bins: Indices, lower_weights: Array, upper_weights: Array) -> Array:
    """Interpolate between neighbouring values."""
    interpolated: Array = values.take(lower_bins)
    interpolated *= lower_weights
    upper_values = values[1:].take(lower_bins)
    upper_values *= upper_weights
    interpolated += upper_values
    return interpolated


@functools.lru_cache(maxsize=64)
def _filtering(frame_length: int, length: int, ratio: float, lowpass: float) -> tuple[Indices, Array, Array]:
    """Return a grain's bins between a frame's: lower bins, and gains of these and of the next ones."""
    cycles = np.arange(length // 2 + 1) / length
    bin_positions = cycles * frame_length / ratio
    lower_bins = np.minimum(bin_positions.astype(np.int64), frame_length // 2 - 1)
    upper_shares = bin_positions - lower_bins
    bin_gains = math.sqrt(length / frame_length) * _butterworth(cycles, lowpass) * (bin_positions <= frame_length / 2)
    bin_gains[[0, -1]] *= math.sqrt(2.0)  # only the real part counts there, half the power
    return (
        lower_bins,
        (bin_gains * (1.0 - upper_shares)).astype(np.float32),
        (bin_gains * upper_shares).astype(np.float32),
    )


class _CoreCut(NamedTuple):
    """A `CoreGrainCut` in memory, of a transform's length; ``tables`` are the arrays to which it points."""

    address: int
    length: int
    bins: int
    core: CoreGrainCut
    tables: Sequence[npt.NDArray[Any]]


@functools.lru_cache(maxsize=64)
def _core_cut(frame_length: int, points: int, cut: Cut) -> _CoreCut:
    length, magnitudes = _even_length(cut.length), frame_length // 2 + 1
    envelope = (*_stretching(points, cut.length), _point_samples(points, cut.length)) if points else ()
    tables: tuple[npt.NDArray[Any], ...] = (*_filtering(frame_length, length, cut.ratio, cut.lowpass), *envelope)
    core = CoreGrainCut(*(address_of(table) for table in tables))
    core.power_unit, core.bins, core.length = 2 * cut.ratio / frame_length**2, length // 2 + 1, cut.length
    core.magnitudes, core.audible, core.points = magnitudes, min(magnitudes, math.ceil(magnitudes / cut.ratio)), points
    return _CoreCut(ctypes.addressof(core), length, core.bins, core, tables)


class _Transforms:
    """Spectra, [count, sides, length // 2 + 1], and their transforms, [count, sides, length]."""

    def __init__(self, length: int, sides: int, count: int) -> None:
        self.length = length
        self.spectra = np.empty((count, sides, length // 2 + 1), np.complex64)
        self.sounds = np.empty((count, sides, length), np.float32)

    def addresses(self) -> Iterator[tuple[int, int]]:
        """Addresses of each spectrum and its transform."""
        return zip(_row_addresses(self.spectra), _row_addresses(self.sounds), strict=True)


def _row_addresses(rows: npt.NDArray[Any]) -> range:
    first = address_of(rows)
    return range(first, first + len(rows) * rows.strides[0], rows.strides[0])


@functools.lru_cache(maxsize=16)
def _stretching(point_count: int, length: int) -> tuple[Indices, Array, Array]:
    """Return samples between an envelope's points: lower points, and weights of these and of the next ones."""
    point_positions = np.linspace(0.0, point_count - 1.0, length)
    lower_points = np.minimum(point_positions.astype(np.int64), point_count - 2)
    upper_shares = (point_positions - lower_points).astype(np.float32)
    return lower_points, 1 - upper_shares, upper_shares


@functools.lru_cache(maxsize=256)
def _point_samples(point_count: int, length: int) -> Indices:
    """Samples at which an envelope's points lie."""
    return np.linspace(0, length - 1, point_count).round().astype(np.int64)


def _butterworth(cycles: npt.NDArray[np.float64], lowpass: float) -> npt.NDArray[np.float64] | float:
    """Gains of a low-pass."""
    return 1.0 if lowpass >= OPEN else 1.0 / np.sqrt(1.0 + (cycles / lowpass) ** STEEP)
