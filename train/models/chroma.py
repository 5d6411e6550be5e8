"""The chroma-conditioned autoencoder of Colonel & Keene (2020), section III, and what a player adds to it."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...host.dsp import chroma_bins
from ..network import Autoencoder
from ..recipes.chroma import ChromaRecipe

LEAK = 0.1  # slope of LeakyReLU below zero, equation 5
PROJECTIONS = 32  # random directions of the uniformity term; more change nothing at eight latents


class ChromaAutoencoder(Autoencoder):
    """Dense encoder and mirrored decoder over magnitude spectra.

    Shapes: frames [batch, bins], maximum 1; chroma [batch, 12], one-hot; latents [batch, latents].
    """

    def __init__(self, recipe: ChromaRecipe) -> None:
        super().__init__()
        self.settings = recipe.network
        self.weights = recipe.loss
        bins = recipe.frames.frame_length // 2 + 1
        n = self.settings.latents
        extra = {"none": 0, "difference": bins - 1, "chroma": 12}[self.settings.augmentation]
        conditions = 12 if self.settings.skip else 0
        self.encoder = _dense([bins + extra, *self.settings.hidden])
        self.bottleneck = nn.Linear(self.settings.hidden[-1], 2 * n if self.settings.variational else n)
        self.decoder = _dense([n + conditions, *reversed(self.settings.hidden)])
        self.output = nn.Linear(self.settings.hidden[0], bins)
        pitch_classes = torch.from_numpy(chroma_bins(recipe.frames.sample_rate, recipe.frames.frame_length).copy())
        self.pitch_classes: Tensor
        self.register_buffer("pitch_classes", pitch_classes, persistent=False)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):  # Keras's default, so the publication's; torch's own kills this network
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    @property
    def conditioned(self) -> bool:
        """Return whether decoding needs a chroma."""
        return self.settings.skip

    def encode(self, *inputs: Tensor) -> Tensor:
        """Latents of frames and their chroma; of a variational network, the means."""
        return self.distribution(*inputs)[0]

    def decode(self, latents: Tensor, chroma: Tensor) -> Tensor:
        """Frames of latents: magnitudes >= 0."""
        value = F.relu(self.output(self.decoder(torch.cat([latents, chroma], 1) if self.conditioned else latents)))
        return value * value if self.settings.domain == "root" else value

    def reconstruction(
        self, frames: Tensor, chroma: Tensor, targets: Tensor, target_chroma: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Terms of the loss, each a mean over the batch, by the names of the recipe's weights.

        Args:
            frames, chroma: what is encoded.
            targets, target_chroma: the same sound on another key, or the same frames: what decoding must give.
            generator: on the CPU; all that is random here comes from it.
        """
        mean, log_variance = self.distribution(frames, chroma)
        latents = mean
        terms: dict[str, Tensor] = {}
        if log_variance is not None:
            draw = torch.randn(mean.shape, generator=generator).to(mean)
            latents = mean + torch.exp(0.5 * log_variance) * draw
            terms["divergence"] = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        decoded = self.decode(latents, target_chroma)
        difference = (decoded - targets).square()
        terms["mean_square"] = difference.mean()
        terms["squares"] = difference.sum(1).mean()
        if self.weights.root_squares:
            terms["root_squares"] = (_root(decoded) - _root(targets)).square().sum(1).mean()
        if self.weights.consistency:
            terms["consistency"] = self._consistency(len(frames), generator)
        if self.weights.uniformity:
            terms["uniformity"] = self._uniformity(latents, generator)
        return terms

    def distribution(self, frames: Tensor, chroma: Tensor) -> tuple[Tensor, Tensor | None]:
        """Latents of frames, and of a variational network the logarithms of their variances."""
        value = frames.sqrt() if self.settings.domain == "root" else frames
        if self.settings.augmentation == "difference":
            value = torch.cat([value, value[:, 1:] - value[:, :-1]], 1)
        elif self.settings.augmentation == "chroma":
            value = torch.cat([value, chroma], 1)
        code = self.bottleneck(self.encoder(value))
        if self.settings.variational:
            mean, log_variance = code.chunk(2, 1)
            return mean, log_variance
        if self.settings.bottleneck == "sigmoid":
            return torch.sigmoid(code), None
        return F.leaky_relu(code, LEAK), None

    def _consistency(self, batch: int, generator: torch.Generator) -> Tensor:
        """Minus the log of the energy share in the asked pitch class, for codes from anywhere in the cube."""
        weight = self.output.weight
        codes = torch.rand(batch, self.settings.latents, generator=generator).to(weight)
        chroma = F.one_hot(torch.randint(12, (batch,), generator=generator), 12).to(weight)
        energy = self.decode(codes, chroma).square() @ self.pitch_classes
        share = (energy * chroma).sum(1) / energy.sum(1).clamp_min(1e-9)
        return -share.clamp_min(1e-6).log().mean()

    def _uniformity(self, latents: Tensor, generator: torch.Generator) -> Tensor:
        """Sliced Wasserstein distance to the uniform cube: every knob then has sound along all of its way.

        Each direction compares the sorted codes with sorted points of the cube.
        """
        directions = torch.randn(latents.shape[1], PROJECTIONS, generator=generator)
        directions = F.normalize(directions, dim=0).to(latents)
        cube = torch.rand(latents.shape, generator=generator).to(latents)
        return ((latents @ directions).sort(0).values - (cube @ directions).sort(0).values).square().mean()


def _dense(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise(widths):
        layers += [nn.Linear(inside, outside), nn.LeakyReLU(LEAK)]
    return nn.Sequential(*layers)


def _root(magnitudes: Tensor) -> Tensor:
    return (magnitudes + 1e-6).sqrt()  # the slope of a square root at zero is infinite
