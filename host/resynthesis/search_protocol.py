"""Interface of code searches, which torch implements."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ..arrays import Array, Doubles
from ..contract.model import Model

MARGIN = 3  # frame lengths on either side of a frame: transposing two octaves down reads a window four times as long


class SearchTarget(NamedTuple):
    """A request: one code for all frames of a sound."""

    frames: Array  # [frames, samples] at the model's rate, each centred in its row
    code: Doubles | None  # [n_latents], the encoder's; None without, as ``label``
    label: int | None


class SearchResult(NamedTuple):
    """``before`` and ``after`` are None without the encoder's code, or if the search minimises the printed distance."""

    code: Doubles
    label: int | None  # its number
    before: float | None  # share of the sound that the encoder's code misses
    after: float | None  # the same of this code
    settled: bool  # the search converged


class Search(Protocol):
    def __call__(
        self, model: Model, sounds: Sequence[SearchTarget], progress: Callable[[float], None] | None = None
    ) -> list[SearchResult]:
        """A result for each sound; ``progress`` receives 0 to 1.

        Raises:
            UserError: the model's decoder cannot be searched.
        """
