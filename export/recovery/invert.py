"""The graphs of a generator and of the network that inverts it: a model that places any sound."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from ...train.corpus.store import Corpus
from ...train.models.invert import Inverter
from ...train.recipes.invert import InvertRecipe
from ..gan import gan_graphs
from ..graphs import Graphs


class Encoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n]; the spectrogram is computed inside."""

    def __init__(self, network: Inverter) -> None:
        super().__init__()
        self.network, self.latents = network.network, network.generator.latents

    def forward(self, audio: Tensor) -> Tensor:
        return self._placed(audio)[:, : self.latents]

    def _placed(self, audio: Tensor) -> Tensor:
        placed: Tensor = self.network(audio)
        return placed


class Listener(Encoder):
    """audio [batch, frame_length] → latent [batch, n], and how much it is taken for each label, [batch, words]."""

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        placed = self._placed(audio)
        return placed[:, : self.latents], torch.softmax(placed[:, self.latents :], 1)


def invert_graphs(network: Inverter, recipe: InvertRecipe, corpus: Corpus, tonal: bool) -> Graphs:
    """The graph of the generator that was inverted, as it was then, and that of the network that inverts it."""
    made = gan_graphs(network.generator, recipe, corpus, tonal)
    words = bool(recipe.network.words)
    encoder = (Listener if words else Encoder)(network)
    return replace(made, encoder=encoder, encoder_labels=words)
