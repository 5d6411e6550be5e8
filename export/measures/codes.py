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
        apart: Doubles = (codes - self.mean) / np.maximum(self.deviation, DEAD)
        return apart


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
    _, which = np.unique(clips, return_inverse=True)
    count = int(which.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), REPLICATES)
    times = np.concatenate([np.ones((1, count)), drawn])  # weight of each clip; the first row is the original
    mean, deviation, correlation = _moments(codes.astype(np.float64), which, times)
    apart = normal.standardised(codes)
    steps = np.stack([_kolmogorov_smirnov(x, which, times) for x in apart.T], 1)
    others = normal.standardised(normal.sample(NORMAL_CODES, rng))
    paired = evenly_spaced(len(codes), PAIRED_CODES)
    n = codes.shape[1]
    dimensions = [
        {"mean": _interval(mean[:, i]), "std": _interval(deviation[:, i]), "kolmogorov_smirnov": _interval(steps[:, i])}
        for i in range(n)
    ]
    return {
        "codes": len(codes),
        "clips": count,
        "dimensions": dimensions,
        "largest_mean": _interval(np.abs(mean).max(1)),
        "smallest_std": _interval(deviation.min(1)),
        "largest_std": _interval(deviation.max(1)),
        "largest_correlation": _interval(correlation),
        "kolmogorov_smirnov": _interval(steps.max(1)),
        "energy": _interval(_energy(apart[paired], which[paired], times, others)),
        "by_chance": _by_chance(count, n, rng),
    }


def reweighted_deviations(codes: Array, levels: Array, wanted: Array) -> Doubles:
    """Return deviations, [latents], of codes, [windows, latents], reweighted to ``wanted`` levels.

    Codes of loud windows vary more, for any encoder.
    """
    edges = np.quantile(levels, np.linspace(0, 1, LEVELS + 1)[1:-1])
    group, shares = np.searchsorted(edges, levels), np.bincount(np.searchsorted(edges, wanted), minlength=LEVELS)
    weights = (shares / np.maximum(np.bincount(group, minlength=LEVELS), 1))[group]
    mean = np.average(codes, axis=0, weights=weights)
    deviations: Doubles = np.sqrt(np.average(np.square(codes - mean), axis=0, weights=weights))
    return deviations


def _interval(values: Doubles) -> dict[str, float]:
    low, high = np.percentile(values[1:], INTERVAL)
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


def _moments(codes: Doubles, which: Integers, times: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    centre = codes.mean(0)
    member = np.eye(times.shape[1])[which]  # [codes, clips]
    total = times @ member.sum(0)
    first = times @ (member.T @ (codes - centre)) / total[:, None]
    products = np.einsum("nc,ni,nj->cij", member, codes - centre, codes - centre, optimize=True)
    second = np.einsum("rc,cij->rij", times, products) / total[:, None, None]
    covariance = second - first[:, :, None] * first[:, None]
    deviation = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0))
    alive = np.where(deviation < DEAD, np.inf, deviation)
    correlation = np.abs(covariance / (alive[:, :, None] * alive[:, None]))
    correlation[:, np.arange(codes.shape[1]), np.arange(codes.shape[1])] = 0
    return first + centre, deviation, correlation.max((1, 2))


def _kolmogorov_smirnov(values: Doubles, which: Integers, times: Doubles) -> Doubles:
    order = np.argsort(values)
    weights = times[:, which[order]]
    above = np.cumsum(weights, 1)
    total = above[:, -1:]
    expected = ndtr(values[order])
    distance: Doubles = np.maximum(
        np.abs(above / total - expected).max(1), np.abs((above - weights) / total - expected).max(1)
    )
    return distance


def _energy(apart: Doubles, which: Integers, times: Doubles, others: Doubles) -> Doubles:
    member = np.eye(times.shape[1])[which]
    total = times @ member.sum(0)
    between = times @ (member.T @ cdist(apart, others).mean(1)) / total
    within = np.einsum("rc,cd,rd->r", times, member.T @ cdist(apart, apart) @ member, times) / np.square(total)
    among = cdist(others, others).sum() / (len(others) * (len(others) - 1))
    coefficient: Doubles = np.maximum(2 * between - within - among, 0) / (2 * between)
    return coefficient


def _by_chance(count: int, latents: int, rng: np.random.Generator) -> dict[str, float]:
    each, once = np.arange(count), np.ones((1, count))
    others = rng.standard_normal((NORMAL_CODES, latents))
    steps, energies = [], []
    for _ in range(TRIALS):
        codes = rng.standard_normal((count, latents))
        steps.append(max(float(_kolmogorov_smirnov(x, each, once)[0]) for x in codes.T))
        energies.append(float(_energy(codes, each, once, others)[0]))
    return {"kolmogorov_smirnov": math.fsum(steps) / TRIALS, "energy": math.fsum(energies) / TRIALS}
