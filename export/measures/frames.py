"""Reconstruction error of decoded frames."""

from collections.abc import Callable

import numpy as np

from ...host.arrays import Array, Doubles, Integers

PERFECT_DB = -120.0  # of spectral convergence: float32 resolves no less
LOWEST_DB = -80.0  # floor of log spectra below the frame's maximum: inaudible below


def reconstruction(asked: Array, decoded: Array, clips: Integers, means: Array) -> dict[str, dict[str, float]]:
    """Return distances between frames, over all (``value``), and as mean and deviation over clips.

    ``mean_square`` is the publication's (Colonel & Keene 2020, section V). ``spectral_convergence_db`` is the
    difference's energy over the target's. ``log_spectral_distance_db`` is the root mean square difference over bins,
    averaged over frames. ``relative_error`` is the squared error over that of ``means``.

    Args:
        asked, decoded: magnitudes, [frames, bins]; ``asked`` has maximum 1.
        clips: clip indices, [frames].
        means: mean training spectrum of each frame's pitch class, [frames, bins].
    """
    squares = np.square(asked - decoded, dtype=np.float64).sum(1)
    energy = np.square(asked, dtype=np.float64).sum(1)
    spread = np.square(asked - means, dtype=np.float64).sum(1)
    distance = np.sqrt(np.mean(np.square(spectrum_db(asked) - spectrum_db(decoded)), axis=1, dtype=np.float64))
    count, bins = np.ones(len(asked)), asked.shape[1]
    return {
        "mean_square": pooled(squares, count * bins, clips),
        "spectral_convergence_db": pooled(squares, energy, clips, decibels),
        "log_spectral_distance_db": pooled(distance, count, clips),
        "relative_error": pooled(squares, spread, clips),
    }


def pooled(
    above: Doubles, below: Doubles, clips: Integers, unit: Callable[[Doubles], Doubles] = lambda ratio: ratio
) -> dict[str, float]:
    """Return the ratio of two sums [frames], over all (``value``), and its mean and deviation over clips."""
    _, which = np.unique(clips, return_inverse=True)
    each = unit(np.bincount(which, above) / np.maximum(np.bincount(which, below), 1e-12))
    value = unit(above.sum(keepdims=True) / max(below.sum(), 1e-12))
    return {"value": float(value[0]), "mean": float(each.mean()), "deviation": float(each.std())}


def decibels(ratio: Doubles) -> Doubles:
    """Return an energy ratio in dB, at least `PERFECT_DB`."""
    level: Doubles = 10 * np.log10(np.maximum(ratio, 10 ** (PERFECT_DB / 10)))
    return level


def mean_spectra(spectra: Array, pitch_classes: Integers) -> Array:
    """Return mean spectra, [12, bins]; of all frames for an empty class."""
    means = np.repeat(spectra.mean(0, keepdims=True), 12, axis=0)
    for pitch_class in np.unique(pitch_classes):
        means[pitch_class] = spectra[pitch_classes == pitch_class].mean(0)
    return means


def spectrum_db(magnitudes: Array) -> Array:
    return np.float32(20) * np.log10(np.maximum(magnitudes, np.float32(10 ** (LOWEST_DB / 20))))
