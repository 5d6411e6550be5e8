"""What the loop asks of a network."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

DEAD_DEVIATION = 1e-3  # of a latent over training frames: below this it says nothing


class Network(nn.Module):
    """A network that can be trained: it has a method for each of its turns.

    A step of training takes one batch through all ``turns``, in order. Each turn is named for the method that gives
    the terms of its loss, and moves the weights that these depend on. The first turn tells how good the network is.
    """

    turns: tuple[str, ...] = ("reconstruction",)
    weights: Any  # of the terms, by name

    def varies(self, *inputs: Tensor) -> bool:
        """Return whether the network still tells these training frames apart: one that does not cannot be played."""
        return True

    def forward(self, turn: str, *arguments: Any) -> dict[str, Tensor]:
        """Terms of the loss of a turn: all go through here, where Fabric and its processes can see them."""
        terms: dict[str, Tensor] = getattr(self, turn)(*arguments)
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum that is minimised; a term without a weight counts as it is."""
        weights = self.weights.model_dump()
        return torch.stack([w * term for name, term in terms.items() if (w := weights.get(name, 1.0))]).sum()


class Autoencoder(Network, ABC):
    """A network with an encoder, whose latents have to vary."""

    @abstractmethod
    def encode(self, *inputs: Tensor) -> Tensor:
        """Latents, [batch, latents]."""

    def varies(self, *inputs: Tensor) -> bool:
        """Return whether at least one latent does, over these training frames."""
        return not bool((self.encode(*inputs).std(0, correction=0) < DEAD_DEVIATION).all())
