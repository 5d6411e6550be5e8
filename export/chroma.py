"""The two graphs of a chroma autoencoder, as the contract wants them."""

import torch
from torch import Tensor, nn

from ..train.models.chroma import ChromaAutoencoder
from ..train.recipe import Recipe

DIVISOR = 1e-12  # a silent frame has no maximum to be divided by


class Decoder(nn.Module):
    """latent [voice, n] (, chroma [voice, 12]) → frame [voice, bins]."""

    def __init__(self, network: ChromaAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor, chroma: Tensor | None = None) -> Tensor:
        return self.network.decode(latent, chroma if chroma is not None else latent.new_zeros(latent.shape[0], 12))


class Encoder(nn.Module):
    """audio [batch, frame_length] (, chroma [batch, 12]) → latent [batch, n]; the features are computed inside."""

    def __init__(self, network: ChromaAutoencoder, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(recipe.frames.frame_length, periodic=True))

    def forward(self, audio: Tensor, chroma: Tensor | None = None) -> Tensor:
        spectrum = torch.view_as_real(torch.fft.rfft(audio * self.window))
        magnitude = spectrum.square().sum(-1).sqrt()
        frames = magnitude / magnitude.amax(1, keepdim=True).clamp_min(DIVISOR)
        return self.network.encode(frames, chroma if chroma is not None else audio.new_zeros(audio.shape[0], 12))


def wants_chroma(network: ChromaAutoencoder) -> tuple[bool, bool]:
    """Whether the decoder, and whether the encoder, has a chroma input."""
    return network.conditioned, network.settings.augmentation == "chroma"
