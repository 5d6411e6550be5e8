"""Frames of two sides: mixes them for a model, and gives its decoded frames the image of the input.

A side of a decoded frame is the frame's spectrum, times the complex ratio of the input's side to the input's mix. The
mix has the power of both sides in each bin, so a ratio is at most the root of 2.
"""

from typing import NamedTuple

import numpy as np

from ..arrays import Array, Spectrum
from ..audio.sound_files import EQUAL
from ..engines.spectrum.phase_retrieval import find_basins
from ..kinds.card_fields import IMAGE_BANDS
from ..spectra import mel_triangles, mix_spectra

MOST_GAIN = np.float32(4)  # 12 dB, of a band of a side: a decoded frame may lie where that side has next to nothing
END_WEIGHT = np.float32(0.01)  # of a mix without window, which counts at a frame's ends, against windows of at most 1
TINY = np.float32(1e-20)  # keeps divisors above 0


def first_difference(side_frames: Array) -> int:
    """First row of frames, [rows, 2, frame_length], whose sides differ by -60 dB or more; their count if none does."""
    left, right = side_frames[:, 0], side_frames[:, 1]
    difference_power, sum_power = (np.square(signal).sum(axis=1) for signal in (left - right, left + right))
    is_different = difference_power > EQUAL * sum_power
    return int(is_different.argmax()) if is_different.any() else len(side_frames)


class MixedFrames(NamedTuple):
    frames: Array  # [rows, frame_length]: input of the encoder
    windowed: Array  # [rows, frame_length]
    spectra: Spectrum  # of the windowed frames, [rows, bins]
    sides: Spectrum  # of the windowed sides, [rows, 2, bins]


def mix_frames(side_frames: Array, window: Array) -> MixedFrames:
    """Mix frames, [rows, 2, frame_length], to mono, with the power of both sides in each bin under ``window``.

    The mixed frame is the one nearest to this spectrum, and at its ends, where the window vanishes, to that of a mix
    without window.
    """
    sides, plain_sides = (np.fft.rfft(frames).astype(np.complex64) for frames in (side_frames * window, side_frames))
    spectra, plain_spectra = (
        mix_spectra(left, right) for left, right in (sides.swapaxes(0, 1), plain_sides.swapaxes(0, 1))
    )
    windowed_frames, plain_frames = (
        np.fft.irfft(mixes, len(window)).astype(np.float32, copy=False) for mixes in (spectra, plain_spectra)
    )
    frames = (window * windowed_frames + END_WEIGHT * plain_frames) / (np.square(window) + END_WEIGHT)
    return MixedFrames(np.asarray(frames, np.float32), windowed_frames, spectra, sides)


class FrameImages:
    """Restores the image of frames of one length."""

    def __init__(self, sample_rate: int, frame_length: int, by_peaks: bool) -> None:
        """Make tables.

        Args:
            by_peaks: all bins of a peak of the mix share its ratio: for frames with phases of their own, whose peaks
                would else lose their shape, and sides their correlation.
        """
        self._length, self._by_peaks = frame_length, by_peaks
        self._bands = mel_triangles(sample_rate, frame_length, IMAGE_BANDS).T.astype(np.float32)  # [bins, bands]
        band_sums = self._bands.sum(axis=1, keepdims=True)
        self._bin_gains = (self._bands / np.maximum(band_sums, TINY)).T  # from gains of bands to those of bins
        self._beyond = (band_sums[:, 0] <= 0).astype(np.float32)  # bins outside all bands, of gain 1

    def restore(self, frames: Array, mixes: Spectrum, sides: Spectrum) -> Array:
        """Give frames the image of their input.

        In each band a side has as much of the frame's power as it has of the mix's. Ratios that vary from bin to bin,
        as those of noise, would else bring the sides' levels together.

        Args:
            frames: decoded, in mono, before windows of synthesis, [rows, frame_length].
            mixes, sides: spectra of the input, [rows, bins] and [rows, 2, bins], by `mix_frames`.

        Returns:
            [rows, 2, frame_length].
        """
        decoded: Spectrum = np.fft.rfft(frames).astype(np.complex64, copy=False)
        magnitudes = np.abs(mixes)
        divisors = np.maximum(magnitudes, TINY)
        ratios = sides / divisors[:, np.newaxis] * (np.conj(mixes) / divisors)[:, np.newaxis]
        if self._by_peaks:
            peak_by_bin, peaks = find_basins(magnitudes)
            bins = peaks[peak_by_bin].reshape(magnitudes.shape) % magnitudes.shape[1]
            ratios = np.take_along_axis(ratios, bins[:, np.newaxis], axis=2)
        made = np.asarray(decoded[:, np.newaxis] * ratios, np.complex64)
        shares, made_shares = (
            self._band_power(parts) / np.maximum(self._band_power(whole), TINY)[:, np.newaxis]
            for parts, whole in ((sides, mixes), (made, decoded))
        )
        gains = np.sqrt(shares / np.maximum(made_shares, TINY))
        made *= np.clip(gains, 1 / MOST_GAIN, MOST_GAIN) @ self._bin_gains + self._beyond
        return np.fft.irfft(made, self._length).astype(np.float32, copy=False)

    def _band_power(self, spectra: Spectrum) -> Array:
        """Power by band, [..., bands]."""
        return np.square(np.abs(spectra)) @ self._bands
