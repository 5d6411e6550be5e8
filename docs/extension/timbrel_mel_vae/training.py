"""The network, and its data for training."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from timbrel.host.arrays import Integers
from timbrel.host.spectra import mel_triangles
from timbrel.train.corpus.store import Corpus
from timbrel.train.data import Data
from timbrel.train.families.family import Family
from timbrel.train.frames import FrameOrigins, check_audible, spread_sources
from timbrel.train.network import Autoencoder, constant, decibels, dense
from timbrel.train.shared_random import randn_examples
from torch import Tensor

from .recipe import MelRecipe

FRAMES = 20_000  # of each split
MIDDLE_DB, SPREAD_DB = -50.0, 25.0  # the network sees levels of about 0 and 1


class MelVAE(Autoencoder):
    """audio [batch, frame_length] → latents [batch, n] → levels of mel bands in dB [batch, bands]."""

    def __init__(self, recipe: MelRecipe) -> None:
        super().__init__()
        frames, settings = recipe.frames, recipe.network
        self.weights, self.latents = recipe.loss, settings.latents
        window = np.hanning(frames.frame_length + 1)[:-1]
        self.window = constant(2 * window / window.sum())  # a sine of amplitude 1 has a peak of 1
        self.mel = constant(mel_triangles(frames.sample_rate, frames.frame_length, settings.bands).T)
        self.encoder = dense([settings.bands, settings.hidden, 2 * settings.latents], linear_end=True)
        self.decoder = dense([settings.latents, settings.hidden, settings.bands], linear_end=True)

    def levels(self, audio: Tensor) -> Tensor:
        spectrum = torch.view_as_real(torch.fft.rfft(audio * self.window))
        return decibels(spectrum.square().sum(-1) @ self.mel)

    def encode(self, *inputs: Tensor) -> Tensor:
        return self.distribution(self.levels(inputs[0]))[0]

    def distribution(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        means, log_variances = self.encoder((levels - MIDDLE_DB) / SPREAD_DB).chunk(2, 1)
        return means, log_variances

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(latents) * SPREAD_DB + MIDDLE_DB

    def reconstruction(self, audio: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        levels = self.levels(audio)
        means, log_variances = self.distribution(levels)
        noise = randn_examples(*means.shape, generator=generator).to(means)
        decoded = self.decode(means + torch.exp(log_variances / 2) * noise)
        divergence = (means.square() + log_variances.exp() - 1 - log_variances).sum(1).mean() / 2
        return {"mean_square": ((decoded - levels) / SPREAD_DB).square().mean(), "divergence": divergence}


@dataclass
class MelData(Data[FrameOrigins]):
    corpus: Corpus
    length: int

    def examples(self, source: FrameOrigins, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        origins = [source[int(index)] for index in indices]
        frames = [self.corpus.samples(origin.clip, origin.start, origin.start + self.length) for origin in origins]
        return (torch.from_numpy(np.stack(frames)),)


class MelFamily(Family[MelRecipe, MelVAE]):
    network = MelVAE
    previewed = False

    def check(self, corpus: Corpus, recipe: MelRecipe) -> None:
        check_audible(corpus, recipe.frames, tonal=False)

    def data(self, corpus: Corpus, recipe: MelRecipe, folder: Path) -> MelData:
        train, val = (spread_sources(corpus, split, recipe.frames, False, FRAMES) for split in ("train", "val"))
        return MelData(train, val, corpus, recipe.frames.frame_length)
