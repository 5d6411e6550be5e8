"""The data on which a run is trained."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor


class Data(Protocol):
    """Frames of a corpus as batches."""

    def __len__(self) -> int:
        """Training frames."""
        ...

    def batch(self, frames: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return what the network's turns want of these training frames."""
        ...

    def validation(self, limit: int) -> list[tuple[Tensor, ...]]:
        """Batches of at most ``limit`` validation frames, evenly spaced, the same at every call."""
        ...

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        """Return what `Network.varies` looks at: at most ``limit`` training frames, evenly spaced, always the same."""
        ...
