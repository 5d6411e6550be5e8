"""ONNX graphs of clip generators: GANs, inverted GANs and halves of a DCGAN."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ....host.arrays import Array
from ....host.model.card import UniformPrior
from ....train.corpus.store import Corpus
from ....train.families.gan.data import places
from ....train.families.gan.dcgan import Halves
from ....train.families.gan.generator import ClipGenerator
from ....train.families.gan.recipe import ClipFrames, DCGANRecipe
from ....train.families.invert.network import Inverter
from ....train.families.invert.recipe import InvertRecipe
from ....train.recipe import Recipe
from ....train.sampling import evenly_spaced
from ...graphs import LANDMARKS, SEED, EncodedFrames, Graphs, NetworkDecoder

LOW, HIGH = -1.0, 1.0  # ends of the prior
ENCODED = 1024  # clips of a corpus to encode: of four seconds 260 MB, a batch at a time
BATCH = 32


class GanEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n]; scales audio to a peak of 1 if training did."""

    def __init__(self, network: Halves, normalised: bool) -> None:
        super().__init__()
        self.network, self.normalised = network, normalised

    def forward(self, audio: Tensor) -> Tensor:
        if self.normalised:
            audio = audio / audio.abs().amax(1, keepdim=True).clamp_min(1e-4)  # anything softer is silence
        return self.network.encode(audio)


class InverseEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n], and if ``labelled`` label scores, [batch, words]."""

    def __init__(self, network: Inverter, labelled: bool) -> None:
        super().__init__()
        self.network, self.latents, self.labelled = network.network, network.generator.latents, labelled

    def forward(self, audio: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        found: Tensor = self.network(audio)
        latent = found[:, : self.latents]
        return (latent, torch.softmax(found[:, self.latents :], 1)) if self.labelled else latent


def gan_graphs(network: ClipGenerator, recipe: Recipe, corpus: Corpus, tonal: bool) -> Graphs:
    """Return a generator's graph, and codes of its prior."""
    words = list(getattr(getattr(recipe, "network", None), "words", []))
    return Graphs(
        decoder=NetworkDecoder(network),
        encoder=None,
        decoder_chroma=False,
        encoder_chroma=False,
        codes=EncodedFrames(spread(LANDMARKS, network.latents), names(LANDMARKS, words), span=(LOW, HIGH)),
        card=_card(recipe) | {"prior": UniformPrior(uniform=(LOW, HIGH)), "labels": words},
    )


def invert_graphs(network: Inverter, recipe: InvertRecipe, corpus: Corpus, tonal: bool) -> Graphs:
    made = gan_graphs(network.generator, recipe, corpus, tonal)
    labelled = bool(recipe.network.words)
    return replace(made, encoder=InverseEncoder(network, labelled), encoder_labels=labelled)


@torch.no_grad()
def halves_graphs(network: Halves, recipe: DCGANRecipe, corpus: Corpus, tonal: bool) -> Graphs:
    found = places(corpus, "train", recipe.frames, [])
    chosen = evenly_spaced(len(found), ENCODED)
    parts = (chosen[first : first + BATCH] for first in range(0, len(chosen), BATCH))
    sounds = (found.take_clips(corpus, part, recipe.frames.normalised) for part in parts)
    codes = np.concatenate([network.encode(torch.from_numpy(sound)).numpy() for sound in sounds])
    clips = [found.clips[number] for number in found.of(chosen)]
    return Graphs(
        decoder=NetworkDecoder(network),
        encoder=GanEncoder(network, recipe.frames.normalised),
        decoder_chroma=False,
        encoder_chroma=False,
        codes=EncodedFrames(codes, [clip.label or clip.name for clip in clips]),
        card=_card(recipe) | {"prior": None},
    )


def _card(recipe: Recipe) -> dict[str, object]:
    assert isinstance(recipe.frames, ClipFrames)
    return {
        "kind": "clip",
        "domain": "samples",
        "hop_length": recipe.frames.frame_length,
        "window": "rectangular",
        "chroma": None,
    }


def spread(count: int, latents: int) -> Array:
    """Return fixed codes of the prior, [count, latents], by Latin hypercube sampling (McKay et al., 1979)."""
    rng = np.random.default_rng(SEED)
    places_of = np.argsort(rng.random((count, latents)), axis=0)
    drawn: Array = (LOW + (HIGH - LOW) * (places_of + rng.random((count, latents))) / count).astype(np.float32)
    return drawn


def names(count: int, words: list[str]) -> list[str]:
    if not words:
        return [f"code {number + 1}" for number in range(count)]
    return [f"{words[number % len(words)]} no. {number // len(words) + 1}" for number in range(count)]
