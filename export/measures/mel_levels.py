"""Mel-band levels for the likeness of sounds."""

import functools

import librosa
import numpy as np

from ...host.arrays import Array, Doubles

MEL_BANDS = 40
QUIETEST = 1e-6  # of the maximum's power: 60 dB below is masked, and irrelevant for likeness


@functools.cache
def mel(sample_rate: int, n_fft: int) -> Doubles:
    """Return the mel filter bank, [bins, bands], each band of sum 1."""
    weights = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=MEL_BANDS, norm=None, dtype=np.float64).T
    shares: Doubles = weights / np.maximum(weights.sum(0), 1e-12)  # a band too narrow for a bin stays empty
    return shares


def mel_levels(spectra: Array, sample_rate: int) -> Doubles:
    """Return 40 mel bands of magnitudes [frames, bins], in dB below a frame's maximum, -60 or more: [frames, 40]."""
    power = np.square(spectra / np.maximum(spectra.max(1, keepdims=True), 1e-12), dtype=np.float64)
    levels: Doubles = 10 * np.log10(np.maximum(power @ mel(sample_rate, 2 * (spectra.shape[1] - 1)), QUIETEST))
    return levels
