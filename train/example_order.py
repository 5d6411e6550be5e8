"""Random orders of any number of examples, in little memory."""

import numpy as np
import numpy.typing as npt

from ..host.arrays import Integers

LISTED = 1 << 20  # examples; an order of more is calculated
ROUNDS = 6  # of the Feistel network
_MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


class ExampleOrder:
    """A random order of the numbers from 0 to ``count`` - 1.

    Up to `LISTED` numbers are permuted. Above, a cycle-walking Feistel network over an even number of bits computes
    each place (Black and Rogaway, CT-RSA 2002).
    """

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self._count = count
        self._listed = rng.permutation(count) if count <= LISTED else None
        self._half = np.uint64(max(1, -(-(count - 1).bit_length() // 2)))
        self._keys = rng.integers(1 << 63, size=ROUNDS, dtype=np.uint64) if self._listed is None else None

    def __getitem__(self, places: slice) -> Integers:
        if self._listed is not None:
            return self._listed[places]
        found = np.arange(*places.indices(self._count), dtype=np.uint64)
        walking = np.ones(len(found), bool)
        while walking.any():
            found[walking] = self._moved(found[walking])
            walking = found >= self._count
        return found.astype(np.int64)

    def _moved(self, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        assert self._keys is not None
        mask = (np.uint64(1) << self._half) - np.uint64(1)
        left, right = numbers >> self._half, numbers & mask
        for key in self._keys:
            mixed = (right + key) * _MIX[0]
            mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX[1]
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        return (left << self._half) | right
