"""Chooses items: evenly spaced, or at random."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Item = TypeVar("Item")


def evenly_spaced(count: int, most: int) -> npt.NDArray[np.int64]:
    """Return at most ``most`` of ``count`` indices, evenly spaced."""
    return np.linspace(0, count - 1, min(most, count)).astype(np.int64)


def thinned(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most ``most`` items, evenly spaced."""
    return [items[index] for index in evenly_spaced(len(items), most)]


def random_indices(count: int, most: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw at most ``most`` of ``count`` indices, ascending: even spacing could repeat a moment of equal clips."""
    return np.sort(rng.permutation(count)[:most])
