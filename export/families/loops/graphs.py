"""ONNX graphs of a loop network."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ....host.errors import UserError
from ....host.kinds.stream import FED, PLACE
from ....host.model.card import NormalPrior, RecurrentState, StreamLayout
from ....train.corpus.store import Corpus
from ....train.families.loops.data import loops, sliced
from ....train.families.loops.network import LoopNetwork, harmonics
from ....train.families.loops.recipe import LoopRecipe
from ...graphs import EncodedFrames, Graphs
from ...measures.sounds import silence_message
from ..sequence.graphs import LEVELS, QUIETEST_DB
from .steering import SteeringRotation, effects, fit_rotation, steering

STRAYS = 0.02  # of steps: between two almost equally likely slices, rounding decides


class LoopDecoder(nn.Module):
    """latent, noise [voice, prototypes], previous [voice, components], place [voice, 1], h, c [voice, 1, size] → frame
    [voice, width] and each next state.

    The LSTM is written out as in `SequenceDecoder`.
    """

    middle: Tensor
    ways: Tensor

    def __init__(self, network: LoopNetwork, rotation: SteeringRotation) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("middle", torch.from_numpy(rotation.middle).float())
        self.register_buffer("ways", torch.from_numpy(rotation.directions).float())

    def forward(
        self, latent: Tensor, noise: Tensor, previous: Tensor, place: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        network = self.network
        steered = self.middle + latent @ self.ways
        told = torch.cat([previous, harmonics(place[:, 0], network.bar // 2), steered], 1)
        ours, back, bias, more = network.memory.all_weights[0]
        gates = told @ ours.T + h[:, 0] @ back.T + (bias + more)
        enter, forget, cell, leave = gates.chunk(4, 1)
        kept = torch.sigmoid(forget) * c[:, 0] + torch.sigmoid(enter) * torch.tanh(cell)
        after = torch.sigmoid(leave) * torch.tanh(kept)
        codes = network.bent(after, network.drawn(after, noise, steered), steered)
        later = place + 1 / network.bar
        step = torch.round(place * network.bar)
        late = network.late(steered) * (step - 2 * torch.floor(step / 2))
        slices = network.features.delayed(network.decoded(codes), network.decoded(previous), late)
        frame = network.features.frames(slices)
        return frame, codes, later - torch.floor(later), after[:, None], kept[:, None]


class LoopEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n], to average over a loop, and ``previous``."""

    middle: Tensor
    back: Tensor

    def __init__(self, network: LoopNetwork, rotation: SteeringRotation) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("middle", torch.from_numpy(rotation.middle).float())
        self.register_buffer("back", torch.from_numpy(rotation.inverse).float())

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        codes = self.network.coded(self.network.features.raw(audio))
        return (self.network.steering_codes(codes) - self.middle) @ self.back, codes


@torch.no_grad()
def loop_graphs(network: LoopNetwork, recipe: LoopRecipe, corpus: Corpus, tonal: bool) -> Graphs:
    """Return the graphs, with weights rounded to half precision.

    Later rounding could choose another slice than torch.
    """
    found = loops(corpus, "train", recipe)
    if not found:
        raise UserError(silence_message(corpus, "training loop", "add loops"))
    network = rounded(network)
    rotation = fit_rotation(network, recipe, corpus)
    encoder = LoopEncoder(network, rotation)
    slices = [torch.from_numpy(sliced(corpus.samples(clip), recipe)) for clip in found]
    codes = np.stack([encoder(loop)[0].mean(0).numpy() for loop in slices])
    low, high = level_range(slices)
    seen, settings, frames = network.features, recipe.network, recipe.frames
    size = [1, settings.size]
    return Graphs(
        decoder=LoopDecoder(network, rotation),
        encoder=encoder,
        strays=STRAYS,
        decoder_chroma=False,
        encoder_chroma=False,
        codes=EncodedFrames(
            codes,
            [clip.name for clip in found],
            span=(np.minimum(rotation.ends[0], codes.min(0)), np.maximum(rotation.ends[1], codes.max(0))),
            names=rotation.names,
            moves=effects(steering(network, recipe, rotation)),
        ),
        card={
            "kind": "stream",
            "domain": "magnitude",
            "hop_length": seen.hop,
            "transform_length": seen.transform,
            "envelope_points": seen.points,
            "window": "hann",
            "prior": NormalPrior(normal=(0.0, 1.0)),
            "chroma": None,
            "stream": StreamLayout(
                step_length=frames.hop_length,
                steps_per_beat=frames.steps_per_beat,
                beats_per_bar=frames.beats_per_bar,
                noise=settings.prototypes,
                levels_db=(round(low, 2), round(high, 2)),
            ),
        },
        state=[
            RecurrentState(name=FED, shape=[settings.components]),
            RecurrentState(name=PLACE, shape=[1]),
            RecurrentState(name="h", shape=size),
            RecurrentState(name="c", shape=size),
        ],
    )


def rounded(network: LoopNetwork) -> LoopNetwork:
    copied = copy.deepcopy(network)
    for values in (*copied.parameters(), *copied.buffers()):
        if values.ndim > 1:
            values.copy_(values.half().float())
    return copied


def level_range(slices: Sequence[Tensor]) -> tuple[float, float]:
    """Return the RMS range of slices [steps, samples], in dB of full scale."""
    power = torch.cat([loop.square().mean(1) for loop in slices])
    low, high = np.percentile(10 * power.clamp_min(10 ** (QUIETEST_DB / 10)).log10().numpy(), LEVELS)
    return float(low), float(high)
