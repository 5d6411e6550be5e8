"""Synthesizes decoded grain frames as sound, for figures and previews."""

import numpy as np

from ..host.arrays import Array
from ..host.stft import overlap_add, window
from .families.grain.recipe import GrainRecipe


def grains(frames: Array, recipe: GrainRecipe, rng: np.random.Generator) -> Array:
    """Return unwindowed samples [frames, frame_length], with new noise."""
    length, domain = recipe.frames.frame_length, recipe.network.domain
    if domain == "samples":
        return frames
    bins = length // 2 + 1
    first, then = frames[:, :bins], frames[:, bins:]
    if domain == "magnitude_phase":
        waves: Array = np.fft.irfft(first * np.exp(1j * then), length).astype(np.float32)
        return waves
    parts = rng.standard_normal((2, *first.shape))
    noise = np.fft.irfft(first * (parts[0] + 1j * parts[1]) / np.sqrt(2), length)
    points = np.linspace(0, length - 1, then.shape[1])
    envelopes = np.stack([np.interp(np.arange(length), points, envelope) for envelope in then])
    filtered: Array = (noise * envelopes).astype(np.float32)
    return filtered


def overlapped(sounds: Array, hop: int, shape: str, strangers: bool = True) -> Array:
    """Overlap-add grains under a window, ``hop`` samples apart, at the level of one: [samples].

    Powers add up for ``strangers``, uncorrelated grains; amplitudes for others.
    """
    length = sounds.shape[1]
    weights = window(shape, length)
    total = overlap_add(sounds * weights, hop)
    cover = float(np.sqrt(np.square(weights).sum() / hop) if strangers else weights.sum() / hop)
    return total * np.float32(1 / max(1.0, cover))
