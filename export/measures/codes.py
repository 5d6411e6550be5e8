"""Ranges, correlations and distribution of a network's codes."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import ndtr

from ...host.arrays import Array, Doubles, Integers
from ...train.sampling import evenly_spaced

SPAN = (1.0, 99.0)  # percentiles: a knob's range stays within the corpus, without outliers
DEAD = 1e-3  # standard deviation below which a latent carries no information
COLLAPSED_NATS = 0.01  # divergence below which a variational latent carries no information: noise masks it


def latent_figures(latents: Array, divergence: Array | None) -> dict[str, Any]:
    """Return each latent's range over training codes, [frames, latents], and correlations.

    ``divergence`` from the standard normal prior is in nats, [latents]; None unless variational.
    """
    low_ends, high_ends = np.percentile(latents, SPAN, axis=0)
    deviations = latents.std(0, dtype=np.float64)
    means = latents.mean(0, dtype=np.float64)
    correlation_matrix = correlations(latents)
    dimensions = [
        {
            "low": float(low_ends[i]),
            "high": float(high_ends[i]),
            "mean": float(means[i]),
            "std": float(deviations[i]),
            "dead": bool(deviations[i] < DEAD or (divergence is not None and divergence[i] < COLLAPSED_NATS)),
            **({} if divergence is None else {"divergence": float(divergence[i])}),
        }
        for i in range(latents.shape[1])
    ]
    return {
        "codes": len(latents),
        "dimensions": dimensions,
        "largest_correlation": largest_correlation(latents),
        "correlation": correlation_matrix.tolist(),
    }


def largest_correlation(latents: Array) -> float:
    """Return the largest absolute correlation of two latents."""
    correlation_matrix = correlations(latents)
    return float(np.abs(correlation_matrix - np.eye(len(correlation_matrix))).max())


def correlations(latents: Array) -> Doubles:
    """Return Pearson's correlations, [latents, latents]; 0 for dead latents."""
    centred_codes = latents - latents.mean(0, dtype=np.float64)
    deviations = centred_codes.std(0)
    standardised_codes = np.where(deviations < DEAD, 0.0, centred_codes / np.maximum(deviations, DEAD))
    correlation_matrix: Doubles = standardised_codes.T @ standardised_codes / len(latents)
    np.fill_diagonal(correlation_matrix, 1.0)
    return correlation_matrix


REPLICATES = 400  # of the bootstrap: ends of a 95 % interval to a tenth of its width
INTERVAL = (2.5, 97.5)  # percentiles
LEVELS = 20  # level groups of windows: within one, deviations of codes differ little
PAIRED_CODES = 2048  # for pairwise distances
NORMAL_CODES = 1024  # normal samples, to measure distances from
TRIALS = 100  # of normal samples, for the distances expected by chance


@dataclass(frozen=True)
class CodeDistribution:
    """A normal distribution of codes: ``mean`` [latents], and covariance F Fᵀ with ``factor`` F [latents, latents].

    ``prior``: imposed by training, not fitted.
    """

    mean: Doubles
    factor: Doubles
    prior: bool

    @property
    def deviation(self) -> Doubles:
        """Standard deviations, [latents]."""
        deviation: Doubles = np.sqrt(np.square(self.factor).sum(1))
        return deviation

    def sample(self, count: int, rng: np.random.Generator) -> Array:
        """Draw codes, [count, latents]."""
        return (self.mean + rng.standard_normal((count, len(self.mean))) @ self.factor.T).astype(np.float32)

    def standardised(self, codes: Array) -> Doubles:
        """Return z-scores, [codes, latents]."""
        return (codes - self.mean) / np.maximum(self.deviation, DEAD)


def prior(latents: int, deviation: float) -> CodeDistribution:
    """Return the normal distribution of mean 0 that training imposes."""
    return CodeDistribution(np.zeros(latents), deviation * np.eye(latents), prior=True)


def fitted(codes: Array) -> CodeDistribution:
    """Return the normal distribution that has the mean and covariance of codes."""
    eigenvalues, eigenvectors = np.linalg.eigh(np.atleast_2d(np.cov(codes.T.astype(np.float64))))
    return CodeDistribution(
        codes.mean(0, dtype=np.float64), eigenvectors * np.sqrt(np.maximum(eigenvalues, 0)), prior=False
    )


def distribution(codes: Array, clips: Integers, normal: CodeDistribution, rng: np.random.Generator) -> dict[str, Any]:
    """Return statistics of codes, [codes, latents], and distances to ``normal``, with 95 % intervals.

    Windows of a clip are correlated: intervals come from a bootstrap over ``clips``, indices [codes] (Davison and
    Hinkley, 1997, section 3.8), and distances replace tests. Each latent has the Kolmogorov-Smirnov distance, all
    jointly the energy coefficient (Székely and Rizzo, 2013): (2 E|X-Y| - E|X-X'| - E|Y-Y'|) / 2 E|X-Y|, X a code, Y a
    sample, in deviations of ``normal``; at most 1, and 0 only for equal distributions. ``by_chance``: mean distances
    for normal samples, one code per clip.
    """
    _, clip_indices = np.unique(clips, return_inverse=True)
    clip_count = int(clip_indices.max()) + 1
    replicate_counts = rng.multinomial(clip_count, np.full(clip_count, 1 / clip_count), REPLICATES)
    clip_weights = np.concatenate([np.ones((1, clip_count)), replicate_counts])  # the first row is the original
    replicate_means, replicate_deviations, largest_correlations = _moments(
        codes.astype(np.float64), clip_indices, clip_weights
    )
    z_scores = normal.standardised(codes)
    ks_distances = np.stack([_kolmogorov_smirnov(x, clip_indices, clip_weights) for x in z_scores.T], 1)
    normal_scores = normal.standardised(normal.sample(NORMAL_CODES, rng))
    paired_indices = evenly_spaced(len(codes), PAIRED_CODES)
    n = codes.shape[1]
    dimensions = [
        {
            "mean": _interval(replicate_means[:, i]),
            "std": _interval(replicate_deviations[:, i]),
            "kolmogorov_smirnov": _interval(ks_distances[:, i]),
        }
        for i in range(n)
    ]
    return {
        "codes": len(codes),
        "clips": clip_count,
        "dimensions": dimensions,
        "largest_mean": _interval(np.abs(replicate_means).max(1)),
        "smallest_std": _interval(replicate_deviations.min(1)),
        "largest_std": _interval(replicate_deviations.max(1)),
        "largest_correlation": _interval(largest_correlations),
        "kolmogorov_smirnov": _interval(ks_distances.max(1)),
        "energy": _interval(
            _energy(z_scores[paired_indices], clip_indices[paired_indices], clip_weights, normal_scores)
        ),
        "by_chance": _by_chance(clip_count, n, rng),
    }


def reweighted_deviations(codes: Array, levels: Array, target_levels: Array) -> Doubles:
    """Return deviations, [latents], of codes, [windows, latents], reweighted to ``target_levels``.

    Codes of loud windows vary more, for any encoder.
    """
    level_edges = np.quantile(levels, np.linspace(0, 1, LEVELS + 1)[1:-1])
    level_groups, target_counts = (
        np.searchsorted(level_edges, levels),
        np.bincount(np.searchsorted(level_edges, target_levels), minlength=LEVELS),
    )
    window_weights = (target_counts / np.maximum(np.bincount(level_groups, minlength=LEVELS), 1))[level_groups]
    weighted_mean = np.average(codes, axis=0, weights=window_weights)
    return np.sqrt(np.average(np.square(codes - weighted_mean), axis=0, weights=window_weights))


def _interval(values: Doubles) -> dict[str, float]:
    """Return the first value, and the 95 % interval of the others, which are of bootstrap replicates."""
    low, high = np.percentile(values[1:], INTERVAL)
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


def _moments(codes: Doubles, clip_indices: Integers, clip_weights: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Return means and deviations, [replicates, latents], and largest correlations, [replicates]."""
    mean_code = codes.mean(0)
    clip_membership = np.eye(clip_weights.shape[1])[clip_indices]  # [codes, clips]
    total_weights = clip_weights @ clip_membership.sum(0)
    first_moments = clip_weights @ (clip_membership.T @ (codes - mean_code)) / total_weights[:, None]
    products = np.einsum("nc,ni,nj->cij", clip_membership, codes - mean_code, codes - mean_code, optimize=True)
    second_moments = np.einsum("rc,cij->rij", clip_weights, products) / total_weights[:, None, None]
    covariances = second_moments - first_moments[:, :, None] * first_moments[:, None]
    deviations = np.sqrt(np.maximum(np.diagonal(covariances, axis1=1, axis2=2), 0))
    alive_deviations = np.where(deviations < DEAD, np.inf, deviations)
    absolute_correlations = np.abs(covariances / (alive_deviations[:, :, None] * alive_deviations[:, None]))
    absolute_correlations[:, np.arange(codes.shape[1]), np.arange(codes.shape[1])] = 0
    return first_moments + mean_code, deviations, absolute_correlations.max((1, 2))


def _kolmogorov_smirnov(values: Doubles, clip_indices: Integers, clip_weights: Doubles) -> Doubles:
    """Return the distance of one latent's z-scores to the standard normal distribution, [replicates]."""
    value_order = np.argsort(values)
    sorted_weights = clip_weights[:, clip_indices[value_order]]
    cumulative_weights = np.cumsum(sorted_weights, 1)
    total_weights = cumulative_weights[:, -1:]
    normal_probabilities = ndtr(values[value_order])
    # The distribution function jumps at each code: its distance counts before and after the jump.
    distances: Doubles = np.maximum(
        np.abs(cumulative_weights / total_weights - normal_probabilities).max(1),
        np.abs((cumulative_weights - sorted_weights) / total_weights - normal_probabilities).max(1),
    )
    return distances


def _energy(z_scores: Doubles, clip_indices: Integers, clip_weights: Doubles, normal_scores: Doubles) -> Doubles:
    """Return the energy coefficient of codes and normal samples, [replicates]."""
    clip_membership = np.eye(clip_weights.shape[1])[clip_indices]
    total_weights = clip_weights @ clip_membership.sum(0)
    cross_distances = clip_weights @ (clip_membership.T @ cdist(z_scores, normal_scores).mean(1)) / total_weights
    code_distances = np.einsum(
        "rc,cd,rd->r", clip_weights, clip_membership.T @ cdist(z_scores, z_scores) @ clip_membership, clip_weights
    ) / np.square(total_weights)
    normal_distance = cdist(normal_scores, normal_scores).sum() / (len(normal_scores) * (len(normal_scores) - 1))
    coefficients: Doubles = np.maximum(2 * cross_distances - code_distances - normal_distance, 0) / (
        2 * cross_distances
    )
    return coefficients


def _by_chance(count: int, latents: int, rng: np.random.Generator) -> dict[str, float]:
    """Return the mean distances that normal codes have by chance."""
    clip_indices, clip_weights = np.arange(count), np.ones((1, count))
    normal_scores = rng.standard_normal((NORMAL_CODES, latents))
    ks_distances, energies = [], []
    for _ in range(TRIALS):
        codes = rng.standard_normal((count, latents))
        ks_distances.append(max(float(_kolmogorov_smirnov(x, clip_indices, clip_weights)[0]) for x in codes.T))
        energies.append(float(_energy(codes, clip_indices, clip_weights, normal_scores)[0]))
    return {"kolmogorov_smirnov": math.fsum(ks_distances) / TRIALS, "energy": math.fsum(energies) / TRIALS}
