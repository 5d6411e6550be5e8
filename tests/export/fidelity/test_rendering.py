"""A rendition of a note's codes is what the decoder gives, and nothing of the host's."""

import numpy as np
import pytest
from timbrel.export.fidelity import dynamics
from timbrel.export.fidelity.measures import course, shape_db
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset
from timbrel.host.resynthesis import frame_stream
from timbrel.host.signal import window

from .tones import RATE, tone


@pytest.fixture
def echo(analytic, monkeypatch):
    """Codes of a model that decodes each frame to what was encoded."""
    model, heard = analytic(), []

    class Listening:
        def __init__(self, model):
            pass

        def encode(self, frames, strongest=None):
            magnitudes = np.abs(np.fft.rfft(frames * window("hann", model.card.frame_length)))
            heard[:] = [(magnitudes / magnitudes.max(1, keepdims=True).clip(1e-12)).astype(np.float32)]
            return np.zeros((len(frames), 1), np.float32)

    monkeypatch.setattr(dynamics, "Encoder", Listening)
    monkeypatch.setattr(frame_stream, "Encoder", Listening)
    monkeypatch.setattr(model, "decode", lambda codes, classes: heard[0])
    return dynamics.CodedNotes(Patch("bells", Preset(format=1, model=str(model.path)), model, model.path.parent))


@pytest.mark.parametrize("octaves", [0, 1])
def test_a_decoder_that_gives_each_frame_back_is_at_no_distance_at_the_notes_own_pitch(echo, octaves):
    """Also below the first partial and between partials, where the host makes noise of its own."""
    pitch = 64.0 + 12 * octaves
    note = tone(pitch) + np.random.default_rng(0).normal(0, 1e-3, RATE).astype(np.float32)
    moved = echo.transpose(note, pitch)
    assert len(moved.sound) == RATE * 2**octaves
    # resampling ends below half the rate
    assert shape_db(course(note, RATE), course(echo.resynthesize(moved), RATE)) < 0.4
