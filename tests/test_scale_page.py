"""The examples of docs/scale.md run as they are printed."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from timbrel.export.samples.dataset import make_dataset
from timbrel.export.samples.drawing import DatasetSettings
from timbrel.train.corpus.build import build

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
CLASSIFIER, CORPUS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_pitch_classes_are_learnt_from_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DatasetSettings(seconds=0.5, sample_rate=16000, keys="48-71", shard_notes=128)
    make_dataset(["gm-oboe", "gm-strings"], tmp_path / "notes", settings, 256)
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(CLASSIFIER, found)
    assert len(CLASSIFIER.splitlines()) <= 24
    assert found["score"] > 0.8


def test_numpy_alone_reads_a_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 8000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 8000, subtype="FLOAT")
    build([tmp_path / "a.wav"], tmp_path / "corpus", rate=8000)
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}
    exec(CORPUS, found)
    assert np.array_equal(found["first_clip"], sound)
