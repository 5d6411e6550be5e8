"""`timbrel play` over a JACK server without a card."""

import ctypes
import ctypes.util

import pytest

from .jack_play import PRESET


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
