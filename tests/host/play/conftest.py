"""Latents that presets move, and models with gestures."""

import pytest
from timbrel.host.play import trajectory
from timbrel.host.play.motions import Latents

from .gestures import MOVING, gestures, note, with_gestures
from .motions import RATE


@pytest.fixture(scope="session")
def make_latents(make_preset, tiny):
    """A function that makes the latents of a preset with these motions on the smallest model, whose span is 0 to 1."""

    def make(*motions, **keys):
        preset, card = make_preset(motion=list(motions), **keys), tiny().card
        assert card.sample_rate == RATE
        return Latents(preset.latent_values(card), card, preset.motion, preset.tempo_bpm)

    return make


@pytest.fixture(scope="module")
def gestured(tiny_path, tmp_path_factory):
    """A function that opens the smallest model with gestures."""
    folder, made = tmp_path_factory.mktemp("gestured"), []

    def model(fields=None):
        made.append(with_gestures(tiny_path(), folder / f"{len(made)}.onnx", fields or gestures()))
        return made[-1]

    return model


@pytest.fixture(scope="module")
def moving(gestured):
    return gestured(gestures(note(), note(67.0, 40, code=[0.2, 0.7], levels=[-20.0, -3.0, 0.0, -4.0]), wander=MOVING))


@pytest.fixture
def every_hop(monkeypatch):
    """Have codes follow their ways in each hop, however little is heard of it."""
    monkeypatch.setattr(trajectory, "STILL_DB", 0.0)
