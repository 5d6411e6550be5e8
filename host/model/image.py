"""Stereo images: level differences and correlations of the sides, by bands, and the curves that a voice plays."""

import math

import numpy as np

from ..arrays import Array, Doubles
from ..kinds.card_fields import IMAGE_BANDS
from ..signal import window
from ..spectra import centred_frames, mel_edges_hz, mel_triangles

IMAGE_FRAME, IMAGE_HOP = 4096, 1024  # samples
LEAST_POWER = 1e-15  # equal in both sides: a silent band is in the middle
MOST_LEVEL_DB = 60.0
TOGETHER = 1024  # frames, to bound memory

LEFT, RIGHT, COSINE, SINE, OWN, OTHER, RATIO, ANGLE = range(8)  # rows of curves
MOVED_ROWS = 6  # the first ones, which follow the amount
FARTHEST = 0.25  # cycles of a side's angle: 90 degrees


def image_curves(image: Doubles, amount: float, alike: float, sample_rate: int, bins: int) -> Array:
    """Return an image's curves over the bins of a voice's frames, [8, bins].

    ``LEFT``, ``RIGHT``: gains of the sides; the mean of their squares is 1. ``COSINE``, ``SINE``: cosine and sine of
    half the phase difference between the sides of a partial; that half is at most 90 degrees. ``OWN``, ``OTHER``:
    factors of two independent noises: their sum is the left noise, their difference the right one. For `moved_curves`,
    as recorded, ``RATIO``: octaves of the left power over the right one, and ``ANGLE``: cycles of half the phase
    difference.

    Args:
        image: by mel band, [32, 2]: level of the left side over the right one in dB, and correlation of both sides.
        amount: factor of levels and angles, 0 to 2: 0 is mono, 1 as recorded.
        alike: correlation of both sides' noise by the preset's width, without an image.
        sample_rate: the model's, in Hz; the last band ends at its half.
    """
    middles_hz, bins_hz = mel_edges_hz(sample_rate, IMAGE_BANDS)[1:-1], np.linspace(0, sample_rate / 2, bins)
    levels_db = np.interp(bins_hz, middles_hz, image[:, 0])
    ratios = 10 ** (amount * levels_db / 10)  # of powers
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
            levels_db * (math.log2(10) / 10),
            angles / (4 * np.pi),
        ]
    ).astype(np.float32)


def moved_curves(curves: Array, amounts: Doubles, alike: float) -> Array:
    """Return the first `MOVED_ROWS` of curves, [rows, 8, bins], at other amounts, [rows]; ``alike``: as there."""
    of_rows, curves_as_doubles = amounts[:, np.newaxis], curves.astype(np.float64)
    ratios = np.exp2(of_rows * curves_as_doubles[:, RATIO])
    halves = np.minimum(of_rows * curves_as_doubles[:, ANGLE], FARTHEST)
    noise_halves = np.minimum(halves + noise_angle(alike), FARTHEST)
    gains = [np.sqrt(2 * ratios / (1 + ratios)), np.sqrt(2 / (1 + ratios))]
    turns = [part(2 * np.pi * each) for each in (halves, noise_halves) for part in (np.cos, np.sin)]
    return np.stack([*gains, *turns], axis=1).astype(np.float32)


def noise_angle(alike: float) -> float:
    """Return cycles of half the phase difference between noises of this correlation."""
    return math.acos(alike) / (4 * math.pi)


def measured_image(sides: Array, rate: int) -> Doubles:
    """Return the image of a note, as in `image_curves`, [32, 2], of its sides, [2, samples]."""
    return image_of_products(side_products_of(sides), rate)


def image_of_products(side_products: Doubles, rate: int) -> Doubles:
    """Return the image, [32, 2], of `side_products_of` sides."""
    triangles = mel_triangles(rate, IMAGE_FRAME, IMAGE_BANDS).T
    left_power, right_power, cross_power = side_products @ triangles + LEAST_POWER
    levels = 10 * np.log10(left_power / right_power)
    correlations = cross_power / np.sqrt(left_power * right_power)
    return np.stack([np.clip(levels, -MOST_LEVEL_DB, MOST_LEVEL_DB), np.clip(correlations, -1, 1)], axis=1)


def side_products_of(sides: Array) -> Doubles:
    """Return power of the left and of the right side, and their product, [3, bins], summed over frames."""
    side_products = np.zeros((3, IMAGE_FRAME // 2 + 1))
    frames = centred_frames(sides, IMAGE_FRAME, IMAGE_HOP)
    for first in range(0, frames.shape[1], TOGETHER):
        left, right = np.fft.rfft(frames[:, first : first + TOGETHER] * window("hann", IMAGE_FRAME))
        products = (left * left.conj(), right * right.conj(), left * right.conj())
        side_products += [product.real.sum(0, dtype=np.float64) for product in products]
    return side_products


def rounded_bands(image: Doubles) -> list[tuple[float, float]]:
    """An image as cards and presets have it."""
    return [(float(level), float(correlation)) for level, correlation in np.round(image, 2)]
