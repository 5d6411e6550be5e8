"""ONNX graphs of a network that continues sound."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ....host.errors import UserError
from ....host.kinds.stream import FED
from ....host.model.card import RecurrentState, Scaling, StreamLayout
from ....train.corpus.store import Corpus
from ....train.families.sequence.network import BATCH, Piece, RecurrentNetwork, delayed, following, padded, pieces
from ....train.families.sequence.recipe import SequenceRecipe
from ....train.sampling import evenly_spaced
from ...graphs import CODES, EncodedFrames, Graphs

LEVELS = (0.1, 99.9)  # percentiles of frames' levels: the range that the host's limiter passes
QUIETEST_DB = -120.0  # of full scale: the level of silence


class SequenceDecoder(nn.Module):
    """latent [voice, n], noise, previous [voice, width], h, c [voice, layers, size] → frame, and each next state.

    The LSTM is written out gate by gate, with torch's weights: h is each layer's output, c its cell state.
    ``residual``, the deviation of the training error at each position, scales the noise.
    """

    residual: Tensor

    def __init__(self, network: RecurrentNetwork, residual: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("residual", residual)

    def forward(
        self, latent: Tensor, noise: Tensor, previous: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        memory = self.network.memory
        value = self.network.into(torch.cat([previous, latent], 1))
        given, kept = [], []
        for layer in range(memory.num_layers):
            weights = (getattr(memory, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            ours, back, bias, more = weights
            gates = value @ ours.T + h[:, layer] @ back.T + (bias + more)
            enter, forget, cell, leave = gates.chunk(4, 1)
            now = torch.sigmoid(forget) * c[:, layer] + torch.sigmoid(enter) * torch.tanh(cell)
            value = torch.sigmoid(leave) * torch.tanh(now)
            given.append(value)
            kept.append(now)
        frame = self.network.out(value) + noise * self.residual
        return frame, frame.clone(), torch.stack(given, 1), torch.stack(kept, 1)


class SequenceEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n], the mean of learned codes, and ``previous``."""

    def __init__(self, network: RecurrentNetwork) -> None:
        super().__init__()
        self.standard, self.latents = network.standard, network.settings.latents

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        return audio.new_zeros(audio.shape[0], self.latents), self.standard(audio)


@torch.no_grad()
def sequence_graphs(network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus, tonal: bool) -> Graphs:
    """Return the graphs, and the codes of the training recordings.

    Raises:
        UserError: the corpus is not the training corpus.
    """
    found, settings = pieces(corpus, "train", recipe.frames), recipe.network
    if len(found) != settings.clips:
        raise UserError(
            f"corpus {corpus.folder} has {len(found)} training sequences, and the run has codes for {settings.clips}; "
            "put the corpus back that it was trained on"
        )
    standard, width = network.standard, network.standard.width
    residual, levels = measured(network, recipe, corpus, found)
    shape = [settings.layers, settings.size]
    return Graphs(
        decoder=SequenceDecoder(network, residual),
        encoder=SequenceEncoder(network),
        decoder_chroma=False,
        encoder_chroma=False,
        codes=EncodedFrames(network.codes(torch.arange(len(found))).numpy(), [piece.name for piece in found]),
        card={
            "kind": "stream",
            "domain": recipe.frames.domain,
            "hop_length": recipe.frames.hop_length,
            "window": "rectangular",
            "prior": None,
            "chroma": None,
            "scaling": Scaling(mean=standard.mean.tolist(), deviation=standard.deviation.tolist()),
            "stream": StreamLayout(step_length=recipe.frames.hop_length, noise=width, levels_db=levels),
        },
        state=[
            RecurrentState(name=FED, shape=[width]),
            RecurrentState(name="h", shape=shape),
            RecurrentState(name="c", shape=shape),
        ],
    )


def measured(
    network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus, found: Sequence[Piece]
) -> tuple[Tensor, tuple[float, float]]:
    """Return the prediction error's deviation, [width], and the range of frame levels in dB."""
    squares, count, levels = torch.zeros(network.standard.width), 0, []
    for sounds, counts, numbers in _some(corpus, recipe, found):
        frames = network.standard(sounds)
        error = (network.predict(delayed(frames), network.codes(numbers))[0] - frames).square()
        followed = following(error, counts)
        squares, count = squares + error[followed].sum(0), count + int(followed.sum())
        levels += [sound[:frames].square().mean(1) for sound, frames in zip(sounds, counts.tolist(), strict=True)]
    decibels = 10 * torch.cat(levels).clamp_min(10 ** (QUIETEST_DB / 10)).log10().numpy()
    low, high = np.percentile(decibels, LEVELS)
    return (squares / count).sqrt(), (round(float(low), 2), round(float(high), 2))


def _some(corpus: Corpus, recipe: SequenceRecipe, found: Sequence[Piece]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    most = max(1, CODES * len(found) // sum(piece.frames for piece in found))
    chosen = np.unique(evenly_spaced(len(found), most))
    for first in range(0, len(chosen), BATCH):
        part = chosen[first : first + BATCH]
        yield *padded(corpus, [found[number] for number in part], recipe.frames), torch.from_numpy(part)
