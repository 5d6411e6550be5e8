"""The invert family: its generator's graph with an encoder, and its report."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from ...host.arrays import Array, Integers
from ...train.corpus.store import Corpus
from ...train.families.invert.network import Inverter
from ...train.families.invert.recipe import InvertRecipe
from ..graphs import Graphs
from ..reports.report import Report, ReportRequest
from .clip import ClipReporter, clip_report
from .family import ExportFamily
from .gan import BATCH, from_prior, gan_graphs, piece_sampler


class InverseEncoder(nn.Module):
    """audio [batch, frame_length] → latent [batch, n], and if ``labelled`` label scores, [batch, words]."""

    def __init__(self, network: Inverter, labelled: bool) -> None:
        super().__init__()
        self.network, self.latents, self.labelled = network.network, network.generator.latents, labelled

    def forward(self, audio: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        predictions: Tensor = self.network(audio)
        latent = predictions[:, : self.latents]
        return (latent, torch.softmax(predictions[:, self.latents :], 1)) if self.labelled else latent


def _inverted(network: Inverter) -> Callable[[Array, Integers], Array]:
    """Return a function that encodes and decodes clips in batches."""

    @torch.no_grad()
    def reconstruct(clips: Array, labels: Integers) -> Array:
        labelled_batches = zip(
            *(torch.split(torch.from_numpy(whole_array), BATCH) for whole_array in (clips, labels)), strict=True
        )
        return torch.cat([network.reconstruct(*clips_and_labels) for clips_and_labels in labelled_batches]).numpy()

    return reconstruct


class InvertExport(ExportFamily[InvertRecipe, Inverter]):
    judged = True

    def graphs(self, network: Inverter, recipe: InvertRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        generator_graphs = gan_graphs(network.generator, recipe)
        labelled = bool(recipe.network.words)
        return replace(generator_graphs, encoder=InverseEncoder(network, labelled), encoder_labels=labelled)

    def report(self, request: ReportRequest) -> Report:
        """Report how recordings come back, and how the generator's clips compare with them."""
        network, recipe = request.network, request.run.recipe
        assert isinstance(recipe, InvertRecipe)
        sample_split = piece_sampler(recipe.frames, recipe.network.words)
        generate, reconstruct = from_prior(network.generator), _inverted(network)
        weight_count = sum(p.numel() for p in network.network.parameters())
        reporter = ClipReporter(
            sample_split,
            recipe.network.words,
            generate,
            reconstruct,
            recipe.loss,
            weight_count,
            network.generator.latents,
            of_samples=True,
        )
        return clip_report(request, reporter)
