"""Models of partials."""

import pytest
from timbrel.host.kinds.card_fields import PartialsLayout

from ..spectrum.coherent import FRAME, RATE, Given
from .voices import EDGES


@pytest.fixture
def partials_of(tiny):
    """A function that makes a model of a function of (latent, key), with these partials in its card."""

    def make(frame, **layout):
        partials = PartialsLayout(**{"harmonics": 12, "edges_hz": EDGES, "low": 30, "high": 90} | layout)
        changes = {"kind": "partials", "domain": "partials", "chroma": None, "partials": partials}
        card = tiny(sample_rate=RATE, frame_length=FRAME, hop_length=1024).card.model_copy(update=changes)
        return Given(card, frame)

    return make
