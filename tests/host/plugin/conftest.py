"""Fixtures of several tests: a server, which takes half a second to begin, and what all processes compile once."""

import functools
import sys

import pytest

from . import lv2
from .fake import FakePlugin
from .formats import build_fake, need
from .native import Folder, library, make, opened

if sys.platform != "linux":
    collect_ignore_glob = ["*"]  # plugins play on Linux


@pytest.fixture(scope="session")
def lv2_built(once):
    """The folder that the bundle of LV2 and its host are built into."""
    flags = lv2.needs("lilv-0", "lv2")
    return once("lv2", functools.partial(lv2.build, flags=flags))


@pytest.fixture(scope="session")
def fake_built(once):
    """A function that returns a folder with a format's plugin over the fake core, and its host: (format) → path."""
    need()
    return lambda name: once(f"fake-{name}", functools.partial(build_fake, name))


@pytest.fixture(scope="session")
def plugin():
    """A plugin whose server has said all that it says unasked; for tests that leave no more behind than an epoch."""
    one = FakePlugin()
    one.listen(lambda: one.ready and one.presets and one.parameters)
    yield one
    assert one.close() == 0
    assert one.logged() == ""


@pytest.fixture(scope="session")
def built(once):
    """The folder that the native Makefile has built into: core/libcore.so."""
    return once("core", functools.partial(make, "core"))


@pytest.fixture(scope="session")
def lib(built):
    """The core as a library."""
    return library(built / "core" / "libcore.so")


@pytest.fixture
def log(tmp_path, monkeypatch):
    """The file that servers' output goes to."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "timbrel" / "plugin.log"


@pytest.fixture
def folder(tmp_path):
    """A plugin's folder with a server of known sound."""
    return Folder(tmp_path / "plugin")


@pytest.fixture
def core(lib, folder):
    """A core with a server."""
    with opened(lib, folder) as one:
        one.wait()
        yield one
