"""Protocol of the training data of a run."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor


class Data(Protocol):
    """Frames of a corpus as batches."""

    def __len__(self) -> int: ...

    def batch(self, frames: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return the inputs of the network's objectives for these training frames."""
        ...

    def validation(self, limit: int) -> list[tuple[Tensor, ...]]:
        """Return batches of at most ``limit`` validation frames, evenly spaced, the same at every call."""
        ...

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        """Return the inputs of `Network.varies`: at most ``limit`` training frames, evenly spaced, always the same."""
        ...
