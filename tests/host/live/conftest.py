"""`timbrel play` over a JACK server without a card, and in this process beside a loop that stands."""

import ctypes
import ctypes.util

import pytest
from timbrel.host.live import audio_process

from .jack_play import PRESET
from .serving import Served


@pytest.fixture(
    scope="module",
)
def portaudio():
    """Skips where PortAudio is missing; loaded alone, it looks for no server."""
    try:
        ctypes.CDLL(ctypes.util.find_library("portaudio") or "portaudio")
    except OSError:
        pytest.skip("PortAudio is not installed (Debian: apt install libportaudio2)")


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    path = tmp_path_factory.mktemp("live") / "live.toml"
    path.write_text(PRESET)
    return path


@pytest.fixture
def served(monkeypatch):
    """A function that gives a process that serves a preset and looks at its files all the time."""
    monkeypatch.setattr(audio_process, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(audio_process, "LOOK_SECONDS", 0.04)
    monkeypatch.setattr(audio_process, "report", lambda state: None)
    return Served


@pytest.fixture
def presets(tmp_path, analytic):
    """Two presets, and the model of both, ``m.onnx``."""
    analytic().save(tmp_path / "m.onnx")
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text('format = 1\nmodel = "m.onnx"\n', encoding="utf-8")
    return tmp_path / "a.toml", tmp_path / "b.toml"
