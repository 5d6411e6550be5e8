"""Base classes of trainable networks, their objectives and optimisers."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .recipes.base import TrainingSettings
from .shared_random import ExampleGenerator
from .training_data import Data

DEAD_DEVIATION = 1e-3  # standard deviation of a latent over training frames: a lower one carries no information
SHARED = "shared"  # default optimiser of objectives


@dataclass(frozen=True)
class Objective:
    """A part of a training step that minimises a loss of its own.

    Args:
        name: method that returns the loss's terms from a batch and a generator.
        batches: its own batches, one a move of the weights; 0 for the shared one.
        differentiates: its terms contain gradients, also in validation.
    """

    name: str
    optimiser: str = SHARED
    batches: int = 0
    differentiates: bool = False


@dataclass(frozen=True)
class Adam:
    """Settings of an Adam optimiser.

    Args:
        modules: trained attributes of the network; none for all of it.
        learning_rate: None for the recipe's.
        largest_norm: of all weights' gradient; None for no clipping.
    """

    modules: tuple[str, ...] = ()
    learning_rate: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)  # Kingma and Ba, 2015
    largest_norm: float | None = None

    def rate(self, training: TrainingSettings) -> float:
        return training.learning_rate if self.learning_rate is None else self.learning_rate

    def over(self, network: nn.Module, training: TrainingSettings) -> torch.optim.Optimizer:
        """The penalty ``l2 * sum of squares`` spares biases, as in Keras; torch's weight decay is 2 * l2."""
        modules = [network.get_submodule(name) for name in self.modules] or [network]
        parameters = [parameter for module in modules for parameter in module.parameters()]
        weights = [p for p in parameters if p.ndim > 1]
        biases = [p for p in parameters if p.ndim <= 1]
        groups = [{"params": weights, "weight_decay": 2 * training.l2}, {"params": biases, "weight_decay": 0.0}]
        return torch.optim.Adam(groups, lr=self.rate(training), betas=self.betas, fused=True)


class Network(nn.Module):
    """A trainable network; steps run its ``objectives`` in order, and the first one's loss measures it."""

    objectives: tuple[Objective, ...] = (Objective("reconstruction"),)
    optimisers: Mapping[str, Adam] = {SHARED: Adam()}
    weights: Any  # of the terms, by name

    @property
    def adversarial(self) -> bool:
        """Objectives compete, so no loss measures quality."""
        return len(self.objectives) > 1

    @property
    def batches_a_step(self) -> int:
        return any(not one.batches for one in self.objectives) + sum(one.batches for one in self.objectives)

    def initialise(self, data: Data) -> None:
        """Initialize before the first step."""

    def moved(self) -> None:
        """Follow a change of the weights."""

    def varies(self, *inputs: Tensor) -> bool:
        """Return whether outputs differ between training frames, as playable networks' do."""
        return True

    def forward(self, objective: str, *arguments: Any) -> dict[str, Tensor]:
        """Fabric wraps this."""
        terms: dict[str, Tensor] = getattr(self, objective)(*arguments)
        return terms

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the sum of terms by their weights, 1 by default."""
        weights = self.weights.model_dump()
        return torch.stack([w * term for name, term in terms.items() if (w := weights.get(name, 1.0))]).sum()


class Autoencoder(Network, ABC):
    @abstractmethod
    def encode(self, *inputs: Tensor) -> Tensor:
        """Return latents, [batch, latents]."""

    def varies(self, *inputs: Tensor) -> bool:
        return not bool((self.encode(*inputs).std(0, correction=0) < DEAD_DEVIATION).all())


@contextlib.contextmanager
def seeded_dropout(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed dropout, so that resumed runs match uninterrupted ones."""
    seed = int(torch.randint(2**62, (), generator=generator))
    seed += generator.rank if isinstance(generator, ExampleGenerator) else 0
    with torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type):
        torch.manual_seed(seed)
        yield
