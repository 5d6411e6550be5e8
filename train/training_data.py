"""Protocol of a run's training data."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor


class Data(Protocol):
    def __len__(self) -> int: ...

    def batch(self, frames: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, ...]: ...

    def validation(self, limit: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield batches of up to ``limit`` validation frames, evenly spaced, equal at every call."""
        ...

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        """Return inputs of `Network.varies`, chosen as in `validation`."""
        ...
