"""Transposes magnitudes peak by peak: a stretched lobe would be no longer that of a partial under the window.

Each peak of a frame moves as the lobe of a Hann window; the spectrum between the lobes is stretched (after Laroche and
Dolson, "New phase-vocoder techniques for pitch-shifting, harmonizing and other exotic effects", WASPAA 1999).
"""

from typing import NamedTuple

import numpy as np

from ...arrays import Array, Doubles
from .frames import SILENT, shift_spectra
from .harmonic_shift import LOBE, lobe
from .partial_analysis import LEAST_DIVISOR

LOBE_BINS = np.arange(-LOBE, LOBE + 1)


class Lobes(NamedTuple):
    """Hann lobes of a frame: ``centers`` in bins and ``heights``, [lobes] both."""

    centers: Doubles
    heights: Doubles


def shift_lobes(frames: Array, ratios: Doubles) -> tuple[Array, Array]:
    """Shift magnitude spectra of a Hann window, [rows, bins], by ``ratios``, [rows]: 2 is an octave up.

    Returns:
        Frames with the energy of `shift_spectra`'s, and bins' distance in bins to the center of their lobe or NaN,
            [rows, bins] both. Frames of ratio 1 are as given.
    """
    shifted_frames, distances = frames.copy(), np.empty(frames.shape, np.float32)
    for row, ratio in enumerate(ratios.tolist()):
        frame = frames[row].astype(np.float64)
        lobes = _find_lobes(frame)
        shifted_lobes = Lobes(lobes.centers * ratio, lobes.heights)
        shifted_power, distances[row] = _spread(shifted_lobes, len(frame))
        if ratio != 1.0:
            lobe_power, _ = _spread(lobes, len(frame))
            residual = np.sqrt(np.maximum(np.square(frame) - lobe_power, 0.0))
            stretched = shift_spectra(np.stack([residual, frame]).astype(np.float32), np.array([ratio, ratio]))
            residual_power, frame_power = np.square(stretched, dtype=np.float64)
            power = shifted_power + residual_power
            shifted_frames[row] = np.sqrt(power * (frame_power.sum() / max(float(power.sum()), SILENT)))
    return shifted_frames, distances


def _find_lobes(frame: Doubles) -> Lobes:
    """Return a lobe for each local maximum, from the ratio of its larger neighbour to it."""
    peaks = 1 + np.flatnonzero((frame[1:-1] > frame[:-2]) & (frame[1:-1] >= frame[2:]))
    left, peak, right = frame[peaks - 1], frame[peaks], frame[peaks + 1]
    ratio = np.maximum(left, right) / np.maximum(peak, LEAST_DIVISOR)
    offset = np.clip((2 * ratio - 1) / (ratio + 1), 0.0, 0.5)
    return Lobes(peaks.astype(np.float64) + np.where(right > left, offset, -offset), peak / lobe(offset))


def _spread(lobes: Lobes, bin_count: int) -> tuple[Doubles, Doubles]:
    """Return the power of lobes, and each bin's distance in bins to the center of its strongest one or NaN."""
    bins = np.rint(lobes.centers).astype(np.intp)[:, np.newaxis] + LOBE_BINS
    offsets = lobes.centers[:, np.newaxis] - bins
    power = np.square(lobes.heights[:, np.newaxis] * lobe(-offsets))
    is_inside = (bins >= 0) & (bins < bin_count)
    lobe_bins, lobe_power = bins[is_inside], power[is_inside]
    weakest_first = np.argsort(lobe_power, kind="stable")
    distances = np.full(bin_count, np.nan)
    distances[lobe_bins[weakest_first]] = offsets[is_inside][weakest_first]
    return np.bincount(lobe_bins, lobe_power, bin_count).astype(np.float64, copy=False), distances
