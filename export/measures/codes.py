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
    off_diagonal = np.abs(correlation - np.eye(len(correlation)))
    return {
        "codes": len(latents),
        "dimensions": dimensions,
        "largest_correlation": float(off_diagonal.max()),
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
        z_scores: Doubles = (codes - self.mean) / np.maximum(self.deviation, DEAD)
        return z_scores


def prior(latents: int, deviation: float) -> CodeDistribution:
    return CodeDistribution(np.zeros(latents), deviation * np.eye(latents), prior=True)


def fitted(codes: Array) -> CodeDistribution:
    values, axes = np.linalg.eigh(np.atleast_2d(np.cov(codes.T.astype(np.float64))))
    return CodeDistribution(codes.mean(0, dtype=np.float64), axes * np.sqrt(np.maximum(values, 0)), prior=False)


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
    replicates = rng.multinomial(clip_count, np.full(clip_count, 1 / clip_count), REPLICATES)
    clip_weights = np.concatenate([np.ones((1, clip_count)), replicates])  # the first row is the original
    mean, deviation, correlation = _moments(codes.astype(np.float64), clip_indices, clip_weights)
    z_scores = normal.standardised(codes)
    ks_distances = np.stack([_kolmogorov_smirnov(x, clip_indices, clip_weights) for x in z_scores.T], 1)
    normal_scores = normal.standardised(normal.sample(NORMAL_CODES, rng))
    paired = evenly_spaced(len(codes), PAIRED_CODES)
    n = codes.shape[1]
    dimensions = [
        {
            "mean": _interval(mean[:, i]),
            "std": _interval(deviation[:, i]),
            "kolmogorov_smirnov": _interval(ks_distances[:, i]),
        }
        for i in range(n)
    ]
    return {
        "codes": len(codes),
        "clips": clip_count,
        "dimensions": dimensions,
        "largest_mean": _interval(np.abs(mean).max(1)),
        "smallest_std": _interval(deviation.min(1)),
        "largest_std": _interval(deviation.max(1)),
        "largest_correlation": _interval(correlation),
        "kolmogorov_smirnov": _interval(ks_distances.max(1)),
        "energy": _interval(_energy(z_scores[paired], clip_indices[paired], clip_weights, normal_scores)),
        "by_chance": _by_chance(clip_count, n, rng),
    }


def reweighted_deviations(codes: Array, levels: Array, target_levels: Array) -> Doubles:
    """Return deviations, [latents], of codes, [windows, latents], reweighted to ``target_levels``.

    Codes of loud windows vary more, for any encoder.
    """
    edges = np.quantile(levels, np.linspace(0, 1, LEVELS + 1)[1:-1])
    group, shares = np.searchsorted(edges, levels), np.bincount(np.searchsorted(edges, target_levels), minlength=LEVELS)
    weights = (shares / np.maximum(np.bincount(group, minlength=LEVELS), 1))[group]
    mean = np.average(codes, axis=0, weights=weights)
    deviations: Doubles = np.sqrt(np.average(np.square(codes - mean), axis=0, weights=weights))
    return deviations


def _interval(values: Doubles) -> dict[str, float]:
    low, high = np.percentile(values[1:], INTERVAL)
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


def _moments(codes: Doubles, clip_indices: Integers, clip_weights: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    centre = codes.mean(0)
    member = np.eye(clip_weights.shape[1])[clip_indices]  # [codes, clips]
    total = clip_weights @ member.sum(0)
    first = clip_weights @ (member.T @ (codes - centre)) / total[:, None]
    products = np.einsum("nc,ni,nj->cij", member, codes - centre, codes - centre, optimize=True)
    second = np.einsum("rc,cij->rij", clip_weights, products) / total[:, None, None]
    covariance = second - first[:, :, None] * first[:, None]
    deviation = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0))
    alive = np.where(deviation < DEAD, np.inf, deviation)
    correlation = np.abs(covariance / (alive[:, :, None] * alive[:, None]))
    correlation[:, np.arange(codes.shape[1]), np.arange(codes.shape[1])] = 0
    return first + centre, deviation, correlation.max((1, 2))


def _kolmogorov_smirnov(values: Doubles, clip_indices: Integers, clip_weights: Doubles) -> Doubles:
    order = np.argsort(values)
    weights = clip_weights[:, clip_indices[order]]
    cumulative = np.cumsum(weights, 1)
    total = cumulative[:, -1:]
    expected = ndtr(values[order])
    # The distribution function jumps at each code: its distance counts before and after the jump.
    distance: Doubles = np.maximum(
        np.abs(cumulative / total - expected).max(1), np.abs((cumulative - weights) / total - expected).max(1)
    )
    return distance


def _energy(z_scores: Doubles, clip_indices: Integers, clip_weights: Doubles, normal_scores: Doubles) -> Doubles:
    member = np.eye(clip_weights.shape[1])[clip_indices]
    total = clip_weights @ member.sum(0)
    cross_distance = clip_weights @ (member.T @ cdist(z_scores, normal_scores).mean(1)) / total
    code_distance = np.einsum(
        "rc,cd,rd->r", clip_weights, member.T @ cdist(z_scores, z_scores) @ member, clip_weights
    ) / np.square(total)
    normal_distance = cdist(normal_scores, normal_scores).sum() / (len(normal_scores) * (len(normal_scores) - 1))
    coefficient: Doubles = np.maximum(2 * cross_distance - code_distance - normal_distance, 0) / (2 * cross_distance)
    return coefficient


def _by_chance(count: int, latents: int, rng: np.random.Generator) -> dict[str, float]:
    clip_indices, clip_weights = np.arange(count), np.ones((1, count))
    normal_scores = rng.standard_normal((NORMAL_CODES, latents))
    ks_distances, energies = [], []
    for _ in range(TRIALS):
        codes = rng.standard_normal((count, latents))
        ks_distances.append(max(float(_kolmogorov_smirnov(x, clip_indices, clip_weights)[0]) for x in codes.T))
        energies.append(float(_energy(codes, clip_indices, clip_weights, normal_scores)[0]))
    return {"kolmogorov_smirnov": math.fsum(ks_distances) / TRIALS, "energy": math.fsum(energies) / TRIALS}
