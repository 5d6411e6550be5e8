"""The fixtures that tests of sounds made again share."""

import numpy as np
import pytest
import soundfile
from onnx import helper
from timbrel.host.model.model import Model
from timbrel.host.resynthesis import reconstruction

from .processing import HOP, LENGTH, RATE


@pytest.fixture
def undrawn(monkeypatch):
    """Recovering draws no picture: each takes a second."""
    monkeypatch.setattr(reconstruction, "draw_spectrograms", lambda *arguments: None)


@pytest.fixture(scope="module")
def allpass(make_allpass):
    """Both kinds, by name."""
    return {kind: make_allpass(kind, frame_length=LENGTH, hop_length=HOP) for kind in ("spectrum", "grain")}


@pytest.fixture(scope="module")
def keyed(analytic, save_encoder, tmp_path_factory):
    """The smallest model with chroma, and an encoder that says how loud a frame is, and how loud its second half."""
    path = analytic().save(tmp_path_factory.mktemp("keyed") / "model.onnx")
    halves = np.stack([np.ones(1024), np.repeat([0.0, 2.0], 512)], axis=1) / 1024
    nodes = [helper.make_node("Abs", ["audio"], ["level"]), helper.make_node("MatMul", ["level", "halves"], ["latent"])]
    save_encoder(path, nodes, {"audio": 1024}, 2, {"halves": halves})
    return Model(path)


@pytest.fixture
def sound_of(tmp_path):
    """A function that writes samples, [n] or [channels, n], to a file of floats, and gives its path."""

    def write(samples, rate=RATE, name="sound.wav"):
        soundfile.write(tmp_path / name, np.asarray(samples).T, rate, subtype="FLOAT")
        return tmp_path / name

    return write
