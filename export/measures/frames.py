"""Measures how far decoded frames lie from those that were asked for, and how a network fills its latents."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PERFECT_DB = -120.0  # of spectral convergence: nearer than float32 can tell
LOWEST_DB = -80.0  # under the frame's maximum, where log spectra end: what is below cannot be heard
SPAN = (1.0, 99.0)  # percentiles: a knob's whole way sounds like the corpus, stray codes left out
DEAD = 1e-3  # standard deviation under which a latent says nothing
COLLAPSED_NATS = 0.01  # divergence under which a latent of a variational network says nothing: its noise covers it


def reconstruction(asked: Array, decoded: Array, clips: Ints, means: Array) -> dict[str, dict[str, float]]:
    """The distances between frames, each over all frames (``value``) and as mean and deviation of the clips' own.

    ``mean_square`` is the publication's measure (Colonel & Keene 2020, section V). ``spectral_convergence_db`` is the
    energy of the difference against the energy asked for; ``log_spectral_distance_db`` the root mean square over bins
    of the difference in dB, a mean over frames; ``relative_error`` the squared error against that of answering every
    frame with ``means``.

    Args:
        asked, decoded: magnitudes, asked ones of maximum 1, [frames, bins].
        clips: which clip each frame comes from, [frames].
        means: the mean training spectrum of each frame's pitch class, [frames, bins].
    """
    squares = np.square(asked - decoded, dtype=np.float64).sum(1)
    energy = np.square(asked, dtype=np.float64).sum(1)
    spread = np.square(asked - means, dtype=np.float64).sum(1)
    distance = np.sqrt(np.mean(np.square(_db(asked) - _db(decoded)), axis=1, dtype=np.float64))
    count, bins = np.ones(len(asked)), asked.shape[1]
    return {
        "mean_square": pooled(squares, count * bins, clips),
        "spectral_convergence_db": pooled(squares, energy, clips, decibels),
        "log_spectral_distance_db": pooled(distance, count, clips),
        "relative_error": pooled(squares, spread, clips),
    }


def pooled(
    above: Double, below: Double, clips: Ints, unit: Callable[[Double], Double] = lambda ratio: ratio
) -> dict[str, float]:
    """Return the ratio of two sums over frames, over all (``value``), and mean and deviation of the clips' own.

    Args:
        above, below: what is summed, [frames].
        clips: which clip each frame comes from, [frames].
        unit: what ratios are given in.
    """
    _, which = np.unique(clips, return_inverse=True)
    each = unit(np.bincount(which, above) / np.maximum(np.bincount(which, below), 1e-12))
    value = unit(above.sum(keepdims=True) / max(below.sum(), 1e-12))
    return {"value": float(value[0]), "mean": float(each.mean()), "deviation": float(each.std())}


def decibels(ratio: Double) -> Double:
    """Return a ratio of energies in dB, `PERFECT_DB` where it is next to nothing."""
    level: Double = 10 * np.log10(np.maximum(ratio, 10 ** (PERFECT_DB / 10)))
    return level


def mean_spectra(spectra: Array, pitch_classes: Ints) -> Array:
    """Return the mean spectrum of each pitch class, [12, bins]; that of all frames for a class that has none."""
    means = np.repeat(spectra.mean(0, keepdims=True), 12, axis=0)
    for pitch_class in np.unique(pitch_classes):
        means[pitch_class] = spectra[pitch_classes == pitch_class].mean(0)
    return means


def latent_figures(latents: Array, divergence: Array | None) -> dict[str, Any]:
    """Return what each latent spans over the training set, and how latents hang together.

    Args:
        latents: codes of training frames, [frames, latents].
        divergence: from the standard normal prior in nats, [latents]; None for networks that are not variational.
    """
    low, high = np.percentile(latents, SPAN, axis=0)
    deviation = latents.std(0, dtype=np.float64)
    mean = latents.mean(0, dtype=np.float64)
    correlation = correlations(latents)
    dimensions = [
        {
            "low": float(low[i]),
            "high": float(high[i]),
            "mean": float(mean[i]),
            "std": float(deviation[i]),
            "dead": bool(deviation[i] < DEAD or (divergence is not None and divergence[i] < COLLAPSED_NATS)),
            **({} if divergence is None else {"divergence": float(divergence[i])}),
        }
        for i in range(latents.shape[1])
    ]
    apart = np.abs(correlation - np.eye(len(correlation)))
    return {
        "codes": len(latents),
        "dimensions": dimensions,
        "largest_correlation": float(apart.max()),
        "correlation": correlation.tolist(),
    }


def correlations(latents: Array) -> Double:
    """Pearson's correlation of every two latents, [latents, latents]; 0 with one that is dead."""
    centred = latents - latents.mean(0, dtype=np.float64)
    deviation = centred.std(0)
    scaled = np.where(deviation < DEAD, 0.0, centred / np.maximum(deviation, DEAD))
    matrix: Double = scaled.T @ scaled / len(latents)
    np.fill_diagonal(matrix, 1.0)
    return matrix


def _db(magnitudes: Array) -> Array:
    return np.float32(20) * np.log10(np.maximum(magnitudes, np.float32(10 ** (LOWEST_DB / 20))))
