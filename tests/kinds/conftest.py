"""What the two kinds of models that live in these tests alone have in common: a run that is trained and exported."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timbrel.export.export import export
from timbrel.export.families import FAMILIES as EXPORTED
from timbrel.export.families.family import ExportFamily
from timbrel.export.graphs import EncodedFrames
from timbrel.export.kinds.kind import RATE, ExportKind, held_key
from timbrel.export.kinds.table import KINDS as EXPORTED_KINDS
from timbrel.export.reports.report import Report
from timbrel.host.kinds.table import KINDS
from timbrel.host.preset.preset import Preset
from timbrel.train import recipe as base
from timbrel.train.families import recipes
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run

from ..toy_families import Toy, put, recipe_text


def bare(model):
    """A preset that only names its model."""
    return Preset(format=1, model=str(model.path))


class ToyExport(ExportFamily):
    """Given graphs, and a report of two figures."""

    def __init__(self, graphs):
        self.graphs = graphs

    def report(self, request):
        return Report({"checkpoint": request.checkpoint, "step": request.step}, [], [], "<p>a toy</p>")


def held(patch, velocity):
    """Middle C for a second: the events, and their samples."""
    return held_key(RATE, velocity), RATE


class Pieces:
    """The first samples of each clip, [clips, length], as batches."""

    def __init__(self, corpus, recipe):
        length = recipe.frames.frame_length * 4
        self._pieces = np.stack([corpus.samples(clip)[:length] for clip in corpus.clips("train")])

    def __len__(self):
        return len(self._pieces)

    def batch(self, frames, rng):
        return (torch.from_numpy(self._pieces[frames]),)

    def validation(self, limit):
        yield (torch.from_numpy(self._pieces),)

    def spread(self, limit):
        return (torch.from_numpy(self._pieces),)


class PiecesFamily(Toy):
    def data(self, corpus, recipe, folder):
        return Pieces(corpus, recipe)

    def preview(self, network, recipe, batch):
        return []


@pytest.fixture(scope="module")
def rows():
    """Functions that add a row for a kind and for a family, where the product has its own; they go with the module."""
    with pytest.MonkeyPatch.context() as patch:

        def kind(one):
            patch.setitem(KINDS, one.name, one)
            patch.setitem(EXPORTED_KINDS, one.name, ExportKind(one.name, bare, held))

        def family(name, network, graphs):
            one = type("ToyRecipe", (base.Recipe,), {"__annotations__": {"family": str}})
            put(patch, name, one, PiecesFamily(network))
            patch.setitem(EXPORTED, name, ToyExport(graphs))

        yield SimpleNamespace(kind=kind, family=family)


@pytest.fixture(scope="module")
def made(tone_corpus, one_table, tmp_path_factory):
    """A function that trains a family for some steps and exports it: its run, and its model's path."""

    def make(family, length):
        folder = tmp_path_factory.mktemp(family)
        (folder / f"{family}.toml").write_text(recipe_text(family, length), encoding="utf-8")
        recipe = recipes.load_recipe(str(folder / f"{family}.toml"))
        start(recipe, tone_corpus, folder / "run", RunOptions(accelerator="cpu"))
        export(Run.open(folder / "run"), folder / f"{family}.onnx", weights="float32")
        return folder / "run", folder / f"{family}.onnx"

    return make


@pytest.fixture(scope="session")
def codes_of_its_own():
    """Codes drawn from a uniform prior, for networks that encode nothing: [frames, latents]."""

    def draw(latents):
        drawn = np.random.default_rng(0).uniform(-1, 1, (400, latents)).astype(np.float32)
        return EncodedFrames(drawn, ["drawn"] * len(drawn))

    return draw
