"""Interface of adversarial clip generators."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ...network import Network
from ...shared_random import rand_examples


class ClipGenerator(Network, ABC):
    """Generates clips [batch, frame_length] from codes [batch, latents], against a judge.

    ``words`` counts labels. ``sides`` maps sides' names to loss terms, the judge first.
    """

    sides: ClassVar[Mapping[str, tuple[str, ...]]]
    latents: int
    words: int = 0

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return uniform codes in ±1, [count, latents]."""
        return 2 * rand_examples(count, self.latents, generator=generator) - 1

    def rows(self, labels: Tensor) -> Tensor | None:
        """Return one-hot rows [batch, words] of label indices [batch]; None without labels."""
        return F.one_hot(labels, self.words).float() if self.words else None

    @abstractmethod
    def decode(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        """Return clips; rows of ``label`` [batch, words] sum to 1."""

    @abstractmethod
    def judge(self, clips: Tensor, label: Tensor | None) -> Tensor:
        """Return scores, [batch]; higher is more real."""
