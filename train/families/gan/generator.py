"""Networks that make whole clips of codes: what previews, measures of health and export ask of each."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ...network import Network


class ClipMaker(Network, ABC):
    """A network that makes clips [batch, frame_length] of codes [batch, latents], in a contest with a judge of clips.

    ``words`` is how many labels there are, 0 where it is told none. ``sides`` has the terms of each side's loss by what
    the side is called, the judge first.
    """

    sides: ClassVar[Mapping[str, tuple[str, ...]]]
    latents: int
    words: int = 0

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return codes of the prior, evenly distributed in ±1: [count, latents]."""
        return 2 * torch.rand(count, self.latents, generator=generator) - 1

    def rows(self, labels: Tensor) -> Tensor | None:
        """Return the rows [batch, words] of labels [batch] that `decode` wants; None where there are none."""
        return F.one_hot(labels, self.words).float() if self.words else None

    @abstractmethod
    def decode(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the clips of codes; ``label`` is how much there is of each, [batch, words], rows that sum to 1."""

    @abstractmethod
    def judge(self, clips: Tensor, label: Tensor | None) -> Tensor:
        """Return how real the judge finds clips, [batch]: the more, the more real."""
