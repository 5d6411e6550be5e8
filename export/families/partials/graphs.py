"""ONNX graphs of a partials autoencoder."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ....host.errors import UserError
from ....host.model.card import PITCH_CLASSES, UniformPrior
from ....train.corpus.store import Corpus
from ....train.families.partials.network import PartialsAutoencoder, pieces, taken
from ....train.families.partials.recipe import PartialsRecipe
from ....train.frames import sources
from ....train.sampling import random_indices
from ...gestures.build import gestures_of
from ...gestures.code_fitting import PitchedCodeFitter
from ...graphs import CODES, SEED, EncodedFrames, Graphs
from ...knobs.naming import arranged_partials
from ...measures.sounds import silence_message


class PartialsDecoder(nn.Module):
    """latent [voice, n], pitch [voice, 1] → frame [voice, harmonics + bands]."""

    def __init__(self, network: PartialsAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor, pitch: Tensor) -> Tensor:
        return self.network.decode(latent, pitch[:, 0])


class PartialsEncoder(nn.Module):
    """audio [batch, frame_length], pitch [batch, 1] → latent [batch, n]."""

    def __init__(self, network: PartialsAutoencoder, recipe: PartialsRecipe) -> None:
        super().__init__()
        self.network = network
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(recipe.frames.frame_length, periodic=True))

    def forward(self, audio: Tensor, pitch: Tensor) -> Tensor:
        spectrum = torch.view_as_real(torch.fft.rfft(audio * self.window))
        levels = self.network.bands.of_power(spectrum.square().sum(-1))
        return self.network.placed(levels, pitch[:, 0])


def partials_graphs(network: PartialsAutoencoder, recipe: PartialsRecipe, corpus: Corpus, tonal: bool) -> Graphs:
    frames = recipe.frames
    found = list(sources(corpus, "train", frames, tonal=True))
    if not found:
        raise UserError(silence_message(corpus, "training frame"))
    few = [found[i] for i in random_indices(len(found), CODES, np.random.default_rng(SEED))]
    knobs = arranged_partials(network, recipe, corpus)
    network = knobs.network
    pitches = np.array([source.note for source in few], np.float32)
    with torch.no_grad():
        levels = torch.from_numpy(taken(pieces(corpus, few, frames), pitches, frames))
        latents = network.encode(levels, torch.from_numpy(pitches)).numpy()
    low, high = frames.span
    middle = torch.tensor([(low + high) / 2])
    decoder, encoder = PartialsDecoder(network), PartialsEncoder(network, recipe)

    @torch.no_grad()
    def sound(codes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        pitch = middle.expand(len(codes))
        levels: npt.NDArray[np.float32] = network.bands(network.decode(torch.from_numpy(codes), pitch), pitch).numpy()
        return levels

    codes = EncodedFrames(
        latents,
        [source.clip.label or source.clip.name for source in few],
        np.round(pitches).astype(np.int64) % PITCH_CLASSES,
        names=knobs.names,
        moves={name: knob.moves for name, knob in zip(knobs.names, knobs.knobs, strict=True)},
        sound=sound,
    )
    return Graphs(
        decoder=decoder,
        encoder=encoder,
        decoder_chroma=False,
        encoder_chroma=False,
        pitched=True,
        codes=codes,
        gestures=lambda model: gestures_of(
            corpus, PitchedCodeFitter(encoder, decoder, model.card, network.bands), model
        ),
        card={
            "kind": "partials",
            "domain": "partials",
            "hop_length": frames.hop_length,
            "window": "hann",
            "prior": UniformPrior(uniform=(0.0, 1.0)),
            "chroma": None,
            "directions": knobs.directions,
            "partials": frames.layout,
        },
    )
