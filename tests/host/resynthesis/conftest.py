"""The fixtures that tests of sounds made again share."""

import pytest
from timbrel.host.resynthesis import reconstruction


@pytest.fixture
def undrawn(monkeypatch):
    """Recovering draws no picture: each takes a second."""
    monkeypatch.setattr(reconstruction, "draw_spectrograms", lambda *arguments: None)
