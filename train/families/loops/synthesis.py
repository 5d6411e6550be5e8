"""Decodes the codes of loop slices into one sound."""

import math

import numpy as np
import torch
from torch import Tensor

from ....host.arrays import Array
from ....host.engines.clip.synthesis import TURNS, SpectraSound
from ....host.signal import overlap_add
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
    slice_features = network.features
    resynthesise_slices = SpectraSound(
        slice_features.length, slice_features.transform, slice_features.hop, slice_features.points, turns
    )
    features = network.decoded(codes)
    if late:
        delay_steps = late * (torch.arange(len(codes)) % 2).to(features)[:, None]
        features = slice_features.delayed(features, features.roll(1, 0), delay_steps)
    frames = slice_features.frames(features).cpu().numpy()
    slice_sounds = resynthesise_slices(frames)
    slice_rms = np.sqrt(np.square(slice_sounds).mean(1, keepdims=True))
    slice_sounds *= np.minimum(1.0, 10 ** (loudest_db / 20) / np.maximum(slice_rms, SILENT)).astype(np.float32)
    return joined(slice_sounds, recipe.frames.hop_length)


def joined(slices: Array, step: int) -> Array:
    """Join slices [steps, length] with equal-power crossfades: [steps * step].

    A slice begins with the overlap before its step.
    """
    overlap_samples = slices.shape[1] - step
    fade_angles = (np.arange(overlap_samples, dtype=np.float32) + 0.5) * np.float32(np.pi / 2 / max(1, overlap_samples))
    crossfade_gains = np.ones(slices.shape[1], np.float32)
    crossfade_gains[:overlap_samples], crossfade_gains[step:] = np.sin(fade_angles), np.cos(fade_angles)
    return overlap_add(crossfade_gains * slices, step)[overlap_samples:]
