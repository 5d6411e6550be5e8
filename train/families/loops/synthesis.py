"""Decodes the codes of loop slices into one sound."""

import math

import numpy as np
import torch
from torch import Tensor

from ....host.arrays import Array
from ....host.engines.clip.synthesis import TURNS, SpectraSound
from .network import LoopNetwork
from .recipe import LoopRecipe

SILENT = 1e-9  # root mean square: the smallest divisor


@torch.no_grad()
def sound_of(
    network: LoopNetwork,
    recipe: LoopRecipe,
    codes: Tensor,
    loudest_db: float = math.inf,
    late: float = 0.0,
    turns: int = TURNS,
) -> Array:
    """Decode codes of slices [steps, components]: [steps * hop_length].

    Args:
        loudest_db: limit of each slice's RMS in dB of full scale.
        late: delay of every other slice, from the second on, in steps.
    """
    analysis = network.features
    resynthesise = SpectraSound(analysis.length, analysis.transform, analysis.hop, analysis.points, turns)
    features = network.decoded(codes)
    if late:
        delays = late * (torch.arange(len(codes)) % 2).to(features)[:, None]
        features = analysis.delayed(features, features.roll(1, 0), delays)
    frames = analysis.frames(features).cpu().numpy()
    slices = resynthesise(frames)
    levels = np.sqrt(np.square(slices).mean(1, keepdims=True))
    slices *= np.minimum(1.0, 10 ** (loudest_db / 20) / np.maximum(levels, SILENT)).astype(np.float32)
    return joined(slices, recipe.frames.hop_length)


def joined(slices: Array, step: int) -> Array:
    """Join slices [steps, length] with equal-power crossfades: [steps * step].

    A slice begins with the overlap before its step.
    """
    overlap = slices.shape[1] - step
    angles = (np.arange(overlap, dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / max(1, overlap))
    crossfade = np.ones(slices.shape[1], np.float32)
    crossfade[:overlap], crossfade[step:] = np.sin(angles), np.cos(angles)
    sound = np.zeros(overlap + len(slices) * step, np.float32)
    for number, piece in enumerate(slices):
        sound[number * step : number * step + len(piece)] += crossfade * piece
    return sound[overlap:]
