"""Performances as files."""

import pytest
import soundfile
from timbrel.host.play.render import render

from .performances import RATE, SHORT


@pytest.fixture
def rendered(tmp_path):
    """A function that renders to a file in a new folder and reads it back: audio [channels, n] and the path."""

    def run(patches, tune, name="out.wav", **options):
        path = tmp_path / name
        render(patches, tune, path, sample_rate=RATE, **options)
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert rate == RATE
        return audio.T, path

    return run


@pytest.fixture
def preset(tmp_path, tiny_path, make_preset):
    """A preset file on the smallest model."""
    path = tmp_path / "keys.toml"
    path.write_text(make_preset(envelope=SHORT).model_copy(update={"model": str(tiny_path())}).to_toml())
    return path
