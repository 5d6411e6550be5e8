"""The families gan, logistic-gan, dcgan and halves: their ONNX graphs and reports."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...host.arrays import Array, Integers
from ...host.kinds.card_fields import UniformPrior
from ...train.corpus.clip_table import Split
from ...train.corpus.store import Corpus
from ...train.families.gan.data import places
from ...train.families.gan.dcgan import Halves
from ...train.families.gan.generator import ClipGenerator
from ...train.families.gan.recipe import ClipFrames, HalvesRecipe
from ...train.recipe import Recipe
from ...train.run import Run
from ...train.sampling import evenly_spaced
from ..graphs import LANDMARKS, SEED, EncodedFrames, Graphs, NetworkDecoder
from ..reports.report import Report, ReportRequest
from .clip import ClipReporter, SplitSample, clip_report, most_clips
from .family import ExportFamily

LOW, HIGH = -1.0, 1.0  # ends of the prior
ENCODED_CLIPS = 1024  # clips of a corpus to encode: of four seconds 260 MB, a batch at a time
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


def gan_graphs(network: ClipGenerator, recipe: Recipe) -> Graphs:
    """Return a generator's graph, and codes of its prior."""
    words = list(getattr(getattr(recipe, "network", None), "words", []))
    return Graphs(
        decoder=NetworkDecoder(network),
        encoder=None,
        codes=EncodedFrames(spread(LANDMARKS, network.latents), names(LANDMARKS, words), span=(LOW, HIGH)),
        card=_card(recipe) | {"prior": UniformPrior(uniform=(LOW, HIGH)), "labels": words},
    )


def _card(recipe: Recipe) -> dict[str, object]:
    """Return the card fields that all generators share."""
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
    strata = np.argsort(rng.random((count, latents)), axis=0)
    codes: Array = (LOW + (HIGH - LOW) * (strata + rng.random((count, latents))) / count).astype(np.float32)
    return codes


def names(count: int, words: list[str]) -> list[str]:
    """Name codes by number, or by label and number."""
    if not words:
        return [f"code {code_index + 1}" for code_index in range(count)]
    return [f"{words[code_index % len(words)]} no. {code_index // len(words) + 1}" for code_index in range(count)]


FITTED = (
    "This network has no prior: its random codes are drawn from a normal distribution fitted to the codes of training "
    "clips."
)


def piece_sampler(settings: ClipFrames, words: list[str]) -> Callable[[Corpus, Split], SplitSample]:
    """Return a function that reads evenly spaced clips of a split."""

    def sample(corpus: Corpus, split: Split) -> SplitSample:
        split_pieces = places(corpus, split, settings, words)
        piece_indices = evenly_spaced(len(split_pieces), most_clips(settings.frame_length))
        recording_indices = split_pieces.recordings_of(piece_indices)
        clips = split_pieces.take_clips(corpus, piece_indices, settings.normalised)
        clip_names = [split_pieces.clips[recording_index].name for recording_index in recording_indices]
        return SplitSample(split, clips, clip_names, split_pieces.labels[recording_indices], len(split_pieces))

    return sample


def generator_reporter(network: ClipGenerator | Halves, run: Run) -> ClipReporter:
    """Return the functions with which a clip report tests a generator."""
    recipe: Any = run.recipe
    words = list(getattr(recipe.network, "words", []))
    sample_split = piece_sampler(recipe.frames, words)
    parameter_count = sum(p.numel() for p in network.parameters() if p.requires_grad)
    if isinstance(network, Halves):
        generate = _fitted(network, lambda: sample_split(run.corpus(), "train").clips)
        return ClipReporter(
            sample_split,
            words,
            generate,
            _reconstructed(network),
            recipe.loss,
            parameter_count,
            recipe.network.latents,
            of_samples=True,
            code_note=FITTED,
        )
    return ClipReporter(
        sample_split,
        words,
        from_prior(network),
        None,
        recipe.loss,
        parameter_count,
        network.latents,
        of_samples=True,
        sides=network.sides,
    )


def from_prior(network: ClipGenerator) -> Callable[[Integers, int], Array]:
    """Return a function that generates clips of codes drawn from the prior."""

    @torch.no_grad()
    def generate(labels: Integers, seed: int) -> Array:
        codes = network.draw(len(labels), torch.Generator().manual_seed(seed))
        return network.decode(codes, network.rows(torch.from_numpy(labels))).numpy()

    return generate


def _fitted(network: Halves, training_clips: Callable[[], Array]) -> Callable[[Integers, int], Array]:
    """Return a function that generates clips of codes drawn from a normal distribution fitted to training codes."""
    code_batches: list[torch.Tensor] = []

    @torch.no_grad()
    def generate(labels: Integers, seed: int) -> Array:
        if not code_batches:
            code_batches.extend(
                network.encode(clip_batch) for clip_batch in torch.split(torch.from_numpy(training_clips()), BATCH)
            )
        training_codes = torch.cat(code_batches)
        mean_code = training_codes.mean(0)
        random_weights = torch.randn(len(labels), len(training_codes), generator=torch.Generator().manual_seed(seed))
        return network.decode(
            mean_code + random_weights @ (training_codes - mean_code) / max(len(training_codes) - 1, 1) ** 0.5
        ).numpy()

    return generate


def _reconstructed(network: Halves) -> Callable[[Array, Integers], Array]:
    """Return a function that encodes and decodes clips."""

    @torch.no_grad()
    def reconstruct(clips: Array, labels: Integers) -> Array:
        return network.decode(network.encode(torch.from_numpy(clips))).numpy()

    return reconstruct


class WaveGANExport(ExportFamily[Recipe, ClipGenerator]):
    judged = True

    def graphs(self, network: ClipGenerator, recipe: Recipe, corpus: Corpus, tonal: bool) -> Graphs:
        return gan_graphs(network, recipe)

    def report(self, request: ReportRequest) -> Report:
        """Report how a generator's clips compare with recordings."""
        return clip_report(request, generator_reporter(request.network, request.run))


LogisticGANExport = DCGANExport = WaveGANExport


class HalvesExport(ExportFamily[HalvesRecipe, Halves]):
    judged = True

    @torch.no_grad()
    def graphs(self, network: Halves, recipe: HalvesRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        training_pieces = places(corpus, "train", recipe.frames, [])
        piece_indices = evenly_spaced(len(training_pieces), ENCODED_CLIPS)
        index_batches = (
            piece_indices[batch_start : batch_start + BATCH] for batch_start in range(0, len(piece_indices), BATCH)
        )
        clip_batches = (
            training_pieces.take_clips(corpus, index_batch, recipe.frames.normalised) for index_batch in index_batches
        )
        codes = np.concatenate([network.encode(torch.from_numpy(clip_batch)).numpy() for clip_batch in clip_batches])
        encoded_clips = [
            training_pieces.clips[recording_index] for recording_index in training_pieces.recordings_of(piece_indices)
        ]
        return Graphs(
            decoder=NetworkDecoder(network),
            encoder=GanEncoder(network, recipe.frames.normalised),
            codes=EncodedFrames(codes, [clip.label or clip.name for clip in encoded_clips]),
            card=_card(recipe) | {"prior": None},
        )

    def report(self, request: ReportRequest) -> Report:
        """Report how a generator's clips compare with recordings."""
        return clip_report(request, generator_reporter(request.network, request.run))
