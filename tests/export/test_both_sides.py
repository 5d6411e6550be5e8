"""A preset in stereo has both sides in everything that is made of it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import timbrel
from timbrel.export.samples.sampler import sample
from timbrel.host.model.card import METADATA_KEY
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import shipped_models

from .samples.datasets_of_notes import notes_of, small

LEVEL_DB = 6.0
NOTE = timbrel.Note(60, 0, 1, 100)


@pytest.fixture(scope="module")
def stereo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset whose left side is louder by `LEVEL_DB`, and independent of the right one."""
    folder = tmp_path_factory.mktemp("stereo")
    model = onnx.load(shipped_models()["gm-partials-8"])
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            entry.value = json.dumps(json.loads(entry.value) | {"image": [[LEVEL_DB, 0.0]] * 32})
    onnx.save(model, folder / "model.onnx")
    (folder / "stereo.toml").write_text('format = 1\nmodel = "model.onnx"\n', encoding="utf-8")
    return folder / "stereo.toml"


def assert_has_both_sides(sides: np.ndarray) -> None:
    left, right = np.asarray(sides, np.float64)
    assert 20 * np.log10(left.std() / right.std()) == pytest.approx(LEVEL_DB, abs=1)
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.5


def test_a_rendered_note_has(stereo: Path) -> None:
    instrument = timbrel.open(stereo)
    assert_has_both_sides(instrument.render(NOTE))
    assert_has_both_sides(instrument.decode(np.zeros(8), key=60, clamp=True))


def test_samples_have(stereo: Path, tmp_path: Path) -> None:
    sample(open_patch(str(stereo)), tmp_path / "sampled", every=60, velocities=1, takes=1)
    files = sorted((tmp_path / "sampled").rglob("*.flac"))
    assert files
    for file in files:
        assert_has_both_sides(soundfile.read(file)[0].T)


def test_notes_of_a_data_set_have(stereo: Path, tmp_path: Path) -> None:
    for _, samples in notes_of(small(tmp_path / "sides", 3, (str(stereo),), stereo=True)):
        assert_has_both_sides(samples.T)


def test_a_processed_stereo_recording_has(stereo: Path) -> None:
    instrument = timbrel.open("gm-partials-8")
    recording = timbrel.open(stereo).render(NOTE)
    given = instrument.process(recording)
    assert given.shape == recording.shape
    assert_has_both_sides(given)
