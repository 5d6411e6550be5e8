"""Lets a network of loops play on by itself, as hosts have it do."""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....train.families.loops.network import LoopNetwork
from ....train.families.loops.recipe import LoopRecipe
from ....train.slices import sound_of

Array = npt.NDArray[np.float32]

COARSE = 2  # turns of fitting phases where a sound is measured, not heard
HEAT = 1.3  # of a first preset, and of what is measured: at 1 it plays beats of its loops again


def played(
    network: LoopNetwork,
    recipe: LoopRecipe,
    codes: Tensor,
    steered: Tensor,
    bars: float,
    seed: int,
    loudest_db: float = math.inf,
) -> Array:
    """Return the bars that follow the codes of slices [steps, components], of which there may be none, [samples].

    Args:
        network: on the CPU.
        recipe: its own.
        codes: of slices, from a bar's beginning on.
        steered: steering code, [latents].
        bars: that follow.
        seed: of the heat.
        loudest_db: see `sound_of`.
    """
    generator = torch.Generator().manual_seed(seed)
    count = round(bars * recipe.frames.bar)
    made = network.continued(codes[None], steered[None], count, HEAT, generator)[0]
    return sound_of(network, recipe, made, loudest_db, float(network.late(steered)))


@torch.no_grad()
def all_played(network: LoopNetwork, recipe: LoopRecipe, steered: Tensor, bars: int, seed: int) -> list[Array]:
    """Return what is played from nothing with each of many steering codes, [codes, latents], to be measured."""
    nothing = torch.zeros(len(steered), 0, recipe.network.components)
    generator = torch.Generator().manual_seed(seed)
    made = network.continued(nothing, steered, bars * recipe.frames.bar, HEAT, generator)
    late = network.late(steered)
    return [
        sound_of(network, recipe, codes, late=float(late[number]), turns=COARSE) for number, codes in enumerate(made)
    ]
