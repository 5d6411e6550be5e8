"""Base classes of trainable networks, their objectives and Adam optimisers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .recipes.base import TrainingSettings
from .training_data import Data

DEAD_DEVIATION = 1e-3  # standard deviation of a latent over training frames: a lower one carries no information
SHARED = "shared"  # default optimiser of objectives


@dataclass(frozen=True)
class Objective:
    """A part of a training step that minimises a loss of its own.

    Args:
        name: method that returns the loss's terms from a batch and a random generator.
        optimiser: name of its optimiser.
        batches: number of its own batches, each a move of the weights; 0 for the step's shared batch.
        differentiates: its terms contain gradients, such as a gradient penalty, in validation too.
    """

    name: str
    optimiser: str = SHARED
    batches: int = 0
    differentiates: bool = False


@dataclass(frozen=True)
class Adam:
    """The settings of an Adam optimiser.

    Args:
        modules: trained attributes of the network; none for all of it.
        learning_rate: initial rate of the schedule; None for the recipe's.
        betas: decay of the running means of gradients and squared gradients.
        largest_norm: maximum norm of the gradient of all its weights; None for no clipping.
    """

    modules: tuple[str, ...] = ()
    learning_rate: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)  # Kingma and Ba, 2015
    largest_norm: float | None = None

    def rate(self, training: TrainingSettings) -> float:
        return training.learning_rate if self.learning_rate is None else self.learning_rate

    def over(self, network: nn.Module, training: TrainingSettings) -> torch.optim.Optimizer:
        """Return a torch optimiser of a network's weights.

        The penalty ``l2 * sum of squares`` applies to weights alone, as in Keras's kernel regulariser. Its gradient is
        2 * l2 * weight, so torch's weight decay is 2 * l2.
        """
        modules = [network.get_submodule(name) for name in self.modules] or [network]
        parameters = [parameter for module in modules for parameter in module.parameters()]
        weights = [p for p in parameters if p.ndim > 1]
        biases = [p for p in parameters if p.ndim <= 1]
        groups = [{"params": weights, "weight_decay": 2 * training.l2}, {"params": biases, "weight_decay": 0.0}]
        return torch.optim.Adam(groups, lr=self.rate(training), betas=self.betas, fused=True)


class Network(nn.Module):
    """A trainable network with a method for each of its objectives, which a step runs in the order of ``turns``.

    The first objective's loss measures the network.
    """

    turns: tuple[Objective, ...] = (Objective("reconstruction"),)
    optimisers: Mapping[str, Adam] = {SHARED: Adam()}
    weights: Any  # of the terms, by name

    @property
    def adversarial(self) -> bool:
        """Whether objectives compete: no loss measures quality."""
        return len(self.turns) > 1

    @property
    def batches_a_step(self) -> int:
        """Batches of a step: a shared one if needed, and the objectives' own."""
        return any(not turn.batches for turn in self.turns) + sum(turn.batches for turn in self.turns)

    def initialise(self, data: Data) -> None:
        """Initialize from the training frames before the first step; a hook."""

    def moved(self) -> None:
        """Follow a change of the weights after a step; a hook."""

    def varies(self, *inputs: Tensor) -> bool:
        """Return whether outputs differ between these training frames, as a playable network's must."""
        return True

    def forward(self, turn: str, *arguments: Any) -> dict[str, Tensor]:
        """Return the terms of an objective's loss; Fabric wraps this method."""
        terms: dict[str, Tensor] = getattr(self, turn)(*arguments)
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of the terms; a missing weight is 1."""
        weights = self.weights.model_dump()
        return torch.stack([w * term for name, term in terms.items() if (w := weights.get(name, 1.0))]).sum()


class Autoencoder(Network, ABC):
    """A network with an encoder whose latents must vary."""

    @abstractmethod
    def encode(self, *inputs: Tensor) -> Tensor:
        """Return the latents, [batch, latents]."""

    def varies(self, *inputs: Tensor) -> bool:
        return not bool((self.encode(*inputs).std(0, correction=0) < DEAD_DEVIATION).all())
