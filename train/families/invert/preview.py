"""Recordings, each before the generator's clip of its predicted code."""

import torch

from ....host.arrays import Array
from ...recipes.base import Recipe
from .network import Inverter


def held_inversions(network: Inverter, recipe: Recipe, batch: list[torch.Tensor]) -> list[Array]:
    made = network.again(*batch).cpu().numpy()
    return [sound for pair in zip(batch[0].cpu().numpy(), made, strict=True) for sound in pair]
