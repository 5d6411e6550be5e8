"""Distances of sets: Fréchet distance, inception score, pairwise distance."""

import numpy as np
import numpy.typing as npt

from ...host.arrays import Array, Doubles

Vectors = Array | Doubles

LEAST = 1e-12  # a probability: lower ones add nothing to an entropy


def frechet(first: Vectors, second: Vectors) -> float:
    """Return the squared Fréchet distance of Gaussians fitted to two sets [vectors, dimensions].

    (Dowson and Landau, Journal of Multivariate Analysis 1982; Heusel et al., NIPS 2017.) The root of the product of
    covariances A and B has the trace of the root of A^½ B A^½: nothing is inverted, and two vectors suffice. Small
    samples overestimate: compare sets of equal size.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    a, b = np.atleast_2d(np.cov(first.T)), np.atleast_2d(np.cov(second.T))
    values, axes = np.linalg.eigh(a)
    root = (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    apart = np.square(first.mean(0) - second.mean(0)).sum()
    return float(max(apart + np.trace(a) + np.trace(b) - 2 * shared, 0.0))


def inception_score(posteriors: Array, splits: int = 10) -> tuple[float, float]:
    """Return the inception score of ``posteriors`` [things, labels], the mean over parts, and its deviation.

    (Salimans et al., NIPS 2016, section 4.) Exp of the mean divergence of posteriors from the marginal is from 1 to the
    number of labels. Compare sets of equal size. Rows are shuffled, since corpora are sorted.
    """
    shuffled = np.random.default_rng(0).permutation(posteriors.astype(np.float64))
    parts = np.array_split(shuffled, max(1, min(splits, len(posteriors))))
    scores = []
    for part in parts:
        marginal = part.mean(0, keepdims=True)
        divergence = part * (np.log(np.maximum(part, LEAST)) - np.log(np.maximum(marginal, LEAST)))
        scores.append(np.exp(divergence.sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def pairwise(distances: Array) -> float:
    count = len(distances)
    return float((distances.sum() - np.trace(distances)) / max(count * (count - 1), 1))


def pairwise_within(distances: Array, labels: npt.NDArray[np.int64]) -> float | None:
    """Return the mean distance of pairs with one label, [items] each; None without such pairs."""
    alike = (labels[:, np.newaxis] == labels) & ~np.eye(len(labels), dtype=bool)
    return float(distances[alike].mean()) if alike.any() else None
