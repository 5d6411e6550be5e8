"""Blocks that come late beside a stall of the machine count, and the bench says how sure it is that it was one."""

import importlib
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def rig():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        yield importlib.import_module("jack_rig")


def test_only_what_comes_soon_after_a_stall_is_beside_it(rig):
    assert rig.beside([9.9, 10.0, 10.2, 10.4], [10.0, 50.0]) == 2


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (True, "2 of them beside no stall (2 stalls of the machine)"),
        (False, "2 of them beside no stall (2 stalls of the machine or of this load itself"),
    ],
)
def test_what_is_late_beside_no_stall_is_said_and_whether_own_load_may_be_a_stall(rig, first, words):
    assert rig.in_words(4, 2, 2, first).startswith(words)
