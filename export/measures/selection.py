"""Selects indices: evenly spaced, or drawn at random."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def evenly(length: int, count: int) -> Ints:
    """Return at most ``count`` of ``length`` indices, evenly spaced from the first to the last."""
    return np.linspace(0, length - 1, min(count, length)).astype(np.int64)


def chosen(length: int, count: int, rng: np.random.Generator) -> Ints:
    """Draw at most ``count`` of ``length`` indices without replacement, ascending.

    Evenly spaced ones could hit the same moment of equally long clips.
    """
    return np.sort(rng.permutation(length)[:count])
