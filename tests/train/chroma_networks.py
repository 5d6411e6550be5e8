"""Small chroma networks, and batches for them."""

import numpy as np
import torch
from timbrel.train.families.chroma.network import ChromaAutoencoder
from timbrel.train.families.recipes import load_recipe

SMALL = ["frames.frame_length=1024", "frames.hop_length=256", "network.hidden=[64,32,16]"]
BATCH = 37


def network_of(name="chroma-8", *changes, seed=0):
    torch.manual_seed(seed)
    return ChromaAutoencoder(load_recipe(name, changes))


def batch(bins, seed=0):
    """Frames of maximum 1 with their one-hot chroma, and others to decode: what forward takes but its generator."""
    rng = np.random.default_rng(seed)
    spectra = [rng.random((BATCH, bins)).astype(np.float32) ** 4 for _ in range(2)]
    one_hot = [np.eye(12, dtype=np.float32)[rng.integers(12, size=BATCH)] for _ in range(2)]
    frames, targets = (torch.from_numpy(s / s.max(1, keepdims=True)) for s in spectra)
    return frames, torch.from_numpy(one_hot[0]), targets, torch.from_numpy(one_hot[1])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)
