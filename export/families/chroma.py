"""The chroma family: its ONNX graphs."""

import numpy as np
import torch
from torch import Tensor, nn

from ...host.errors import UserError
from ...host.kinds.card_fields import Chroma, NormalPrior, UniformPrior
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...host.units import octave_of
from ...train.corpus.store import Corpus
from ...train.families.chroma.network import ChromaAutoencoder
from ...train.families.chroma.recipe import ChromaRecipe
from ...train.frames import is_tonal
from ..fidelity.images import corpus_image
from ..gestures.build import gestures_of
from ..gestures.code_fitting import CodeFitter
from ..graphs import CODES, SEED, EncodedFrames, Graphs, velocities_of
from ..knobs.code_turn import PRIOR
from ..knobs.naming import arranged
from ..measures.frames import (
    decode,
    draw,
    encode,
    trained_classes,
)
from ..measures.sounds import silence_message
from ..reports.report import Report, ReportRequest
from .chroma_report import chroma_report
from .family import ExportFamily

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
        normalised_frames = magnitude / magnitude.amax(1, keepdim=True).clamp_min(DIVISOR)
        return self.network.encode(
            normalised_frames, chroma if chroma is not None else audio.new_zeros(audio.shape[0], 12)
        )


MIDDLE_OCTAVE = octave_of(60)  # the nominal octave of unpitched sounds


def _prior(network: ChromaAutoencoder) -> UniformPrior | NormalPrior | None:
    if network.settings.variational:
        return NormalPrior(normal=(0.0, 1.0))
    return UniformPrior(uniform=(0.0, 1.0)) if network.settings.bottleneck == "sigmoid" else None


class ChromaExport(ExportFamily[ChromaRecipe, ChromaAutoencoder]):
    recipe = "tuned-8"
    purpose = "keys will choose the note, knobs the colour"
    demo = "scale.wav"
    played = True
    unpitched = "the recordings have no clear pitch: keys will choose the colour of the sound, not its note"

    def graphs(self, network: ChromaAutoencoder, recipe: ChromaRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        """Return the graphs; `arranged` sorts and names latents where keys choose the note."""
        folded = recipe.frames.fold is not None and tonal
        training_sample = draw(corpus, "train", recipe.frames, folded, CODES, np.random.default_rng(SEED))
        if training_sample is None:
            raise UserError(silence_message(corpus, "training frame"))
        names, moves, prior = [], {}, _prior(network)
        if (ordered_latents := arranged(network, recipe, corpus, tonal)) is not None:
            network, names, prior = ordered_latents.network, ordered_latents.names, PRIOR
            moves = {name: knob.moves for name, knob in zip(names, ordered_latents.knobs, strict=True)}
        frame_notes = np.array([source.note for source in training_sample.sources], np.float64)
        frame_octaves = [octave_of(round(note)) if np.isfinite(note) else MIDDLE_OCTAVE for note in frame_notes]
        frame_labels = [source.clip.label or source.clip.name for source in training_sample.sources]
        nominal_octave = (
            recipe.frames.fold if folded and recipe.frames.fold is not None else int(np.median(frame_octaves))
        )
        decoder, encoder = ChromaDecoder(network), ChromaEncoder(network, recipe)
        chroma_settings = Chroma(
            trained=trained_classes(training_sample.pitch_classes, recipe.frames, folded),
            octave=nominal_octave,
            folded=folded,
        )
        encoded_frames = EncodedFrames(
            encode(network, training_sample.spectra, training_sample.pitch_classes),
            frame_labels,
            training_sample.pitch_classes,
            names=names,
            moves=moves,
            notes=frame_notes if np.isfinite(frame_notes).all() else None,
            velocities=velocities_of(source.clip for source in training_sample.sources),
            instruments=[source.clip.label for source in training_sample.sources],
            sound=lambda codes: network.levels(
                torch.from_numpy(decode(network, codes, chroma_settings.trained[0]))
            ).numpy(),
        )
        return Graphs(
            decoder=decoder,
            encoder=encoder,
            decoder_chroma=network.conditioned,
            encoder_chroma=network.settings.augmentation == "chroma",
            codes=encoded_frames,
            gestures=lambda model: (
                gestures_of(corpus, CodeFitter(encoder, decoder, model.card), model) if folded else None
            ),
            card={
                "kind": "spectrum",
                "domain": "magnitude",
                "hop_length": recipe.frames.hop_length,
                "window": "hann",
                "prior": prior,
                "chroma": chroma_settings if network.conditioned else None,
                "image": corpus_image(corpus),
            },
        )

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        return "keys choose the note" if tonal else "keys choose the colour"

    def changes(self, corpus: Corpus) -> list[str]:
        return [] if is_tonal(corpus) else ["loss.consistency=0.0"]  # it would force a pitch

    def report(self, request: ReportRequest) -> Report:
        """Report how a network decodes unseen frames, obeys keys and moves with its knobs."""
        return chroma_report(request)
