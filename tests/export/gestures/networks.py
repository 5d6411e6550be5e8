"""Networks by formula: one latent is how slowly harmonics fall off, from 0.3 to 0.9; the encoder knows nothing."""

from types import SimpleNamespace

import numpy as np
import torch
from timbrel.export.gestures.code_fitting import CodeFitter
from torch import nn

from ..conftest import HOP, LENGTH, RATE, lobe

LOW, HIGH = 0.3, 0.9
ORDERS = 24


class Decoder(nn.Module):
    """latent [rows, 1], chroma [rows, 12] → frame [rows, bins] of largest value 1, in octave 4."""

    def __init__(self):
        super().__init__()
        bins = np.arange(LENGTH // 2 + 1)
        hertz = 440 * 2 ** ((np.arange(60, 72) - 69) / 12)
        lobes = [[lobe(bins, k * hz * LENGTH / RATE) for k in range(1, ORDERS)] for hz in hertz]
        self.register_buffer("lobes", torch.tensor(np.array(lobes), dtype=torch.float32))

    def forward(self, latent, chroma):
        fall = LOW + (HIGH - LOW) * latent
        powers = fall ** torch.arange(ORDERS - 1)  # [rows, orders], the first is 1
        return torch.einsum("rk,rc,ckb->rb", powers, chroma, self.lobes)


class Encoder(nn.Module):
    def forward(self, audio, chroma):
        return torch.full((len(audio), 1), 0.5)


def latent(name="fall"):
    return SimpleNamespace(name=name, low=0.0, high=1.0, default=0.5, mean=0.5, std=0.3)


class Plain:
    """A model of these networks, as far as gestures ask."""

    def __init__(self):
        self.network = Decoder()
        self.card = SimpleNamespace(
            sample_rate=RATE,
            frame_length=LENGTH,
            hop_length=HOP,
            latents=[latent()],
            chroma=SimpleNamespace(octave=4, trained=list(range(12))),
            keyed=True,
            partials=None,
            image=None,
        )

    def decode(self, latents, classes):
        with torch.no_grad():
            return self.network(torch.from_numpy(latents), torch.eye(12)[torch.from_numpy(classes)]).numpy()


def coder():
    model = Plain()
    return model, CodeFitter(Encoder(), model.network, model.card)


def swept(note, falls, seconds=1.5, held=1.2, rise=0.02):
    """A tone whose harmonics fall off by ``falls`` of its seconds, let go after ``held``."""
    time = np.arange(round(seconds * RATE)) / RATE
    hz = 440 * 2 ** ((note - 69) / 12)
    fall = falls(time)
    sound = sum(fall ** (k - 1) * np.sin(2 * np.pi * k * hz * time + k * k) for k in range(1, ORDERS))
    level = np.minimum(time / rise, 1) * np.where(time > held, 10 ** (-200 * (time - held) / 20), 1)
    return (0.1 * level * sound).astype(np.float32)
