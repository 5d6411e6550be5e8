"""Latents that presets move."""

import pytest
from timbrel.host.play.motions.motion import Latents

from .motions import RATE


@pytest.fixture(scope="session")
def make_latents(make_preset, tiny):
    """A function that makes the latents of a preset with these motions on the smallest model, whose span is 0 to 1."""

    def make(*motions, **keys):
        preset, card = make_preset(motion=list(motions), **keys), tiny().card
        assert card.sample_rate == RATE
        return Latents(preset.latent_values(card), card, preset.motion, preset.tempo_bpm)

    return make
