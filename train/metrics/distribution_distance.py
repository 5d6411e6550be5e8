"""Measures how like two sets of things are, judged by vectors that describe them or by what they are taken for."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Vectors = Array | Double

LEAST = 1e-12  # a probability: what is below adds nothing to an entropy


def frechet(first: Vectors, second: Vectors) -> float:
    """Return the Fréchet distance of Gaussians fitted to two sets of vectors, squared, in dB² for levels in dB.

    (Dowson and Landau, Journal of Multivariate Analysis 1982, as used by Heusel et al., NIPS 2017.) The trace of the
    root of the product of the covariances A and B is that of the root of A^½ B A^½, which is symmetric. Nothing is
    inverted and eigenvalues below zero, which only rounding gives, count as zero: so there may be fewer vectors than
    dimensions. The distance is then too large, as it is for all small samples, so compare sets of the same size.

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
    """Return the inception score of a set, a mean over parts of it, and its deviation over these.

    (Salimans et al., "Improved Techniques for Training GANs", NIPS 2016, section 4.) It is exp of the mean divergence
    of what each is taken for from what all are: 1 where a classifier tells nothing of any of them or the same of all,
    and as many as there are labels where each is clearly of one and all labels are as many. Small parts score less, as
    they happen not to have all labels alike: compare sets of the same size.

    Args:
        posteriors: probabilities of labels, [things, labels]; they are shuffled, the same way each time, as corpora lie
            in order of their labels and each part wants all of these.
        splits: parts; as many as there are things at the most.
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
    """Return the mean distance of every two of a set, 0 of one alone, given the distances of each from each."""
    count = len(distances)
    return float((distances.sum() - np.trace(distances)) / max(count * (count - 1), 1))
