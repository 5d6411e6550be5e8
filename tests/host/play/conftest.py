"""Latents that presets move."""

import pytest
from timbrel.host.play.motion import Latents

from .motions import RATE


@pytest.fixture(scope="session")
def make_latents(make_preset, tiny):
    """A function that makes the latents of a preset with these motions on the smallest model, whose span is 0 to 1."""

    def make(*motions, **keys):
        return Latents(make_preset(motion=list(motions), **keys), tiny().card, RATE)

    return make
