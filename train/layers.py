"""Layers and loss terms of several families' networks."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from .shared_random import all_examples

BANDS = 64  # mel bands of encoder and loss, as in note measurements
SOFTEST = 1e-8  # of a frame's power, -80 dB: softer components are masked
LEAK = 0.1  # slope of LeakyReLU below zero (Colonel & Keene, 2020, equation 5)
PROJECTIONS = 32  # random directions of the uniformity term; more have no effect at eight latents


def dense(widths: list[int], linear_end: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise(widths):
        layers += [nn.Linear(inside, outside), nn.LeakyReLU(LEAK)]
    return nn.Sequential(*layers[:-1] if linear_end else layers)


def initialise_by_glorot(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.ConvTranspose1d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def frozen(network: nn.Module, *inputs: Any) -> Any:
    """Return a network's output, with gradients for inputs but not for weights."""
    as_it_is = {name: value.detach() for name, value in network.named_parameters()}
    return functional_call(network, as_it_is, inputs)


def decibels(power: Tensor) -> Tensor:
    """Return dB, in a form whose small addend exporters keep."""
    return 10 * torch.log10(power / SOFTEST + 1) + 10 * math.log10(SOFTEST)


def level_distance(given: Tensor, asked: Tensor) -> Tensor:
    return ((given - asked).square().mean(1) + 1e-6).sqrt().mean()


def uniformity(latents: Tensor, generator: torch.Generator) -> Tensor:
    """Sliced Wasserstein distance to the uniform cube: every knob keeps its full range in use."""
    latents = all_examples(latents, generator)
    directions = torch.randn(latents.shape[1], PROJECTIONS, generator=generator)
    directions = F.normalize(directions, dim=0).to(latents)
    cube = torch.rand(latents.shape, generator=generator).to(latents)
    return ((latents @ directions).sort(0).values - (cube @ directions).sort(0).values).square().mean()
