"""Held notes of validation frames."""

import numpy as np
import torch

from ....host.arrays import Array
from ....host.kinds.spectrum.causal_phase import CausalPhase
from ....host.stft import overlap_add, window
from ...preview import SECONDS
from .network import ChromaAutoencoder
from .recipe import ChromaRecipe


def held_spectra(network: ChromaAutoencoder, recipe: ChromaRecipe, batch: list[torch.Tensor]) -> list[Array]:
    frames, chroma, *_ = batch
    length, hop = recipe.frames.frame_length, recipe.frames.hop_length
    phase = CausalPhase(length, hop)
    sounds = []
    for frame in network.decode(network.encode(frames, chroma), chroma).cpu().numpy():
        count = int(SECONDS * recipe.frames.sample_rate / hop)
        spectra = phase.apply(np.repeat(frame[None], count, 0), [phase.start_state()] * count)
        sounds.append(overlap_add(np.fft.irfft(spectra) * window("hann", length), hop))
    return sounds
