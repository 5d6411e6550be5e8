"""Validation clips, each before its reconstruction."""

import torch

from ....host.arrays import Array
from ....host.kinds.clip.magnitude_synthesis import SpectraSound
from ...recipes.base import Recipe
from .network import ClipAutoencoder


def held_hits(network: ClipAutoencoder, recipe: Recipe, batch: list[torch.Tensor]) -> list[Array]:
    features, _, labels = batch
    features, words = features.float(), len(network.settings.words)
    told = torch.nn.functional.one_hot(labels, words).to(features) if words else None
    taken = network.features
    sound = SpectraSound(taken.length, taken.transform, taken.hop, taken.points)
    asked, made = taken.frames(features), network.decode(network.encode(features), told)
    pairs = zip(sound(asked.cpu().numpy()), sound(made.cpu().numpy()), strict=True)
    return [clip for pair in pairs for clip in pair]
