"""A published WaveGAN's generator goes on to `export` and `invert` as one that was trained here."""

import numpy as np
import pytest
from timbrel.export import export as exporting
from timbrel.export.evaluate import evaluate
from timbrel.export.recovery.search import SearchStage
from timbrel.export.study import recovery_rows
from timbrel.export.study.recovery_rows import RecoveryBench, RecoverySize, sounds_of
from timbrel.host.model.encoder import Encoder
from timbrel.host.model.model import Model
from timbrel.train.corpus.store import Corpus
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import begin_pretrained, start
from timbrel.train.run import Run, trained

from ...train.published_dump import FILTER, dump, generator_variables, tensorflow_arrays
from ..undrawn import undrawn
from .words import CPU, INVERT


@pytest.fixture(scope="module")
def arrays():
    return tensorflow_arrays()


@pytest.fixture(scope="module")
def published(arrays, words, tmp_path_factory):
    """The runs of the generator, plain and with its filter."""
    folder = tmp_path_factory.mktemp("published")
    runs = {}
    for name, more in (("plain", {}), ("filtered", {FILTER: arrays[FILTER]})):
        weights = dump(folder / f"{name}-dump", generator_variables(arrays) | more)
        runs[name] = begin_pretrained(load_recipe("clip-wavegan"), words / "corpus", folder / name, weights)
    return runs


@pytest.fixture(autouse=True)
def quick(trace_of, monkeypatch):
    """Models whose loudness is not measured, and reports without pictures."""
    monkeypatch.setattr(exporting, "model_loudness_lufs", lambda model: -20.0)
    monkeypatch.setattr(exporting, "trace", trace_of)
    undrawn(monkeypatch)


@pytest.mark.parametrize(("name", "expected"), [("plain", "clips"), ("filtered", "filtered")])
def test_its_exported_file_makes_the_clips_that_tensorflow_makes(arrays, published, tmp_path, name, expected):
    exporting.export(published[name], tmp_path / "published.onnx", weights="float32")
    model = Model(tmp_path / "published.onnx")
    assert model.card.labels == []
    found = sounds_of(model, arrays["codes"][: len(arrays[expected])], np.zeros(len(arrays[expected]), np.intp))
    assert found == pytest.approx(arrays[expected], abs=1e-5)


def test_it_has_a_report_before_its_first_step(published, words):
    figures = evaluate(published["plain"], classifier=Run.open(words / "judge"))
    assert figures["run"]["step"] == 0
    assert figures["generated"]["told"]["scored"] == 16


def test_it_is_inverted_and_its_codes_are_searched_for_in_torch(published, words, arrays, tmp_path, monkeypatch):
    """The filter, too, is an operator that the rebuilt graph knows."""
    sources = {"generator": published["filtered"].folder, "judge": words / "judge"}
    start(load_recipe("invert", [*INVERT, "training.steps=1"]), words / "corpus", tmp_path / "run", CPU, sources)
    exporting.export(Run.open(tmp_path / "run"), tmp_path / "published.onnx", weights="float32")
    model = Model(tmp_path / "published.onnx")
    assert Encoder(model).encode(arrays["clips"]).shape == (2, 5)
    found = sounds_of(model, arrays["codes"][:1], np.zeros(1, np.intp))
    assert found == pytest.approx(arrays["filtered"], abs=1e-5)
    judge = trained(Run.open(words / "judge"), "best")[0]
    bench = RecoveryBench(Corpus.open(words / "corpus"), model, [judge], RecoverySize(1, 1))
    monkeypatch.setattr(recovery_rows, "FAST_SOUNDS", 1)
    monkeypatch.setattr(recovery_rows, "ONE_START", SearchStage(2, 1, 1))
    row = bench.measured("generated", "gradient-one", 0)
    assert row.sounds.shape == (1, 16384)
    assert np.isfinite(row.mse).all()
