"""Writes audible previews of a run during training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..host.arrays import Array
from ..host.audio.sound_files import sound_writer
from .clip_picture import draw_grid
from .network import Network
from .recipes.base import Recipe
from .training_data import Data

SOUNDS = 6  # spread over the validation frames
SECONDS = 0.7  # of a sound that a single frame makes
PEAK = 0.5


class Preview(NamedTuple):
    """Sounds that a family's training writes.

    Args:
        sounds: makes sounds [samples] of a network, a recipe and a validation batch.
        pictured: they are whole sounds, drawn side by side.
    """

    sounds: Callable[[Any, Any, list[torch.Tensor]], list[Array]]
    pictured: bool = False


@torch.no_grad()
def write_preview(folder: Path, network: Network, recipe: Recipe, data: Data, preview: Preview, step: int) -> Path:
    """Write decoded validation frames as ``step-N.wav``, clips also as a picture."""
    folder.mkdir(exist_ok=True)
    device = next(network.parameters()).device
    sounds = preview.sounds(network, recipe, [part.to(device) for part in next(data.validation(SOUNDS))])
    mono = np.concatenate([sound / max(float(np.abs(sound).max()), 1e-9) * PEAK for sound in sounds])
    path = folder / f"step-{step:07d}.wav"
    with sound_writer(path, recipe.frames.sample_rate, channels=1, overwrite=True) as file:
        file.write(mono[None].astype(np.float32))
    if preview.pictured:
        draw_grid(path.with_suffix(".png"), sounds, recipe.frames.sample_rate, [str(n + 1) for n in range(len(sounds))])
    return path
