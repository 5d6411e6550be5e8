"""Generates sound with a loop network, as hosts do."""

import math

import torch
from torch import Tensor

from ....host.arrays import Array
from ....train.families.loops.network import LoopNetwork
from ....train.families.loops.recipe import LoopRecipe
from ....train.loop_synthesis import sound_of
from ...kinds.stream.kind import HEAT

COARSE = 2  # iterations of phase fitting for sounds that are only measured


def played(
    network: LoopNetwork,
    recipe: LoopRecipe,
    codes: Tensor,
    steered: Tensor,
    bars: float,
    seed: int,
    loudest_db: float = math.inf,
) -> Array:
    """Continue the codes of slices [steps, components], which may be empty, at a steering code [latents]: [samples].

    Args:
        network: on the CPU.
        codes: from the start of a bar.
        loudest_db: as in `sound_of`.
    """
    generator = torch.Generator().manual_seed(seed)
    count = round(bars * recipe.frames.bar)
    made = network.continued(codes[None], steered[None], count, HEAT, generator)[0]
    return sound_of(network, recipe, made, loudest_db, float(network.late(steered)))


@torch.no_grad()
def all_played(network: LoopNetwork, recipe: LoopRecipe, steered: Tensor, bars: int, seed: int) -> list[Array]:
    """Generate sounds from an empty seed, per steering code [codes, latents]."""
    nothing = torch.zeros(len(steered), 0, recipe.network.components)
    generator = torch.Generator().manual_seed(seed)
    made = network.continued(nothing, steered, bars * recipe.frames.bar, HEAT, generator)
    late = network.late(steered)
    return [
        sound_of(network, recipe, codes, late=float(late[number]), turns=COARSE) for number, codes in enumerate(made)
    ]
