"""Servers that several tests share: each takes half a second to begin."""

import sys

import pytest

from .fake import FakePlugin
from .lv2 import build

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
