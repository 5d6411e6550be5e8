"""Log-mel distance between clips, and reconstruction error: spectrogram MSE and SSIM."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles
from ..signal import window
from ..spectra import LOWEST_DB, centred_frames, log_mel

RANGE_DB = 40.0  # below a clip's loudest cell, the cells that are compared: softer ones are masked


def sounding(levels: Array) -> npt.NDArray[np.bool_]:
    """Mask of cells within 40 dB of their clip's loudest, none of a silent clip."""
    return levels > -RANGE_DB


def distance_db(target_levels: Array, levels: Array) -> Array:
    """Log-mel distances of clips from targets, in dB: [clips], from levels, [clips, frames, bands].

    RMS level difference over the target's `sounding` cells: ignores gain, trailing silence, and sound added where the
    target is silent. It is below 90 dB, and 0 from a silent target.
    """
    sounding_cells = sounding(target_levels)
    squared_differences = np.square(
        target_levels - levels, dtype=np.float64, where=sounding_cells, out=np.zeros(target_levels.shape)
    )
    return np.sqrt(squared_differences.sum((1, 2)) / np.maximum(sounding_cells.sum((1, 2)), 1)).astype(np.float32)


def distances_db(target_levels: Array, levels: Array) -> Array:
    """`distance_db` of all pairs, [asked clips, given clips], of equal length.

    Expanding the squares is a hundred times faster, but distances below .05 dB are inexact.
    """
    middle_db = np.float32(LOWEST_DB / 2)  # centres levels at 0, which makes their squares more exact
    sounding_cells = sounding(target_levels).reshape(len(target_levels), -1).astype(np.float32)
    target_rows = (target_levels.reshape(len(target_levels), -1) - middle_db) * sounding_cells
    clip_rows = levels.reshape(len(levels), -1) - middle_db
    squared_sums = (
        np.square(target_rows).sum(1)[:, None]
        - 2 * (target_rows @ clip_rows.T)
        + sounding_cells @ np.square(clip_rows).T
    )
    return np.sqrt(np.maximum(squared_sums, 0) / np.maximum(sounding_cells.sum(1), 1)[:, None])


def sounding_frames(levels: Array) -> Doubles:
    """Frames with a sounding band, clamped to -40 dB: [frames, bands]."""
    frame_levels = levels.reshape(-1, levels.shape[-1])
    return np.maximum(frame_levels[frame_levels.max(1) > -RANGE_DB], -RANGE_DB).astype(np.float64)


WINDOW_SECONDS, OVERLAP = 0.032, 4  # of spectrograms: 512 samples every 128 at 16 kHz, 1024 every 256 at 44.1 kHz
SIDE = 7  # cells, width of the SSIM window: scikit-image's default
K1, K2 = 0.01, 0.03  # constants of the structural similarity (Wang et al. 2004, section III-C)
TINY = 1e-12  # keeps divisors above 0


class Measures(NamedTuple):
    spectrogram_mse: float  # at a target maximum of 1
    ssim: float  # mean, up to 1
    log_mel_db: float  # log-mel distance


def measures(target: Array, sound: Array, rate: int, *, gain_counts: bool = False) -> Measures:
    """Compare two sounds, [n] both, after the gain that fits best unless ``gain_counts``."""
    target_magnitudes, magnitudes = spectrogram(target, rate), spectrogram(sound, rate)
    if not gain_counts:
        magnitudes = magnitudes * float(
            (target_magnitudes * magnitudes).sum() / max(float(np.square(magnitudes).sum()), TINY)
        )
    target_scale = 1 / max(float(target_magnitudes.max()), TINY)
    both_levels = log_mel(np.stack([target, sound]), rate)
    return Measures(
        spectrogram_mse=float(np.square(target_scale * (target_magnitudes - magnitudes)).mean()),
        ssim=similarity(target_scale * target_magnitudes, target_scale * magnitudes),
        log_mel_db=float(distance_db(both_levels[:1], both_levels[1:])[0]),
    )


def spectrogram(sound: Array, rate: int) -> Doubles:
    """Magnitudes, [frames, bins], of a sound, [n].

    Hann windows of about 32 ms, a quarter apart, the first centred on the first sample, zero-padded.
    """
    window_length = 2 ** round(np.log2(rate * WINDOW_SECONDS))
    frames = centred_frames(sound, window_length, window_length // OVERLAP)
    return np.abs(np.fft.rfft(frames * window("hann", window_length))).astype(np.float64)


def similarity(first: Doubles, second: Doubles) -> float:
    """Mean SSIM of two pictures, [rows, columns] both, whose values span 1.

    (Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity",
    IEEE Transactions on Image Processing 2004, equation 13.) As scikit-image: uniform 7 × 7 squares, sample variances.
    Zero-pads pictures to at least seven.
    """
    padding_widths = [(0, max(0, SIDE - axis_length)) for axis_length in first.shape]
    first, second = np.pad(first, padding_widths), np.pad(second, padding_widths)
    window_cells = SIDE * SIDE
    local_means = [_local(picture) for picture in (first, second)]
    unbiased_factor = window_cells / (window_cells - 1)
    local_variances = [
        unbiased_factor * (_local(a * b) - x * y)
        for a, b, x, y in (
            (first, first, local_means[0], local_means[0]),
            (second, second, local_means[1], local_means[1]),
        )
    ]
    local_covariance = unbiased_factor * (_local(first * second) - local_means[0] * local_means[1])
    c1, c2 = K1**2, K2**2
    numerator = (2 * local_means[0] * local_means[1] + c1) * (2 * local_covariance + c2)
    denominator = (np.square(local_means[0]) + np.square(local_means[1]) + c1) * (
        local_variances[0] + local_variances[1] + c2
    )
    return float((numerator / denominator).mean())


def _local(picture: Doubles) -> Doubles:
    """Mean of each `SIDE` × `SIDE` square of a picture."""
    for _ in range(2):  # along rows, and turned, along columns
        cumulative_sums = np.cumsum(np.pad(picture, ((1, 0), (0, 0))), axis=0)
        picture = ((cumulative_sums[SIDE:] - cumulative_sums[:-SIDE]) / SIDE).T
    return picture
