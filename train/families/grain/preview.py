"""Grains of validation windows, overlapped."""

import numpy as np
import torch

from ....host.arrays import Array
from ...grain_synthesis import grains, overlapped
from ...preview import SECONDS
from .network import GrainAutoencoder
from .recipe import GrainRecipe


def held_grains(network: GrainAutoencoder, recipe: GrainRecipe, batch: list[torch.Tensor]) -> list[Array]:
    length, rng = recipe.frames.frame_length, np.random.default_rng(0)
    count = max(1, int(SECONDS * recipe.frames.sample_rate / (length // 4)))
    frames = network.decode(network.encode(*batch)).cpu().numpy()
    return [overlapped(grains(np.repeat(f[None], count, 0), recipe, rng), length // 4, "blackman") for f in frames]
