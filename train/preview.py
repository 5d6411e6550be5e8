"""Something to listen to while a run goes on."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..host.audio.files import sound_writer
from ..host.dsp import window
from ..host.engines.basins import BasinPhase
from .recipe import Recipe

if TYPE_CHECKING:
    from .families import ChromaData, Network

SOUNDS = 6  # spread over the validation frames
SECONDS = 0.7  # each
PEAK = 0.5


@torch.no_grad()
def write_preview(folder: Path, network: "Network", recipe: Recipe, data: "ChromaData", step: int) -> Path:
    """Decode a few validation frames, hold each for a moment with phases that fit it, and write ``step-N.wav``."""
    folder.mkdir(exist_ok=True)
    frames, chroma, *_ = data.validation(SOUNDS)[0]
    device = next(network.parameters()).device
    decoded = network.decode(network.encode(frames.to(device), chroma.to(device)), chroma.to(device)).cpu().numpy()
    length, hop = recipe.frames.frame_length, recipe.frames.hop_length
    phase = BasinPhase(length, hop)
    pieces = []
    for frame in decoded:
        count = int(SECONDS * recipe.frames.sample_rate / hop)
        spectra = phase.apply(np.repeat(frame[None], count, 0), [phase.begin()] * count)
        sound = np.zeros(count * hop + length, np.float32)
        for i, piece in enumerate(np.fft.irfft(spectra) * window("hann", length)):
            sound[i * hop : i * hop + length] += piece
        pieces.append(sound / max(float(np.abs(sound).max()), 1e-9) * PEAK)
    mono = np.concatenate(pieces).astype(np.float32)
    path = folder / f"step-{step:07d}.wav"
    with sound_writer(path, recipe.frames.sample_rate, channels=1, overwrite=True) as file:
        file.write(mono[None])
    return path
