"""Stereo images: level differences and correlations of the sides, by bands, and the curves that a voice plays."""

import numpy as np

from ..arrays import Array, Doubles
from ..kinds.card_fields import IMAGE_BANDS
from ..spectra import mel_edges_hz

LEFT, RIGHT, COSINE, SINE, OWN, OTHER = range(6)  # rows of curves


def image_curves(image: Doubles, amount: float, alike: float, sample_rate: int, bins: int) -> Array:
    """Return what a voice applies in each bin of its frames, [6, bins].

    ``LEFT``, ``RIGHT``: gains, whose mean power is 1. ``COSINE``, ``SINE``: of half the angle between the sides of a
    partial, at most a quarter turn. ``OWN``, ``OTHER``: shares of two noises, added on the left, subtracted on the
    right.

    Args:
        image: by mel band, [32, 2]: the left side's level over the right one's in dB, and their correlation.
        amount: 0 for none, 1 as recorded, 2 for twice the levels and angles.
        alike: correlation that a preset's width leaves to noise.
        sample_rate: the model's, in Hz, whose half is the last band's end.
    """
    middles_hz, bins_hz = mel_edges_hz(sample_rate, IMAGE_BANDS)[1:-1], np.linspace(0, sample_rate / 2, bins)
    ratios = 10 ** (amount * np.interp(bins_hz, middles_hz, image[:, 0]) / 10)  # of powers
    angles = np.arccos(np.clip(np.interp(bins_hz, middles_hz, image[:, 1]), -1, 1))
    halves = np.minimum(amount * angles / 2, np.pi / 2)
    noise_halves = np.minimum(halves + np.arccos(alike) / 2, np.pi / 2)
    return np.stack(
        [
            np.sqrt(2 * ratios / (1 + ratios)),
            np.sqrt(2 / (1 + ratios)),
            np.cos(halves),
            np.sin(halves),
            np.cos(noise_halves),
            np.sin(noise_halves),
        ]
    ).astype(np.float32)
