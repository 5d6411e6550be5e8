"""Distances between sets: Fréchet distance, inception score and mean pairwise distance."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Vectors = Array | Double

LEAST = 1e-12  # a probability: lower ones add nothing to an entropy


def frechet(first: Vectors, second: Vectors) -> float:
    """Return the squared Fréchet distance of Gaussians fitted to two sets of vectors, in dB² for levels in dB.

    (Dowson and Landau, Journal of Multivariate Analysis 1982, as used by Heusel et al., NIPS 2017.) The trace of the
    root of the product of the covariances A and B equals that of the root of A^½ B A^½, which is symmetric. Negative
    eigenvalues, from rounding, count as zero, and nothing is inverted, so there may be fewer vectors than dimensions.
    Small samples overestimate the distance: compare sets of the same size.

    Args:
        first, second: [vectors, dimensions], two or more of both.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    a, b = np.atleast_2d(np.cov(first.T)), np.atleast_2d(np.cov(second.T))
    values, axes = np.linalg.eigh(a)
    root = (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    apart = np.square(first.mean(0) - second.mean(0)).sum()
    return float(max(apart + np.trace(a) + np.trace(b) - 2 * shared, 0.0))


def inception_score(posteriors: Array, splits: int = 10) -> tuple[float, float]:
    """Return the inception score of a set, the mean over parts of it, and its deviation over them.

    (Salimans et al., "Improved Techniques for Training GANs", NIPS 2016, section 4.) It is exp of the mean divergence
    of each posterior from the marginal: 1 for equal posteriors, the number of labels for certain ones, spread evenly.
    Small parts score less: compare sets of the same size.

    Args:
        posteriors: [things, labels]; shuffled with a fixed seed, as corpora are sorted by label.
        splits: number of parts, at most one for each row.
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
    """Return the mean of a distance matrix off its diagonal; 0 for a single item."""
    count = len(distances)
    return float((distances.sum() - np.trace(distances)) / max(count * (count - 1), 1))
