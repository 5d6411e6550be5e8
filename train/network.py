"""Networks as the training loop sees them: turns, optimisers, and the base classes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .data import Data
from .recipes.base import TrainingSettings

DEAD_DEVIATION = 1e-3  # standard deviation of a latent over training frames: below this it carries nothing
SHARED = "shared"  # the optimiser of turns that name none


@dataclass(frozen=True)
class Objective:
    """A part of a step, which minimises a loss of its own.

    Args:
        name: the network's method that gives the terms of the loss; it takes a batch and a generator of random numbers.
        optimiser: moves the weights that it has and the loss depends on.
        batches: of its own, each of which moves the weights once; 0 takes the batch that the step's turns share.
        differentiates: its terms hold gradients themselves, such as a penalty on them, also where nothing is trained.
    """

    name: str
    optimiser: str = SHARED
    batches: int = 0
    differentiates: bool = False


@dataclass(frozen=True)
class Adam:
    """The settings of an Adam optimiser.

    Args:
        modules: whose weights it moves, attributes of the network; none for all of the network.
        learning_rate: where the recipe's schedule begins; the recipe's own if None.
        betas: how much is kept, from step to step, of the mean of the gradients and of their squares.
        largest_norm: gradients of all its weights together are shortened to it; None leaves them.
    """

    modules: tuple[str, ...] = ()
    learning_rate: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)  # Kingma and Ba, 2015
    largest_norm: float | None = None

    def rate(self, training: TrainingSettings) -> float:
        """Return the learning rate before a schedule lowers it."""
        return training.learning_rate if self.learning_rate is None else self.learning_rate

    def over(self, network: nn.Module, training: TrainingSettings) -> torch.optim.Optimizer:
        """Return the optimiser of a network's weights.

        The penalty ``l2 * sum of squares`` falls on weights alone, as Keras's kernel regulariser does. Its slope is
        2 * l2 * weight, which torch calls a weight decay of 2 * l2.
        """
        modules = [network.get_submodule(name) for name in self.modules] or [network]
        parameters = [parameter for module in modules for parameter in module.parameters()]
        weights = [p for p in parameters if p.ndim > 1]
        biases = [p for p in parameters if p.ndim <= 1]
        groups = [{"params": weights, "weight_decay": 2 * training.l2}, {"params": biases, "weight_decay": 0.0}]
        return torch.optim.Adam(groups, lr=self.rate(training), betas=self.betas, fused=True)


class Network(nn.Module):
    """A network that can be trained: it has a method for each of its turns.

    A step of training takes ``turns`` in order, and each moves weights by one of the ``optimisers``. The first turn
    tells how good the network is.
    """

    turns: tuple[Objective, ...] = (Objective("reconstruction"),)
    optimisers: Mapping[str, Adam] = {SHARED: Adam()}
    weights: Any  # of the terms, by name

    @property
    def adversarial(self) -> bool:
        """Return whether turns work against each other, so that no loss says how good the network is."""
        return len(self.turns) > 1

    @property
    def batches_a_step(self) -> int:
        """Return how many batches a step takes: one where turns share one, and each turn's own."""
        return any(not turn.batches for turn in self.turns) + sum(turn.batches for turn in self.turns)

    def begin(self, data: Data) -> None:
        """Take from the training frames what the first step starts from; most networks need nothing."""

    def moved(self) -> None:
        """Take note of weights that a step has moved; most networks need not."""

    def varies(self, *inputs: Tensor) -> bool:
        """Return whether the network still tells these training frames apart: one that does not cannot be played."""
        return True

    def forward(self, turn: str, *arguments: Any) -> dict[str, Tensor]:
        """Return the terms of a turn's loss; all turns go through here, where Fabric and its processes see them."""
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
        """Return the latents, [batch, latents]."""

    def varies(self, *inputs: Tensor) -> bool:
        """Return whether at least one latent varies over these training frames."""
        return not bool((self.encode(*inputs).std(0, correction=0) < DEAD_DEVIATION).all())
