"""Recordings, each before the network's continuation of its first frame."""

import torch

from ....host.arrays import Array
from .batches import joined
from .network import RecurrentNetwork
from .recipe import SequenceRecipe


def held_sequences(network: RecurrentNetwork, recipe: SequenceRecipe, batch: list[torch.Tensor]) -> list[Array]:
    sounds, counts, numbers = batch
    frames = network.standard(sounds)
    made = network.continued(frames[:, :1], network.codes(numbers), frames.shape[1])
    heard = zip(sounds, network.standard.back(made), counts.tolist(), strict=True)
    pairs = ((part[:count].cpu().numpy() for part in parts) for *parts, count in heard)
    return [joined(part, recipe.frames.hop_length) for pair in pairs for part in pair]
