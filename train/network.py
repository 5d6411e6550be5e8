"""What the loop asks of a network."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


class Network(nn.Module, ABC):
    """A network that can be trained: `encode`, and a method for each of its turns.

    A step of training takes one batch through all ``turns``, in order. Each turn is named for the method that gives
    the terms of its loss, and moves the weights that these depend on. The first turn tells how good the network is.
    """

    turns: tuple[str, ...] = ("reconstruction",)
    weights: Any  # of the terms, by name

    @abstractmethod
    def encode(self, *inputs: Tensor) -> Tensor:
        """Latents, [batch, latents]."""

    def forward(self, turn: str, *arguments: Any) -> dict[str, Tensor]:
        """Terms of the loss of a turn: all go through here, where Fabric and its processes can see them."""
        terms: dict[str, Tensor] = getattr(self, turn)(*arguments)
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum that is minimised; a term without a weight counts as it is."""
        weights = self.weights.model_dump()
        return torch.stack([w * term for name, term in terms.items() if (w := weights.get(name, 1.0))]).sum()
