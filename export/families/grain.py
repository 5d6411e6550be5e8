"""The grain family: its ONNX graphs."""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.errors import UserError
from ...host.kinds.card_fields import NormalPrior
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...host.signal import window
from ...host.units import db_to_gain
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
MOST_GAIN_DB = 12.0  # of a bin: between partials there is next to nothing to compare
TOGETHER = 512  # windows, to bound memory
HOPS = 4  # per grain, for cutting sounds to encode: training uses nearly every start position
DOMAINS = {"samples": "samples", "magnitude_phase": "magnitude_phase", "noise": "magnitude"}


class GrainEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n]."""

    def __init__(self, network: GrainAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, audio: Tensor) -> Tensor:
        return self.network.encode(audio)


class LevelledDecoder(nn.Module):
    """latent [voice, n] → frame [voice, width]: a network's frame times gains, [width]."""

    gains: Tensor

    def __init__(self, network: GrainAutoencoder, gains: Array) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("gains", torch.from_numpy(gains))

    def forward(self, latent: Tensor) -> Tensor:
        frame: Tensor = self.network.decode(latent)
        return frame * self.gains


def mean_power_gains(windows: Array, frames: Array) -> Array:
    """Return gains, [width], that give frames of noise the mean power of windows in each bin, at most `MOST_GAIN_DB`.

    A network's spectra are smooth, and few numbers choose them: partials of pitched sounds lie between its bands.

    Args:
        windows: [windows, frame_length].
        frames: decoded from their codes, [windows, width], magnitudes first, as in a card of domain ``magnitude``.
    """
    length, bins = windows.shape[1], windows.shape[1] // 2 + 1
    shape = window("hann", length)
    powers, decoded_powers = np.zeros(bins), np.square(frames[:, :bins], dtype=np.float64).mean(0)
    for first in range(0, len(windows), TOGETHER):
        spectra = np.fft.rfft(windows[first : first + TOGETHER] * shape)
        powers += np.square(np.abs(spectra), dtype=np.float64).sum(0)
    powers *= length / np.square(shape, dtype=np.float64).sum() / len(windows)
    most_gain = db_to_gain(MOST_GAIN_DB)
    gains = np.ones(frames.shape[1], np.float32)
    gains[1:bins] = np.clip(np.sqrt(powers / decoded_powers)[1:], 1 / most_gain, most_gain)  # windows may have offsets
    return gains


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
    codes, decoder = network.encode(encoded_windows), cast(nn.Module, NetworkDecoder(network))
    if network.settings.domain == "noise":
        decoded = torch.cat(
            [network.decode(codes[first : first + TOGETHER]) for first in range(0, len(codes), TOGETHER)]
        )
        decoder = LevelledDecoder(network, mean_power_gains(encoded_windows.numpy(), decoded.numpy()))
    return Graphs(
        decoder=decoder,
        encoder=GrainEncoder(network),
        codes=EncodedFrames(codes.numpy(), [clip.label or clip.name for clip in window_clips]),
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
    judged = True

    def graphs(self, network: GrainAutoencoder, recipe: GrainRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        return grain_graphs(network, recipe.frames, corpus)

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        return "keys move its grains in pitch, knobs walk its sounds"

    def labels(self, recipe: GrainRecipe, corpus: Corpus) -> list[str]:
        labels = sorted({clip.label for clip in corpus.clips("train") if clip.label})
        if not labels:
            raise UserError(f"--classifier judges words, and corpus {corpus.name} has no labels; leave it out")
        return labels

    def report(self, request: ReportRequest) -> Report:
        """Report how a network decodes unseen windows, how random codes sound, and how codes are spread."""
        return grain_report(request)
