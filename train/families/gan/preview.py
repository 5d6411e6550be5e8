"""Clips of the same codes each time, and the halves' reconstructions."""

import torch

from ....host.arrays import Array
from ...recipes.base import Recipe
from .dcgan import Halves
from .generator import ClipGenerator

CLIPS = 12  # of an adversarial network, from fixed codes


def held_clips(network: ClipGenerator, recipe: Recipe, batch: list[torch.Tensor]) -> list[Array]:
    codes = network.draw(CLIPS, torch.Generator().manual_seed(0)).to(batch[0])
    label = network.rows(torch.arange(CLIPS, device=codes.device) % max(1, network.words))
    return list(network.decode(codes, label).cpu().numpy())


def held_reconstructions(network: Halves, recipe: Recipe, batch: list[torch.Tensor]) -> list[Array]:
    made = network.decode(network.encode(batch[0])).cpu().numpy()
    return [sound for pair in zip(batch[0].cpu().numpy(), made, strict=True) for sound in pair]
