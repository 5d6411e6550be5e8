"""Ranges and correlations of a network's latents."""

from typing import Any

import numpy as np

from ...host.arrays import Array, Doubles

SPAN = (1.0, 99.0)  # percentiles: a knob's range stays within the corpus, without outliers
DEAD = 1e-3  # standard deviation below which a latent carries no information
COLLAPSED_NATS = 0.01  # divergence below which a variational latent carries no information: noise masks it


def latent_figures(latents: Array, divergence: Array | None) -> dict[str, Any]:
    """Return each latent's range over training codes, [frames, latents], and correlations.

    ``divergence`` from the standard normal prior is in nats, [latents]; None unless variational.
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


def correlations(latents: Array) -> Doubles:
    """Return Pearson's correlations, [latents, latents]; 0 for dead latents."""
    centred = latents - latents.mean(0, dtype=np.float64)
    deviation = centred.std(0)
    scaled = np.where(deviation < DEAD, 0.0, centred / np.maximum(deviation, DEAD))
    matrix: Doubles = scaled.T @ scaled / len(latents)
    np.fill_diagonal(matrix, 1.0)
    return matrix
