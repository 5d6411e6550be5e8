"""Reconstruction error: spectrogram MSE, SSIM and log-mel distance."""

from typing import NamedTuple

import numpy as np

from ..arrays import Array, Doubles
from ..stft import window
from .log_mel import distance_db, log_mel

WINDOW_SECONDS, OVERLAP = 0.032, 4  # of spectrograms: 512 samples every 128 at 16 kHz, 1024 every 256 at 44.1 kHz
SIDE = 7  # cells, width of the SSIM window: scikit-image's default
K1, K2 = 0.01, 0.03  # constants of the structural similarity (Wang et al. 2004, section III-C)
LEAST = 1e-12  # keeps divisors above 0


class Measures(NamedTuple):
    spectrogram_mse: float  # at a target maximum of 1
    ssim: float  # mean, up to 1
    log_mel_db: float  # log-mel distance


def measures(asked: Array, given: Array, rate: int, *, gain_counts: bool = False) -> Measures:
    """Compare two sounds, [n] both, after the gain that fits best unless ``gain_counts``."""
    first, second = spectrogram(asked, rate), spectrogram(given, rate)
    if not gain_counts:
        second = second * float((first * second).sum() / max(float(np.square(second).sum()), LEAST))
    scale = 1 / max(float(first.max()), LEAST)
    levels = log_mel(np.stack([asked, given]), rate)
    return Measures(
        spectrogram_mse=float(np.square(scale * (first - second)).mean()),
        ssim=similarity(scale * first, scale * second),
        log_mel_db=float(distance_db(levels[:1], levels[1:])[0]),
    )


def spectrogram(sound: Array, rate: int) -> Doubles:
    """Magnitudes, [frames, bins], of a sound, [n].

    Hann windows of about 32 ms, a quarter apart, the first centred on the first sample, zero-padded.
    """
    length = 2 ** round(np.log2(rate * WINDOW_SECONDS))
    padded = np.pad(sound, length // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[:: length // OVERLAP]
    found: Doubles = np.abs(np.fft.rfft(frames * window("hann", length))).astype(np.float64)
    return found


def similarity(first: Doubles, second: Doubles) -> float:
    """Mean SSIM of two pictures, [rows, columns] both, whose values span 1.

    (Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity",
    IEEE Transactions on Image Processing 2004, equation 13.) As scikit-image: uniform 7 × 7 squares, sample variances.
    Zero-pads pictures to at least seven.
    """
    lacking = [(0, max(0, SIDE - size)) for size in first.shape]
    first, second = np.pad(first, lacking), np.pad(second, lacking)
    count = SIDE * SIDE
    means = [_local(part) for part in (first, second)]
    unbiased = count / (count - 1)
    variances = [
        unbiased * (_local(a * b) - x * y)
        for a, b, x, y in ((first, first, means[0], means[0]), (second, second, means[1], means[1]))
    ]
    covariance = unbiased * (_local(first * second) - means[0] * means[1])
    c1, c2 = K1**2, K2**2
    above = (2 * means[0] * means[1] + c1) * (2 * covariance + c2)
    below = (np.square(means[0]) + np.square(means[1]) + c1) * (variances[0] + variances[1] + c2)
    return float((above / below).mean())


def _local(picture: Doubles) -> Doubles:
    for _ in range(2):  # along rows, and turned, along columns
        summed = np.cumsum(np.pad(picture, ((1, 0), (0, 0))), axis=0)
        picture = ((summed[SIDE:] - summed[:-SIDE]) / SIDE).T
    return picture
