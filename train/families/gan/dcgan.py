"""One-dimensional DCGAN of whole clips, and an autoencoder of its halves.

Alencar's post ("Audio Generation with GANs", 2019) specifies codes of 500 numbers, clips of 64000 samples, and four
convolutions a side with ReLU, batch normalisation and dropout between dense layers with LeakyReLU. Chosen here: kernels
of 25 and strides of 4, as in WaveGAN (64000 = 250 × 4⁴); 16 to 128 channels; dropout 0.3; tanh output; a dense layer of
500 for the encoder; Adam at 2e-4, beta 0.5 and leak 0.2, as in DCGAN (Radford et al., ICLR 2016).
"""

import itertools
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...network import Adam, Autoencoder, Objective, frozen, initialise_by_glorot, seeded_dropout
from .generator import ClipGenerator, Lengthening, Shortening
from .recipe import STRIDE, DCGANNetwork, DCGANRecipe

KERNEL = 25  # samples of every layer
LEAK = 0.2  # of every LeakyReLU
BETAS = (0.5, 0.999)  # of both Adams


class DCGAN(ClipGenerator):
    objectives = (Objective("discrimination", optimiser="discriminator"), Objective("deception", optimiser="generator"))
    optimisers: Mapping[str, Adam] = {
        "discriminator": Adam(modules=("trunk", "verdict"), betas=BETAS),
        "generator": Adam(modules=("generator",), betas=BETAS),
    }
    sides: ClassVar[Mapping[str, tuple[str, ...]]] = {"discriminator": ("real", "made"), "generator": ("deception",)}

    def __init__(self, recipe: DCGANRecipe) -> None:
        super().__init__()
        settings, clip_length = recipe.network, recipe.frames.frame_length
        self.weights, self.latents = recipe.loss, settings.latents
        self.generator, self.trunk = generator(settings, clip_length), trunk(settings, clip_length)
        self.verdict = nn.Sequential(nn.LeakyReLU(LEAK), nn.Linear(settings.latents, 1))
        initialise_by_glorot(self)  # keeps the scale of activations at any depth, unlike the image DCGAN's method

    def decode(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        clips: Tensor = self.generator(latents)
        return clips

    def judge(self, clips: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the probability that clips are real, [batch]."""
        return torch.sigmoid(self._judge(clips))

    def discrimination(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the judge's cross entropies of recordings and of generated clips."""
        codes = self.draw(len(clips), generator).to(clips)
        with seeded_dropout(generator, clips.device):
            with torch.no_grad():
                generated_clips = self.decode(codes)
            return {
                "real": F.softplus(-self._judge(clips)).mean(),
                "made": F.softplus(self._judge(generated_clips)).mean(),
            }

    def deception(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the judge's surprise that generated clips are real."""
        codes = self.draw(len(clips), generator).to(clips)
        with seeded_dropout(generator, clips.device):
            return {"deception": F.softplus(-frozen(self._judge, self.decode(codes))).mean()}

    @property
    def _judge(self) -> nn.Sequential:
        """Clips [batch, frame_length] → scores, [batch]."""
        return nn.Sequential(self.trunk, self.verdict, nn.Flatten(0))


class Halves(Autoencoder):
    def __init__(self, recipe: DCGANRecipe) -> None:
        super().__init__()
        self.weights = recipe.loss
        self.generator = generator(recipe.network, recipe.frames.frame_length)
        self.trunk = trunk(recipe.network, recipe.frames.frame_length)
        initialise_by_glorot(self)

    def encode(self, *inputs: Tensor) -> Tensor:
        codes: Tensor = self.trunk(inputs[0])
        return codes

    def decode(self, latents: Tensor, label: Tensor | None = None) -> Tensor:
        clips: Tensor = self.generator(latents)
        return clips

    def reconstruction(self, clips: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        with seeded_dropout(generator, clips.device):
            return {"mean_square": (self.decode(self.encode(clips)) - clips).square().mean()}


def generator(settings: DCGANNetwork, length: int) -> nn.Sequential:
    """Codes [batch, latents] → clips [batch, length] in ±1."""
    widths = [*reversed(settings.channels), 1]
    shortest_length = length // STRIDE ** len(settings.channels)
    layers: list[nn.Module] = [
        nn.Linear(settings.latents, widths[0] * shortest_length),
        nn.LeakyReLU(LEAK),
        nn.Unflatten(1, (widths[0], shortest_length)),
    ]
    for in_channels, out_channels in itertools.pairwise(widths):
        layers += [
            Lengthening(in_channels, out_channels, KERNEL, STRIDE),
            nn.ReLU(),
            nn.BatchNorm1d(out_channels),
            nn.Dropout(settings.dropout),
        ]
    return nn.Sequential(*layers[:-3], nn.Tanh(), nn.Flatten())


def trunk(settings: DCGANNetwork, length: int) -> nn.Sequential:
    """Clips [batch, length] → codes [batch, latents]."""
    widths = [1, *settings.channels]
    shortest_length = length // STRIDE ** len(settings.channels)
    layers: list[nn.Module] = [nn.Unflatten(1, (1, length))]
    for in_channels, out_channels in itertools.pairwise(widths):
        layers += [
            Shortening(in_channels, out_channels, KERNEL, STRIDE),
            nn.ReLU(),
            nn.BatchNorm1d(out_channels) if settings.normalised_discriminator else nn.Identity(),
            nn.Dropout(settings.dropout),
        ]
    return nn.Sequential(*layers[:-2], nn.Flatten(), nn.Linear(widths[-1] * shortest_length, settings.latents))
