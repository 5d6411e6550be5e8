"""ONNX graphs of a grain autoencoder."""

import numpy as np
import torch
from torch import Tensor, nn

from ....host.model.card import NormalPrior
from ....train.corpus.store import Corpus
from ....train.families.grain.data import windows
from ....train.families.grain.network import GrainAutoencoder
from ....train.families.grain.recipe import GrainRecipe
from ....train.sampling import random_indices
from ...graphs import CODES, SEED, EncodedFrames, Graphs, NetworkDecoder

UNWRAPPED = 0.1  # of windows: one of 500 phases, half a turn from its predecessor, unwraps the other way
HOPS = 4  # per grain, for cutting sounds to encode: training uses nearly every start position
DOMAINS = {"samples": "samples", "magnitude_phase": "magnitude_phase", "noise": "magnitude"}


class GrainEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n]."""

    def __init__(self, network: GrainAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, audio: Tensor) -> Tensor:
        return self.network.encode(audio)


@torch.no_grad()
def grain_graphs(network: GrainAutoencoder, recipe: GrainRecipe, corpus: Corpus, tonal: bool) -> Graphs:
    found = windows(corpus, "train", recipe.frames)
    places = random_indices(len(found), CODES, np.random.default_rng(SEED))
    sounds = torch.from_numpy(found.take_grains(corpus, places, recipe.frames.frame_length))
    clips = [found.clips[number] for number in found.places(places).clip.tolist()]
    adversarial = bool(network.settings.adjudicator)
    return Graphs(
        decoder=NetworkDecoder(network),
        encoder=GrainEncoder(network),
        decoder_chroma=False,
        encoder_chroma=False,
        codes=EncodedFrames(network.encode(sounds).numpy(), [clip.label or clip.name for clip in clips]),
        card={
            "kind": "grain",
            "domain": DOMAINS[network.settings.domain],
            "hop_length": recipe.frames.frame_length // HOPS,
            "window": "blackman",
            "prior": NormalPrior(normal=(0.0, network.settings.deviation)) if adversarial else None,
            "chroma": None,
            "envelope_points": network.settings.envelope_points or 0,
        },
        strays=UNWRAPPED if network.settings.domain == "magnitude_phase" else 0.0,
    )
