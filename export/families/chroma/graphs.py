"""ONNX graphs of a chroma autoencoder."""

import numpy as np
import torch
from torch import Tensor, nn

from ....host.errors import UserError
from ....host.model.card import Chroma, NormalPrior, UniformPrior
from ....host.units import octave_of
from ....train.corpus.store import Corpus
from ....train.families.chroma.network import ChromaAutoencoder
from ....train.families.chroma.recipe import ChromaRecipe
from ...gestures.build import gestures_of
from ...gestures.code_fitting import CodeFitter
from ...graphs import CODES, SEED, EncodedFrames, Graphs
from ...knobs.naming import arranged
from ...measures.frames import decode, draw, encode, trained_classes
from ...measures.sounds import silence_message

DIVISOR = 1e-12  # avoids dividing by the maximum of a silent frame, 0


class ChromaDecoder(nn.Module):
    """latent [voice, n] (, chroma [voice, 12]) → frame [voice, bins]."""

    def __init__(self, network: ChromaAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor, chroma: Tensor | None = None) -> Tensor:
        return self.network.decode(latent, chroma if chroma is not None else latent.new_zeros(latent.shape[0], 12))


class ChromaEncoder(nn.Module):
    """audio [batch, frame_length] (, chroma [batch, 12]) → latent [batch, n]."""

    def __init__(self, network: ChromaAutoencoder, recipe: ChromaRecipe) -> None:
        super().__init__()
        self.network = network
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(recipe.frames.frame_length, periodic=True))

    def forward(self, audio: Tensor, chroma: Tensor | None = None) -> Tensor:
        spectrum = torch.view_as_real(torch.fft.rfft(audio * self.window))
        magnitude = spectrum.square().sum(-1).sqrt()
        frames = magnitude / magnitude.amax(1, keepdim=True).clamp_min(DIVISOR)
        return self.network.encode(frames, chroma if chroma is not None else audio.new_zeros(audio.shape[0], 12))


MIDDLE_OCTAVE = octave_of(60)  # the nominal octave of unpitched sounds


def chroma_graphs(network: ChromaAutoencoder, recipe: ChromaRecipe, corpus: Corpus, tonal: bool) -> Graphs:
    """Return the graphs; `arranged` sorts and names latents where keys choose the note."""
    folded = recipe.frames.fold is not None and tonal
    sample = draw(corpus, "train", recipe.frames, folded, CODES, np.random.default_rng(SEED))
    if sample is None:
        raise UserError(silence_message(corpus, "training frame"))
    knobs = arranged(network, recipe, corpus, tonal)
    network = network if knobs is None else knobs.network
    octaves = [octave_of(round(s.note)) if np.isfinite(s.note) else MIDDLE_OCTAVE for s in sample.sources]
    labels = [source.clip.label or source.clip.name for source in sample.sources]
    octave = recipe.frames.fold if folded and recipe.frames.fold is not None else int(np.median(octaves))
    decoder, encoder = ChromaDecoder(network), ChromaEncoder(network, recipe)
    chroma = Chroma(trained=trained_classes(sample.pitch_classes, recipe.frames, folded), octave=octave, folded=folded)
    codes = EncodedFrames(
        encode(network, sample.spectra, sample.pitch_classes),
        labels,
        sample.pitch_classes,
        names=[] if knobs is None else knobs.names,
        moves={} if knobs is None else {name: knob.moves for name, knob in zip(knobs.names, knobs.knobs, strict=True)},
        sound=lambda codes: network.levels(torch.from_numpy(decode(network, codes, chroma.trained[0]))).numpy(),
    )
    return Graphs(
        decoder=decoder,
        encoder=encoder,
        decoder_chroma=network.conditioned,
        encoder_chroma=network.settings.augmentation == "chroma",
        codes=codes,
        gestures=lambda model: gestures_of(corpus, CodeFitter(encoder, decoder, model.card), model) if folded else None,
        card={
            "kind": "spectrum",
            "domain": "magnitude",
            "hop_length": recipe.frames.hop_length,
            "window": "hann",
            "prior": _prior(network),
            "chroma": chroma if network.conditioned else None,
            "directions": [] if knobs is None else knobs.directions,
        },
    )


def _prior(network: ChromaAutoencoder) -> UniformPrior | NormalPrior | None:
    if network.settings.variational:
        return NormalPrior(normal=(0.0, 1.0))
    return UniformPrior(uniform=(0.0, 1.0)) if network.settings.bottleneck == "sigmoid" else None
