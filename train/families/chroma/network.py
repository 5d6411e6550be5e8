"""Chroma-conditioned autoencoder of Colonel & Keene (2020), section III, with extensions for playing."""

import warnings

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....host.signal import chroma_bins
from ...data import Data
from ...network import (
    BANDS,
    LEAK,
    SOFTEST,
    Autoencoder,
    decibels,
    dense,
    initialise_by_glorot,
    level_distance,
    uniformity,
)
from ...shared_random import rand_examples, randint_examples, randn_examples
from .recipe import ChromaRecipe

FRAMES_PER_CODE = 4  # of the consistency term: a random code costs as much as a frame, and keys are learned fast
GROUP = 4  # bins: harmonics of middle C lie six groups apart, and a group's noise level is accurate to 3 dB
HIGHEST = 1.0  # nepers re full scale: no frame is louder, and arbitrary codes cannot overflow
MEAN_FRAMES = 4096  # training frames for means


class ChromaAutoencoder(Autoencoder):
    """Dense encoder and mirrored decoder over magnitude spectra.

    Shapes: frames [batch, bins], maximum 1; chroma [batch, 12], one-hot; latents [batch, latents].
    """

    pitch_classes: Tensor
    middle: Tensor
    spread: Tensor

    def __init__(self, recipe: ChromaRecipe) -> None:
        super().__init__()
        self.settings = recipe.network
        self.weights = recipe.loss
        bins = recipe.frames.frame_length // 2 + 1
        n = self.settings.latents
        self.levels = Levels(recipe.frames.sample_rate, recipe.frames.frame_length)
        input_width = BANDS if self.in_levels else bins
        extra_width = {"none": 0, "difference": input_width - 1, "chroma": 12}[self.settings.augmentation]
        conditions = 12 if self.settings.skip else 0
        self.encoder = dense([input_width + extra_width, *self.settings.hidden])
        self.bottleneck = nn.Linear(self.settings.hidden[-1], 2 * n if self.settings.variational else n)
        self.decoder = dense([n + conditions, *reversed(self.settings.hidden)])
        self.output = nn.Linear(self.settings.hidden[0], bins)
        pitch_classes = torch.from_numpy(chroma_bins(recipe.frames.sample_rate, recipe.frames.frame_length).copy())
        self.register_buffer("pitch_classes", pitch_classes, persistent=False)
        initialise_by_glorot(self)  # Keras's default, as in the publication; this network dies with torch's
        if self.in_levels:
            self.means = nn.Parameter(torch.zeros(12, bins))
            for name, value in {"middle": torch.zeros(BANDS), "spread": torch.ones(BANDS)}.items():
                self.register_buffer(name, value)

    @property
    def in_levels(self) -> bool:
        return self.settings.domain == "level"

    @torch.no_grad()
    def initialise(self, data: Data) -> None:
        if not self.in_levels:
            return
        rng = np.random.default_rng(0)
        frames, chroma = (part.to(self.means) for part in data.batch(rng.permutation(len(data))[:MEAN_FRAMES], rng)[:2])
        levels = self.levels(frames)
        self.middle.copy_(levels.mean(0))
        self.spread.copy_(levels.std(0, correction=0).clamp_min(1.0))
        logarithms, counts = frames.clamp_min(SOFTEST**0.5).log(), chroma.sum(0)[:, None]
        self.means.copy_(torch.where(counts > 0, chroma.T @ logarithms / counts.clamp_min(1), logarithms.mean(0)))

    @property
    def conditioned(self) -> bool:
        return self.settings.skip

    def encode(self, *inputs: Tensor) -> Tensor:
        return self.distribution(*inputs)[0]

    def decode(self, latents: Tensor, chroma: Tensor) -> Tensor:
        value: Tensor = self.output(self.decoder(torch.cat([latents, chroma], 1) if self.conditioned else latents))
        if self.in_levels:
            mean = chroma @ self.means if self.conditioned else self.means.mean(0)
            return torch.exp((value + mean).clamp_max(HIGHEST))
        value = F.relu(value)
        return value * value if self.settings.domain == "root" else value

    def reconstruction(
        self, frames: Tensor, chroma: Tensor, targets: Tensor, target_chroma: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the terms; several views put targets in another key."""
        mean, log_variance = self.distribution(frames, chroma)
        latents = mean
        terms: dict[str, Tensor] = {}
        if log_variance is not None:
            noise = randn_examples(*mean.shape, generator=generator).to(mean)
            latents = mean + torch.exp(0.5 * log_variance) * noise
            terms["divergence"] = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        decoded = self.decode(latents, target_chroma)
        difference = (decoded - targets).square()
        terms["mean_square"] = difference.mean()
        terms["squares"] = difference.sum(1).mean()
        if self.weights.root_squares:
            terms["root_squares"] = (_root(decoded) - _root(targets)).square().sum(1).mean()
        if self.weights.bands:
            terms["bands"] = level_distance(self.levels(decoded), self.levels(targets))
        if self.weights.groups:
            terms["groups"] = level_distance(self.levels.groups(decoded), self.levels.groups(targets))
        if self.weights.consistency:
            terms["consistency"] = self._consistency(-(-len(frames) // FRAMES_PER_CODE), generator)
        if self.weights.uniformity:
            terms["uniformity"] = uniformity(latents, generator)
        return terms

    def distribution(self, frames: Tensor, chroma: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return latents, and log variances if variational."""
        encoder_input = self._encoder_input(frames)
        if self.settings.augmentation == "difference":
            encoder_input = torch.cat([encoder_input, encoder_input[:, 1:] - encoder_input[:, :-1]], 1)
        elif self.settings.augmentation == "chroma":
            encoder_input = torch.cat([encoder_input, chroma], 1)
        code = self.bottleneck(self.encoder(encoder_input))
        if self.settings.variational:
            mean, log_variance = code.chunk(2, 1)
            return mean, log_variance
        if self.settings.bottleneck == "sigmoid":
            return torch.sigmoid(code), None
        return F.leaky_relu(code, LEAK), None

    def _encoder_input(self, frames: Tensor) -> Tensor:
        if self.in_levels:
            levels: Tensor = self.levels(frames)
            return (levels - self.middle) / self.spread
        return frames.sqrt() if self.settings.domain == "root" else frames

    def _consistency(self, batch: int, generator: torch.Generator) -> Tensor:
        """Minus the log energy share of the requested pitch class."""
        weight = self.output.weight
        codes = rand_examples(batch, self.settings.latents, generator=generator).to(weight)
        chroma = F.one_hot(randint_examples(0, 12, batch, generator=generator), 12).to(weight)
        energy = self.decode(codes, chroma).square() @ self.pitch_classes
        share = (energy * chroma).sum(1) / energy.sum(1).clamp_min(1e-9)
        return -share.clamp_min(1e-6).log().mean()


class Levels(nn.Module):
    """Mel band levels of magnitude spectra [batch, bins] in dB re frame power: [batch, 64], triangles of height 1."""

    mel: Tensor

    def __init__(self, sample_rate: int, frame_length: int) -> None:
        from librosa.filters import mel

        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # short frames leave bands without bins: these stay at the minimum
            weights = mel(sr=sample_rate, n_fft=frame_length, n_mels=BANDS, norm=None).T
        self.register_buffer("mel", torch.from_numpy(np.ascontiguousarray(weights, np.float32)), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        power = frames * frames
        return decibels(power @ self.mel / power.sum(1, keepdim=True).clamp_min(SOFTEST))

    def groups(self, frames: Tensor) -> Tensor:
        """Return levels of each four bins' mean power."""
        return decibels(F.avg_pool1d((frames * frames)[:, None], GROUP)[:, 0])


def _root(magnitudes: Tensor) -> Tensor:
    return (magnitudes + 1e-6).sqrt()  # the slope of a square root at zero is infinite
