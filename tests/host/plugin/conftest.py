"""Fixtures of several tests: servers, which take half a second to begin, and the native core."""

import sys

import pytest

from .fake import FakePlugin
from .lv2 import build
from .native import Folder, library, make, opened

if sys.platform != "linux":
    collect_ignore_glob = ["*"]  # plugins play on Linux


@pytest.fixture(scope="session")
def lv2_built(tmp_path_factory):
    """The folder that the bundle of LV2 and its host are built into."""
    return build(tmp_path_factory.mktemp("lv2"))


@pytest.fixture(scope="module")
def plugin():
    """A plugin whose server has said all that it says unasked; for tests that leave no more behind than an epoch."""
    one = FakePlugin()
    one.listen(lambda: one.ready and one.presets and one.parameters)
    yield one
    assert one.close() == 0
    assert one.logged() == ""


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder that the native Makefile has built into: core/libcore.so."""
    folder = tmp_path_factory.mktemp("native")
    make("core", folder)
    return folder


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
