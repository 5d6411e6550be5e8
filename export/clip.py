"""The two graphs of an autoencoder of whole short sounds, as the contract wants them."""

import numpy as np
import torch
from torch import Tensor, nn

from ..host.contract.card import NormalPrior
from ..host.errors import UserError
from ..train.batches.hits import hits
from ..train.corpus.store import Corpus
from ..train.models.clip import ClipAutoencoder
from ..train.recipes.clip import HitRecipe
from .describe import CODES, SEED, Codes
from .graphs import Graphs

ROWS = 256  # clips encoded at a time
EXACT = 1 << 14  # numbers of a matrix: those of the map of codes, taken one way and back, keep single precision


class Decoder(nn.Module):
    """latent [voice, n] (, label [voice, words]) → frame [voice, width]."""

    def __init__(self, network: ClipAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        return self.network.decode(latent, label)


class Encoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n]; the features are computed inside."""

    def __init__(self, network: ClipAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, audio: Tensor) -> Tensor:
        return self.network.encode(self.network.features(audio)[0])


class Listener(Encoder):
    """audio [batch, frame_length] → latent [batch, n], and how much it is taken for each label, [batch, words]."""

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        features = self.network.features(audio)[0]
        return self.network.encode(features), self.network.heard(features)


@torch.no_grad()
def clip_graphs(network: ClipAutoencoder, recipe: HitRecipe, corpus: Corpus, tonal: bool) -> Graphs:
    """The graphs of an autoencoder of clips, and codes of training clips drawn from all over the corpus, in order.

    Raises:
        UserError: no training clip sounds.
    """
    words = recipe.network.words
    found = hits(corpus, "train", words)
    if not found.clips:
        raise UserError(f"corpus {corpus.folder} has no training clip that sounds; add louder sounds")
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(found.clips))[:CODES])
    codes = np.concatenate(
        [
            network.encode(
                network.features(torch.from_numpy(found.take(corpus, part, recipe.frames.frame_length)))[0]
            ).numpy()
            for part in np.array_split(chosen, -(-len(chosen) // ROWS))
        ]
    )
    clips = [found.clips[index] for index in chosen]
    return Graphs(
        decoder=Decoder(network),
        encoder=Listener(network) if words else Encoder(network),
        encoder_labels=bool(words),
        exact=EXACT,
        decoder_chroma=False,
        encoder_chroma=False,
        codes=Codes(codes, [clip.label if words else clip.name for clip in clips]),
        card={
            "kind": "clip",
            "domain": "magnitude",
            "hop_length": network.features.hop,
            "transform_length": network.features.transform,
            "envelope_points": network.features.points,
            "window": "hann",
            "prior": NormalPrior(normal=(0.0, 1.0)),
            "chroma": None,
            "labels": words,
        },
    )
