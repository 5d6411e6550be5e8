"""The grain family: its ONNX graphs."""

import numpy as np
import torch
from torch import Tensor, nn

from ...host.kinds.card_fields import NormalPrior
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...train.corpus.store import Corpus
from ...train.families.grain.data import windows
from ...train.families.grain.network import GrainAutoencoder
from ...train.families.grain.recipe import GrainFrames, GrainRecipe
from ...train.sampling import random_indices
from ..fidelity.images import mean_image
from ..graphs import CODES, SEED, EncodedFrames, Graphs, NetworkDecoder
from ..reports.report import Report, ReportRequest
from .family import ExportFamily
from .grain_report import grain_report

UNWRAP_STRAYS = 0.1  # of windows: one of 500 phases, half a turn from its predecessor, unwraps the other way
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
def grain_graphs(network: GrainAutoencoder, frames: GrainFrames, corpus: Corpus) -> Graphs:
    """Return decoder, encoder, codes of training windows and card fields of a network of grains."""
    training_windows = windows(corpus, "train", frames)
    window_indices = random_indices(len(training_windows), CODES, np.random.default_rng(SEED))
    encoded_windows = torch.from_numpy(training_windows.take_grains(corpus, window_indices, frames.frame_length))
    window_clips = [
        training_windows.clips[clip_index] for clip_index in training_windows.places(window_indices).clip.tolist()
    ]
    is_adversarial = bool(network.settings.adjudicator)
    return Graphs(
        decoder=NetworkDecoder(network),
        encoder=GrainEncoder(network),
        codes=EncodedFrames(
            network.encode(encoded_windows).numpy(), [clip.label or clip.name for clip in window_clips]
        ),
        card={
            "kind": "grain",
            "domain": DOMAINS[network.settings.domain],
            "hop_length": frames.frame_length // HOPS,
            "window": "blackman",
            "prior": NormalPrior(normal=(0.0, network.settings.deviation)) if is_adversarial else None,
            "chroma": None,
            "envelope_points": network.settings.envelope_points or 0,
            "image": mean_image(corpus),
        },
        strays=UNWRAP_STRAYS if network.settings.domain == "magnitude_phase" else 0.0,
    )


class GrainExport(ExportFamily[GrainRecipe, GrainAutoencoder]):
    recipe = "texture-10"
    purpose = "a texture of grains, which keys move and knobs walk"
    demo = "texture.wav"
    completing = ("frames.held_out=0",)
    sided = True

    def graphs(self, network: GrainAutoencoder, recipe: GrainRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        return grain_graphs(network, recipe.frames, corpus)

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        return "keys move its grains in pitch, knobs walk its sounds"

    def report(self, request: ReportRequest) -> Report:
        """Report how a network decodes unseen windows, how random codes sound, and how codes are spread."""
        return grain_report(request)
