"""The tables that join a recipe's family to its network and its data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from .chroma_data import check_spectra, chroma_data
from .corpus.store import Corpus
from .grain_data import check_grains, grain_data
from .models.chroma import ChromaAutoencoder
from .models.grain import GrainAutoencoder
from .network import Network


class Data(Protocol):
    """What a run is trained on."""

    def __len__(self) -> int:
        """Training frames."""
        ...

    def batch(self, frames: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """What the network's turns want of these training frames."""
        ...

    def validation(self, limit: int) -> list[tuple[Tensor, ...]]:
        """Batches of at most ``limit`` validation frames, evenly spaced, the same at every call."""
        ...

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        """What the encoder wants of at most ``limit`` training frames, evenly spaced, the same at every call."""
        ...


# By family: its network; what raises UserError for a corpus that cannot be trained on; its data, which may keep files
# in the folder that it is given, and is told whether the corpus is tonal.
NETWORKS: dict[str, Callable[[Any], Network]] = {"chroma": ChromaAutoencoder, "grain": GrainAutoencoder}
CHECKS: dict[str, Callable[[Corpus, Any], None]] = {"chroma": check_spectra, "grain": check_grains}
DATA: dict[str, Callable[[Corpus, Any, Path, bool], Data]] = {"chroma": chroma_data, "grain": grain_data}
