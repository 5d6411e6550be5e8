"""Log-mel distance between clips, and reconstruction error: spectrogram MSE and SSIM."""

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles
from ..signal import window

BANDS = 64
FRAME, HOP = 1024, 256  # samples, at the clip's own rate
KNEE_HZ, MEL_HZ, MEL_STEP = 1000.0, 200 / 3, np.log(6.4) / 27  # Slaney's scale: Hz per mel, then log step
LOWEST_DB = -90.0  # below a clip's loudest cell, the floor of levels: lower ones are inaudible
RANGE_DB = 40.0  # below it, the cells that are compared: softer ones are masked
SILENT = 1e-10  # power of the loudest cell, -100 dB: quieter clips count as silent
TOGETHER = 16  # clips whose spectra are in memory at once: 140 MB for four seconds at 44.1 kHz


@functools.cache
def mel(rate: int) -> Array:
    """Mel filters, [bins, bands]: triangles of area 1 on Slaney's scale, as librosa's.

    (Slaney, "Auditory Toolbox", 1998: linear up to 1 kHz, logarithmic above.)
    """
    edges = _hertz(np.linspace(0.0, float(_mels(np.array([rate / 2]))[0]), BANDS + 2))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    hertz = np.arange(FRAME // 2 + 1)[:, np.newaxis] * rate / FRAME
    triangles = np.minimum((hertz - low) / (middle - low), (high - hertz) / (high - middle))
    weights: Array = (np.maximum(triangles, 0) * 2 / (high - low)).astype(np.float32)
    weights.setflags(write=False)
    return weights


def _mels(hertz: Doubles) -> Doubles:
    high_hz = np.maximum(hertz, KNEE_HZ)
    mels: Doubles = np.minimum(hertz, KNEE_HZ) / MEL_HZ + np.log(high_hz / KNEE_HZ) / MEL_STEP
    return mels


def _hertz(mels: Doubles) -> Doubles:
    knee = KNEE_HZ / MEL_HZ
    hertz: Doubles = np.minimum(mels, knee) * MEL_HZ * np.exp(MEL_STEP * np.maximum(mels - knee, 0))
    return hertz


def log_mel(clips: Array, rate: int) -> Array:
    """Levels of [clips, samples], in dB from each clip's loudest cell, 0 to -90: [clips, frames, bands].

    Power of periodic Hann windows of 1024 samples, centred every 256 from the first sample on, zero-padded: ``1 +
    samples // 256`` frames. Silent clips are -90 dB. Above a ``rate`` of 60 kHz the lowest bands contain no bin, and
    stay at -90 dB.
    """
    parts = [_levels(clips[first : first + TOGETHER], rate) for first in range(0, len(clips), TOGETHER)]
    return np.concatenate(parts) if parts else np.zeros((0, 1 + clips.shape[1] // HOP, BANDS), np.float32)


def _levels(clips: Array, rate: int) -> Array:
    padded = np.pad(clips.astype(np.float32, copy=False), ((0, 0), (FRAME // 2, FRAME // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME, axis=1)[:, ::HOP]
    spectra = np.fft.rfft(frames * window("hann", FRAME))
    power = (np.square(spectra.real) + np.square(spectra.imag)).astype(np.float32) @ mel(rate)
    loudest = power.max((1, 2), keepdims=True)
    shares = np.where(loudest < SILENT, 0, power / np.maximum(loudest, SILENT))
    levels: Array = 10 * np.log10(np.maximum(shares, 10 ** (LOWEST_DB / 10))).astype(np.float32)
    return np.maximum(levels, np.float32(LOWEST_DB))


def sounding(levels: Array) -> npt.NDArray[np.bool_]:
    """Mask of cells within 40 dB of their clip's loudest, none of a silent clip."""
    return levels > -RANGE_DB


def distance_db(target_levels: Array, levels: Array) -> Array:
    """Log-mel distances of clips from targets, in dB: [clips], from levels, [clips, frames, bands].

    RMS level difference over the target's `sounding` cells: ignores gain, trailing silence, and sound added where the
    target is silent. It is below 90 dB, and 0 from a silent target.
    """
    cells = sounding(target_levels)
    squares = np.square(target_levels - levels, dtype=np.float64, where=cells, out=np.zeros(target_levels.shape))
    distances: Array = np.sqrt(squares.sum((1, 2)) / np.maximum(cells.sum((1, 2)), 1)).astype(np.float32)
    return distances


def distances_db(target_levels: Array, levels: Array) -> Array:
    """`distance_db` of all pairs, [asked clips, given clips], of equal length.

    Expanding the squares is a hundred times faster, but distances below .05 dB are inexact.
    """
    middle = np.float32(LOWEST_DB / 2)  # centres levels at 0, which makes their squares more exact
    cells = sounding(target_levels).reshape(len(target_levels), -1).astype(np.float32)
    a = (target_levels.reshape(len(target_levels), -1) - middle) * cells
    b = levels.reshape(len(levels), -1) - middle
    squares = np.square(a).sum(1)[:, None] - 2 * (a @ b.T) + cells @ np.square(b).T
    distances: Array = np.sqrt(np.maximum(squares, 0) / np.maximum(cells.sum(1), 1)[:, None])
    return distances


def sounding_frames(levels: Array) -> Doubles:
    """Frames with a sounding band, clamped to -40 dB: [frames, bands]."""
    frames = levels.reshape(-1, levels.shape[-1])
    clamped: Doubles = np.maximum(frames[frames.max(1) > -RANGE_DB], -RANGE_DB).astype(np.float64)
    return clamped


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
    scale = 1 / max(float(target_magnitudes.max()), TINY)
    levels = log_mel(np.stack([target, sound]), rate)
    return Measures(
        spectrogram_mse=float(np.square(scale * (target_magnitudes - magnitudes)).mean()),
        ssim=similarity(scale * target_magnitudes, scale * magnitudes),
        log_mel_db=float(distance_db(levels[:1], levels[1:])[0]),
    )


def spectrogram(sound: Array, rate: int) -> Doubles:
    """Magnitudes, [frames, bins], of a sound, [n].

    Hann windows of about 32 ms, a quarter apart, the first centred on the first sample, zero-padded.
    """
    length = 2 ** round(np.log2(rate * WINDOW_SECONDS))
    padded = np.pad(sound, length // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[:: length // OVERLAP]
    magnitudes: Doubles = np.abs(np.fft.rfft(frames * window("hann", length))).astype(np.float64)
    return magnitudes


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
    numerator = (2 * means[0] * means[1] + c1) * (2 * covariance + c2)
    denominator = (np.square(means[0]) + np.square(means[1]) + c1) * (variances[0] + variances[1] + c2)
    return float((numerator / denominator).mean())


def _local(picture: Doubles) -> Doubles:
    for _ in range(2):  # along rows, and turned, along columns
        summed = np.cumsum(np.pad(picture, ((1, 0), (0, 0))), axis=0)
        picture = ((summed[SIDE:] - summed[:-SIDE]) / SIDE).T
    return picture
