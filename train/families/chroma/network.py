"""Chroma-conditioned autoencoder of Colonel & Keene (2020), section III, with extensions for playing."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....host.signal import chroma_bins
from ....host.spectra import mel_triangles
from ...data import Data
from ...network import (
    BANDS,
    LEAK,
    SOFTEST,
    Autoencoder,
    constant,
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

    def __init__(self, recipe: ChromaRecipe) -> None:
        super().__init__()
        self.settings = recipe.network
        self.weights = recipe.loss
        bin_count = recipe.frames.frame_length // 2 + 1
        n = self.settings.latents
        self.levels = Levels(recipe.frames.sample_rate, recipe.frames.frame_length)
        input_width = BANDS if self.in_levels else bin_count
        extra_width = {"none": 0, "difference": input_width - 1, "chroma": 12}[self.settings.augmentation]
        condition_width = 12 if self.settings.skip else 0
        self.encoder = dense([input_width + extra_width, *self.settings.hidden])
        self.bottleneck = nn.Linear(self.settings.hidden[-1], 2 * n if self.settings.variational else n)
        self.rotation: nn.Module = nn.Identity()  # of sigmoid latents; export turns them
        self.decoder = dense([n + condition_width, *reversed(self.settings.hidden)])
        self.output = nn.Linear(self.settings.hidden[0], bin_count)
        self.pitch_classes = constant(chroma_bins(recipe.frames.sample_rate, recipe.frames.frame_length))
        initialise_by_glorot(self)  # Keras's default, as in the publication; this network dies with torch's
        if self.in_levels:
            self.means = nn.Parameter(torch.zeros(12, bin_count))
            self.middle, self.spread = nn.Buffer(torch.zeros(BANDS)), nn.Buffer(torch.ones(BANDS))

    @property
    def in_levels(self) -> bool:
        return self.settings.domain == "level"

    @torch.no_grad()
    def initialise(self, data: Data[Any]) -> None:
        """Measure band levels, and the mean log magnitudes of each pitch class, of training frames."""
        if not self.in_levels:
            return
        rng = np.random.default_rng(0)
        frames, chroma = (
            batch_tensor.to(self.means)
            for batch_tensor in data.batch(rng.permutation(len(data))[:MEAN_FRAMES], rng)[:2]
        )
        band_levels = self.levels(frames)
        self.middle.copy_(band_levels.mean(0))
        self.spread.copy_(band_levels.std(0, correction=0).clamp_min(1.0))
        log_magnitudes, class_counts = frames.clamp_min(SOFTEST**0.5).log(), chroma.sum(0)[:, None]
        self.means.copy_(
            torch.where(class_counts > 0, chroma.T @ log_magnitudes / class_counts.clamp_min(1), log_magnitudes.mean(0))
        )

    @property
    def conditioned(self) -> bool:
        return self.settings.skip

    def encode(self, *inputs: Tensor) -> Tensor:
        return self.distribution(*inputs)[0]

    def decode(self, latents: Tensor, chroma: Tensor) -> Tensor:
        """Return magnitude spectra, [batch, bins]."""
        decoder_outputs: Tensor = self.output(
            self.decoder(torch.cat([latents, chroma], 1) if self.conditioned else latents)
        )
        if self.in_levels:
            mean_nepers = chroma @ self.means if self.conditioned else self.means.mean(0)
            return torch.exp((decoder_outputs + mean_nepers).clamp_max(HIGHEST))
        decoder_outputs = F.relu(decoder_outputs)
        return decoder_outputs * decoder_outputs if self.settings.domain == "root" else decoder_outputs

    def reconstruction(
        self, frames: Tensor, chroma: Tensor, targets: Tensor, target_chroma: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the terms; several views put targets in another key."""
        latent_means, log_variance = self.distribution(frames, chroma)
        latents = latent_means
        terms: dict[str, Tensor] = {}
        if log_variance is not None:
            noise = randn_examples(*latent_means.shape, generator=generator).to(latent_means)
            latents = latent_means + torch.exp(0.5 * log_variance) * noise
            terms["divergence"] = 0.5 * (latent_means.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        decoded_frames = self.decode(latents, target_chroma)
        squared_errors = (decoded_frames - targets).square()
        terms["mean_square"] = squared_errors.mean()
        terms["squares"] = squared_errors.sum(1).mean()
        if self.weights.root_squares:
            terms["root_squares"] = (_root(decoded_frames) - _root(targets)).square().sum(1).mean()
        if self.weights.bands:
            terms["bands"] = level_distance(self.levels(decoded_frames), self.levels(targets))
        if self.weights.groups:
            terms["groups"] = level_distance(self.levels.groups(decoded_frames), self.levels.groups(targets))
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
        bottleneck_outputs = self.bottleneck(self.encoder(encoder_input))
        if self.settings.variational:
            latent_means, log_variance = bottleneck_outputs.chunk(2, 1)
            return latent_means, log_variance
        if self.settings.bottleneck == "sigmoid":
            return self.rotation(torch.sigmoid(bottleneck_outputs)), None
        return F.leaky_relu(bottleneck_outputs, LEAK), None

    def _encoder_input(self, frames: Tensor) -> Tensor:
        if self.in_levels:
            band_levels: Tensor = self.levels(frames)
            return (band_levels - self.middle) / self.spread
        return frames.sqrt() if self.settings.domain == "root" else frames

    def _consistency(self, batch: int, generator: torch.Generator) -> Tensor:
        """Minus the log energy share of the requested pitch class."""
        output_weights = self.output.weight
        codes = rand_examples(batch, self.settings.latents, generator=generator).to(output_weights)
        chroma = F.one_hot(randint_examples(0, 12, batch, generator=generator), 12).to(output_weights)
        class_energies = self.decode(codes, chroma).square() @ self.pitch_classes
        energy_shares = (class_energies * chroma).sum(1) / class_energies.sum(1).clamp_min(1e-9)
        return -energy_shares.clamp_min(1e-6).log().mean()


class Levels(nn.Module):
    """Mel band levels of magnitude spectra [batch, bins] in dB re frame power: [batch, 64], triangles of height 1."""

    def __init__(self, sample_rate: int, frame_length: int) -> None:
        super().__init__()
        # Short frames leave bands without bins: these stay at the minimum.
        self.mel = constant(np.ascontiguousarray(mel_triangles(sample_rate, frame_length, BANDS).T))

    def forward(self, frames: Tensor) -> Tensor:
        bin_powers = frames * frames
        return decibels(bin_powers @ self.mel / bin_powers.sum(1, keepdim=True).clamp_min(SOFTEST))

    def groups(self, frames: Tensor) -> Tensor:
        """Return levels of each four bins' mean power."""
        return decibels(F.avg_pool1d((frames * frames)[:, None], GROUP)[:, 0])


def _root(magnitudes: Tensor) -> Tensor:
    return (magnitudes + 1e-6).sqrt()  # the slope of a square root at zero is infinite
