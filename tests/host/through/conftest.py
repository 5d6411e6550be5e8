"""The fixtures that tests of sounds made again share."""

import pytest
from timbrel.host.through import again


@pytest.fixture
def undrawn(monkeypatch):
    """Recovering draws no picture: each takes a second."""
    monkeypatch.setattr(again, "draw_spectrograms", lambda *arguments: None)
