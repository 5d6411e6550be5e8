"""Transposes magnitudes peak by peak: a stretched lobe would be no longer that of a partial under the window.

Each peak of a frame moves as the lobe of a Hann window, the rest between the lobes is stretched (after Laroche and
Dolson, "New phase-vocoder techniques for pitch-shifting, harmonizing and other exotic effects", WASPAA 1999).
"""

import numpy as np

from ...arrays import Array, Doubles, Indices
from .frames import SILENT, shift_spectra
from .harmonic_shift import LOBE, lobe
from .partial_analysis import LEAST_DIVISOR

AROUND = np.arange(-LOBE, LOBE + 1)  # bins of a lobe


def shift_lobes(frames: Array, ratios: Doubles) -> tuple[Array, Array]:
    """Shift magnitude spectra of a Hann window, [rows, bins], by ``ratios``, [rows]: 2 is an octave up.

    Returns:
        Frames with the energy of `shift_spectra`'s, and bins' distance in bins to the center of their lobe or NaN,
            [rows, bins] both. Frames of ratio 1 are as given.
    """
    result, places = frames.copy(), np.empty(frames.shape, np.float32)
    for row, ratio in enumerate(ratios.tolist()):
        moved, places[row] = _shifted(frames[row].astype(np.float64), ratio)
        if ratio != 1.0:
            result[row] = moved
    return result, places


def _shifted(frame: Doubles, ratio: float) -> tuple[Array, Doubles]:
    peaks = 1 + np.flatnonzero((frame[1:-1] > frame[:-2]) & (frame[1:-1] >= frame[2:]))
    below, here, above = frame[peaks - 1], frame[peaks], frame[peaks + 1]
    share = np.maximum(below, above) / np.maximum(here, LEAST_DIVISOR)
    offset = np.clip((2 * share - 1) / (share + 1), 0.0, 0.5)  # of a Hann lobe's center
    centers = peaks.astype(np.float64) + np.where(above > below, offset, -offset)
    heights = here / lobe(offset)
    rest: Doubles = np.sqrt(np.maximum(np.square(frame) - _lobes(centers, heights, len(frame))[0], 0.0))
    moved = shift_spectra(np.stack([rest, frame]).astype(np.float32), np.array([ratio, ratio]))
    lobes, owners = _lobes(centers * ratio, heights, len(frame))
    made = np.sqrt(np.square(moved[0], dtype=np.float64) + lobes)
    energy = np.vdot(moved[1], moved[1]) / max(float(np.vdot(made, made)), SILENT)
    away: Doubles = np.append(centers * ratio, np.nan)[owners] - np.arange(len(frame))  # the last one where no lobe is
    result: Array = (made * np.sqrt(energy)).astype(np.float32)
    return result, away


def _lobes(centers: Doubles, heights: Doubles, bins: int) -> tuple[Doubles, Indices]:
    """Power of lobes, and each bin's strongest one or -1, [bins] both."""
    nearest = np.rint(centers).astype(np.intp)
    at = nearest[:, np.newaxis] + AROUND
    power = np.square(heights[:, np.newaxis] * lobe(at - centers[:, np.newaxis]))
    inside = (at >= 0) & (at < bins)
    index, weight = at[inside], power[inside]
    owners = np.full(bins, -1, np.intp)
    order = np.argsort(weight, kind="stable")
    owners[index[order]] = np.repeat(np.arange(len(centers)), len(AROUND)).reshape(at.shape)[inside][order]
    return np.bincount(index, weight, bins).astype(np.float64, copy=False), owners
