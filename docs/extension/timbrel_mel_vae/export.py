"""Graphs of the network for hosts, and its report."""

import torch
from timbrel.export.families.family import ExportFamily
from timbrel.export.graphs import CODES, EncodedFrames, Graphs, NetworkDecoder
from timbrel.export.reports.frame_figures import loss_curve
from timbrel.export.reports.page import report_page
from timbrel.export.reports.report import Report, ReportRequest, judged, losses
from timbrel.host.kinds.card_fields import DeclaredDomain, NormalPrior
from timbrel.host.model.model import Model
from timbrel.host.preset.preset import Preset
from timbrel.train.corpus.store import Corpus
from timbrel.train.sampling import evenly_spaced

from .kind import DOMAIN, MEANING, MelKind
from .recipe import MelRecipe
from .training import MelFamily, MelVAE


class MelEncoder(torch.nn.Module):
    def __init__(self, network: MelVAE) -> None:
        super().__init__()
        self.network = network

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        return self.network.encode(audio)


class MelExport(ExportFamily[MelRecipe, MelVAE]):
    recipe = "mel-vae"  # `make --family mel-vae` trains it
    purpose = "keys will choose the note, knobs the spectrum"
    demo = "scale.wav"

    @torch.no_grad()
    def graphs(self, network: MelVAE, recipe: MelRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        data = MelFamily().data(corpus, recipe, corpus.folder)
        latents = network.encode(*data.spread(CODES)).numpy()
        labels = [data.train[int(index)].clip.name for index in evenly_spaced(len(data), CODES)]
        card = {
            "kind": MelKind.name,
            "domain": DeclaredDomain(name=DOMAIN, width=recipe.network.bands, meaning=MEANING),
            "hop_length": recipe.frames.hop_length,
            "window": "hann",
            "prior": NormalPrior(normal=(0.0, 1.0)),
            "chroma": None,
        }
        return Graphs(NetworkDecoder(network), MelEncoder(network), EncodedFrames(latents, labels), card)

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        return "keys choose the note"

    @torch.no_grad()
    def report(self, request: ReportRequest) -> Report:
        recipe, network, corpus = request.run.recipe, request.network, request.run.corpus()
        assert isinstance(recipe, MelRecipe)
        data = MelFamily().data(corpus, recipe, corpus.folder)  # held-out clips, or those of training without any
        squared_errors = [
            (network.decode(network.encode(*audio)) - network.levels(*audio)).square().mean(1)
            for audio in data.validation(1000)
        ]
        figures = judged(
            lambda figures: (f"Bands of frames come back within {figures['error_db']:.1f} dB.", []),
            run=request.origin(),
            split="val",
            clips=len(corpus.clips("val")),
            error_db=float(torch.cat(squared_errors).mean().sqrt()),
            loss=losses(request.run, recipe.loss),
        )
        pictures = loss_curve(figures["loss"], request.step)
        page = report_page(request, figures, pictures, {}, {"Training": ["loss"]})
        return Report(figures, pictures, [], page)
