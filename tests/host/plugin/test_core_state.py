"""The native core saves its state and loads it: patch, parameters and latency."""

import struct

import numpy as np
import pytest

from .native import FIRST_HEAD, GAIN, HEAD, MACROS, PANEL, VALUES, Folder, alive, opened, until

pytestmark = pytest.mark.usefixtures("log")

UNKNOWN = (
    "timbrel's patch is not in the project that was saved: its server has not answered yet; save again once it plays"
)


@pytest.mark.parametrize("offline", [False, True])
def test_a_project_keeps_a_macro_at_the_default_that_no_server_has_corrected_yet(lib, tmp_path, offline):
    first, second = Folder(tmp_path / "first"), Folder(tmp_path / "second")
    with opened(lib, first) as core:
        core.wait()
        core.set(0, 3, 0.5)
        state = core.save()
    second.behave(tells_late=True)
    with opened(lib, second) as core:
        assert core.load(state)
        core.activate(48000, 100)
        core.offline(offline)
        until(lambda: (core.run(100), second.made[1])[1], "sound")
    assert second.heard("parameter")[0].items() >= {"epoch": 1, "time": 0, "number": 3, "value": 0.5}.items()


def test_a_state_brings_all_back(lib, tmp_path):
    first, second = Folder(tmp_path / "first"), Folder(tmp_path / "second")
    with opened(lib, first) as core:
        core.activate(48000, 128)
        core.offline(True)
        core.load_preset(b"gm-keys")
        for number, value in ((0, 0.25), (15, 0.5), (GAIN, -6.0), (PANEL, 1.0)):
            core.set(0, number, value)
        core.set(1, 15, 1.0)
        core.run(128)
        state = core.save()
    with opened(lib, second) as core:
        assert core.load(state)  # before there is a server
        assert core.save() == state
        core.activate(48000, 128)
        core.offline(True)
        core.run(128)
        assert core.save() == state
        until(lambda: core.get(1) == 1 / 16, "rests of the server")
        assert [core.get(number) for number in (0, 1, 15, GAIN, PANEL)] == [0.25, 1 / 16, 1.0, -6.0, 0.0]
    loads = [(one["kind"], bytes.fromhex(one["content"])) for one in second.heard("message") if one["kind"] != 3]
    assert loads == [(1, b"preset:gm-keys")]
    assert [(one["number"], one["value"]) for one in second.heard("parameter")] == [(0, 0.25), (15, 1.0)]


def test_a_state_says_where_macros_rest_before_a_server_does(lib, tmp_path):
    first, second = Folder(tmp_path / "first"), Folder(tmp_path / "second")
    with opened(lib, first) as core:
        until(lambda: core.get(5) == 5 / 16, "rests of the server")
        core.load_preset(b"mine")
        core.set(0, 2, 0.75)
        state = core.save()
        assert [core.loaded(macro) for macro in (2, 5)] == [0.5, 0.5]
    second.behave(tells_late=True)
    with opened(lib, second) as core:
        assert core.load(state)
        assert [core.get(macro) for macro in (2, 5)] == [0.75, 5 / 16]
        assert [core.loaded(macro) for macro in (2, 5)] == [0.75, 5 / 16]


def test_a_state_that_says_of_no_macro_where_it_rests_is_loaded(lib, tmp_path):
    """Earlier plugins wrote the default of each macro that rested."""
    first, second = Folder(tmp_path / "first"), Folder(tmp_path / "second")
    with opened(lib, first) as core:
        until(lambda: core.get(5) == 5 / 16, "rests of the server")
        core.load_preset(b"mine")
        core.set(0, 2, 0.75)
        state = core.save()
    values = [0.75 if macro == 2 else 0.5 for macro in range(MACROS)]
    with opened(lib, second) as core:
        assert core.load(state[:VALUES] + struct.pack(f"<{MACROS}f", *values) + state[VALUES + 4 * MACROS :])
        until(lambda: core.get(5) == 5 / 16, "rests of the server")
        assert core.get(2) == 0.75
        assert core.save()[VALUES:FIRST_HEAD] == state[VALUES:FIRST_HEAD]


def test_a_state_without_a_patch_leaves_macros_at_the_rests_of_the_patch_that_plays(core):
    until(lambda: core.get(5) == 5 / 16, "rests of the server")
    state = core.save()
    rests = struct.pack(f"<{MACROS}f", *[0.5] * MACROS)
    assert core.load(state[:8] + bytes(8) + state[16:VALUES] + rests + state[VALUES + 4 * MACROS : HEAD])
    assert core.get(5) == 5 / 16


@pytest.fixture
def late_state(lib, tmp_path):
    """The state of a core whose rack is 100 samples late at 48 kHz."""
    with opened(lib, Folder(tmp_path / "late", rack_latency=100)) as core:
        core.wait()
        core.activate(48000, 256)
        alive(core)
        assert core.latency() == 256 + 100
        return core.save()


@pytest.mark.parametrize("active", [False, True])
def test_a_state_says_how_late_the_rack_is_before_a_server_does(lib, folder, late_state, active):
    folder.behave(rack_latency=100)
    folder.hold(True)
    with opened(lib, folder) as core:
        if active:
            core.activate(48000, 256)
        assert core.load(late_state)
        core.activate(48000, 256) if not active else core.run(256)
        assert core.latency() == 256 + 100
        assert core.save() == late_state
        core.changes.clear()
        core.wait()
        folder.hold(False)
        alive(core)
        assert "latency" not in core.changes


def test_at_another_rate_the_rack_is_as_late_as_the_server_tells(lib, folder, late_state):
    folder.behave(rack_latency=70)
    with opened(lib, folder) as core:
        assert core.load(late_state)
        core.activate(44100, 256)
        assert core.latency() == 256
        alive(core)
        assert core.latency() == 256 + 70
        core.activate(48000, 256)  # of which it has told nothing: what was last told counts
        assert core.latency() == 256 + 70


def test_a_server_that_tells_another_latency_than_the_state_is_right(lib, folder, late_state):
    folder.behave(rack_latency=30)
    with opened(lib, folder) as core:
        assert core.load(late_state)
        core.activate(48000, 256)
        core.changes.clear()
        alive(core)
        assert core.latency() == 256 + 30
        assert "latency" in core.changes
        kept = core.save()[FIRST_HEAD:HEAD]
    assert struct.unpack("<II", kept) == (48000, 30)


def test_another_preset_is_not_as_late_as_the_one_before(lib, folder, late_state):
    folder.hold(True)
    with opened(lib, folder) as core:
        assert core.load(late_state)
        assert core.load_preset(b"other")
        assert struct.unpack("<II", core.save()[FIRST_HEAD:HEAD]) == (0, 0)
        core.activate(48000, 256)
        assert core.latency() == 256


def test_a_state_of_version_1_is_loaded_without_a_latency(lib, folder, late_state):
    first = late_state[:4] + struct.pack("<I", 1) + late_state[8:FIRST_HEAD] + late_state[HEAD:]
    folder.hold(True)
    with opened(lib, folder) as core:
        core.set(0, 2, 0.75)
        assert core.load(first)
        core.activate(48000, 256)
        assert core.latency() == 256
        assert core.get(2) != 0.75
        assert core.save() == late_state[:FIRST_HEAD] + bytes(8) + late_state[HEAD:]
        for count in range(len(first)):
            assert not core.load(first[:count])


def test_loads_are_obeyed_before_the_sound_that_follows(core, folder):
    core.activate(48000, 128)
    core.offline(True)
    core.run(128)
    for name in (b"one", b"two", b"three"):
        assert core.load_preset(name)
        core.run(128)
    said = folder.heard()
    for number in (1, 2, 3):
        load = next(i for i, one in enumerate(said) if one["what"] == "message" and one["number"] == number)
        reset = next(i for i, one in enumerate(said) if one["what"] == "reset" and one["loads"] == number)
        assert load < reset
    assert core.save().endswith(b"preset:three")


def test_a_state_of_megabytes_goes_both_ways(core):
    state = core.save()
    large = np.random.default_rng(1).bytes(12_000_000)
    assert core.load(state[:12] + struct.pack("<I", len(large)) + state[16:HEAD] + large)
    assert core.save().endswith(large)
    core.activate(48000, 128)
    core.offline(True)
    core.run(128)
    assert core.save().endswith(large)


def test_a_server_that_gives_no_answer_does_not_lose_the_state(lib, tmp_path):
    folder = Folder(tmp_path / "plugin", stuck=True)
    with opened(lib, folder) as core:
        until(lambda: core.get(3) == 3 / 16, "rests")
        core.load_preset(b"mine")
        assert core.save().endswith(b"mine")


@pytest.mark.parametrize("state", [b"", b"TMBS", bytes(96), b"x" * 200])
def test_what_is_no_state_changes_nothing(core, state):
    core.set(0, 0, 0.75)
    before = core.save()
    assert not core.load(state)
    assert core.save() == before


def test_damage_to_a_state_is_noticed(core):
    state = core.save()
    assert core.load(state)
    damage = [(0, 0), (4, 0), (4, 1), (4, 9), (8, 3), (12, 255), (18, 1), (23, 0x7F), (4 * 21 + 3, 0x7F)]
    for at, value in (*damage, (FIRST_HEAD + 2, 255), (FIRST_HEAD + 6, 255)):
        assert not core.load(state[:at] + bytes((value,)) + state[at + 1 :]), at
    assert not core.load(state[:-1])
    assert not core.load(state + b"x")


def test_a_patch_that_is_known_after_the_project_was_saved_has_it_saved_again(lib, folder):
    folder.behave(thinks=True)
    folder.hold(True)
    with opened(lib, folder) as core:
        core.wait()
        core.load_preset(b"mine")
        assert core.save()[HEAD:] == b"mine"  # its name
        until(lambda: core.said == [UNKNOWN], "a word of it")
        assert "state" not in core.changes
        folder.hold(False)
        until(lambda: "state" in core.changes, "a change of the project")
        assert core.save()[HEAD:] == b"preset:mine"
        assert core.said == [UNKNOWN]
