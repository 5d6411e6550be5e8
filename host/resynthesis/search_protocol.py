"""Interface of code searches, which torch implements."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..contract.model import Model

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

MARGIN = 3  # frame lengths on either side of a frame: transposing two octaves down reads a window four times as long


class SearchTarget(NamedTuple):
    """A request: one code for all frames of a sound.

    ``frames``: [frames, samples] at the model's rate, each centred in its row; ``code``, [n_latents], and ``label`` are
    the encoder's, None without one.
    """

    frames: Array
    code: Doubles | None
    label: int | None


class SearchResult(NamedTuple):
    """A code with its label's number; ``settled`` says if the search converged.

    ``before`` and ``after``: share of the sound missed by the encoder's code and by this one. None without a code, or
    if the search minimises the printed distance.
    """

    code: Doubles
    label: int | None
    before: float | None
    after: float | None
    settled: bool


class Search(Protocol):
    def __call__(
        self, model: Model, sounds: Sequence[SearchTarget], progress: Callable[[float], None] | None = None
    ) -> list[SearchResult]:
        """A result for each sound; ``progress`` receives 0 to 1.

        Raises:
            UserError: the model's decoder cannot be searched.
        """
        ...
