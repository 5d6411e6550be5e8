"""A corpus of tones and a run on it; little work for each evaluation, and no note played."""

import pytest
import torch
from timbrel.export import evaluate
from timbrel.export.families import chroma_report
from timbrel.export.reports import report

from .runs import make_run, octave, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "tones", octave("train", "train", "val", "test"))


@pytest.fixture
def tuned(tmp_path, corpus):
    return make_run(tmp_path / "run", corpus)


@pytest.fixture(autouse=True)
def small_work(monkeypatch):
    """Few codes, and one thread: networks as small as these wait for a second one longer than they compute."""
    monkeypatch.setattr(chroma_report, "MESH_POINTS", 64)
    monkeypatch.setattr(chroma_report, "KEY_CODES", 24)
    monkeypatch.setattr(chroma_report, "HEARD_CODES", 2)
    monkeypatch.setattr(chroma_report, "PICTURED_FRAMES", 3)
    monkeypatch.setattr(evaluate.FAMILIES["chroma"], "played", False)  # tests/export/fidelity has notes
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_pictures(monkeypatch):
    """Not even their files."""
    monkeypatch.setattr(report.Picture, "save", lambda self, folder: None)
