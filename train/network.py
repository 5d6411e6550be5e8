"""Base classes of trainable networks, their objectives, optimisers and common layers."""

import contextlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from .data import Data
from .recipe import TrainingSettings
from .shared_random import ExampleGenerator, all_examples, rand, randn

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
        parameter_groups = [
            {"params": weights, "weight_decay": 2 * training.l2},
            {"params": biases, "weight_decay": 0.0},
        ]
        return torch.optim.Adam(parameter_groups, lr=self.rate(training), betas=self.betas, fused=True)


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
        return any(not objective.batches for objective in self.objectives) + sum(
            objective.batches for objective in self.objectives
        )

    def initialise(self, data: Data[Any]) -> None:
        """Initialize before the first step."""

    def follow_weights(self) -> None:
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
        weight_by_term = self.weights.model_dump()
        return torch.stack([w * term for name, term in terms.items() if (w := weight_by_term.get(name, 1.0))]).sum()


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


def constant(table: np.ndarray) -> nn.Buffer:
    """Return a table in single precision that moves with a network, and is in no checkpoint."""
    return nn.Buffer(torch.from_numpy(table.astype(np.float32)), persistent=False)


BANDS = 64  # mel bands of encoder and loss, as in note measurements
SOFTEST = 1e-8  # of a frame's power, -80 dB: softer components are masked
LEAK = 0.1  # slope of LeakyReLU below zero (Colonel & Keene, 2020, equation 5)
PROJECTIONS = 32  # random directions of the uniformity term; more have no effect at eight latents


def dense(widths: list[int], linear_end: bool = False) -> nn.Sequential:
    """Return linear layers of ``widths``, each with LeakyReLU; ``linear_end`` spares the last one."""
    layers: list[nn.Module] = []
    for input_width, output_width in itertools.pairwise(widths):
        layers += [nn.Linear(input_width, output_width), nn.LeakyReLU(LEAK)]
    return nn.Sequential(*layers[:-1] if linear_end else layers)


def initialise_by_glorot(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def frozen(network: nn.Module, *inputs: Any) -> Any:
    """Return a network's output, with gradients for inputs but not for weights."""
    detached_weights = {name: weight.detach() for name, weight in network.named_parameters()}
    return functional_call(network, detached_weights, inputs)


def decibels(power: Tensor) -> Tensor:
    """Return dB, in a form whose small addend exporters keep."""
    return 10 * torch.log10(power / SOFTEST + 1) + 10 * math.log10(SOFTEST)


def centroids(magnitudes: Tensor, positions: Tensor) -> Tensor:
    """Return centroids of spectra, [frames], in the unit of ``positions`` [bins]; 0 for silence."""
    return (magnitudes @ positions) / magnitudes.sum(1).clamp_min(1e-20)


def level_distance(levels: Tensor, target_levels: Tensor) -> Tensor:
    return ((levels - target_levels).square().mean(1) + 1e-6).sqrt().mean()


def uniformity(latents: Tensor, generator: torch.Generator) -> Tensor:
    """Sliced Wasserstein distance to the uniform cube: every knob keeps its full range in use."""
    latents = all_examples(latents, generator)
    directions = randn(latents.shape[1], PROJECTIONS, generator=generator)
    directions = F.normalize(directions, dim=0).to(latents)
    cube_points = rand(*latents.shape, generator=generator).to(latents)
    return ((latents @ directions).sort(0).values - (cube_points @ directions).sort(0).values).square().mean()
