"""The native core keeps time to the sample, and outlives its server."""

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from .native import (
    GAIN,
    HERE,
    LONG,
    MACROS,
    PANEL,
    PLAYS,
    PRESET,
    SILENT,
    STARTS,
    Folder,
    Told,
    library,
    make,
    opened,
    until,
)

MIXED = (64, 1, 1000, 17, 512, 256, 63)
NOTE = bytes((0x90, 60, 100))
NO_PYTHON = "timbrel is silent: no Python is named in {folder}/interpreter; `timbrel plugin install` writes it"
SPOILT = (
    "timbrel lacks sound in this bounce: it had no server, or lost it; run `timbrel plugin status`, then bounce again"
)
UNKNOWN = (
    "timbrel's patch is not in the project that was saved: its server has not answered yet; save again once it plays"
)
FIRST_HEAD, HEAD = 4 * 24, 4 * 26  # bytes of a state before its patch: as version 1 had them, and now


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder that the native Makefile has built into: core/libcore.so."""
    folder = tmp_path_factory.mktemp("native")
    make("core", folder)
    return folder


@pytest.fixture(scope="module")
def lib(built):
    """The core as a library."""
    return library(built / "core" / "libcore.so")


@pytest.fixture(autouse=True)
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


def ended(process):
    """Return whether a process is gone, but for the entry of one that init has not waited for yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def alive(core):
    """Plays until the server's sound comes."""
    until(lambda: core.run(128).any(), "sound")
    return core.folder.process


@pytest.mark.parametrize(
    ("rate", "blocks", "block", "own"),
    [
        *((48000, (block,), block, own) for block, own in ((32, 128), (64, 128), (128, 256), (256, 256), (1024, 1024))),
        (48000, MIXED, 1024, 1024),
        *((44100, (block,), block, own) for block, own in ((64, 128), (235, 470), (256, 256))),
        *((96000, (block,), block, own) for block, own in ((64, 256), (256, 512), (512, 512))),
        *((192000, (block,), block, own) for block, own in ((64, 512), (256, 512), (1000, 2000), (1024, 1024))),
    ],
)
def test_the_latency_that_is_reported_is_that_of_the_sound(lib, folder, rate, blocks, block, own):
    rack = 0 if own == block else 100
    folder.behave(rack_latency=rack)
    with opened(lib, folder) as core:
        core.wait()
        core.activate(rate, block)
        core.midi(3, NOTE, 3)
        sound = core.play(blocks * (1 + 5000 // sum(blocks)))
        assert core.latency() == own + rack
        assert core.late() == 0
    there = np.flatnonzero(sound[0])
    assert there[0] == own
    assert len(there) == sound.shape[1] - own
    assert (there - sound[0][there] + 1 == own).all()
    assert np.flatnonzero(sound[1]).tolist() == [own + 3]


@pytest.mark.parametrize("blocks", [(64,), MIXED, (40000, 5)])
def test_a_bounce_waits_and_has_no_latency(core, blocks):
    core.activate(44100, 64)
    core.offline(True)
    core.midi(2, NOTE, 3)
    sound = np.concatenate([core.run(block) for block in blocks * 3], axis=1)
    assert core.latency() == 0
    assert (sound[0] == np.arange(sound.shape[1]) + 1).all()
    assert np.flatnonzero(sound[1]).tolist() == [2]


@pytest.mark.parametrize("rack", [0, 100])
def test_a_latency_that_is_kept_is_that_of_a_bounce_too(lib, folder, rack):
    folder.behave(rack_latency=rack)
    with opened(lib, folder) as core:
        core.wait()
        core.activate(48000, 256)
        core.play([256] * 3)
        core.keep_latency()
        core.changes.clear()
        core.offline(True)
        core.midi(2, NOTE, 3)
        sound = np.concatenate([core.run(block) for block in MIXED], axis=1)
        assert core.latency() == 256 + rack
        assert not sound[0, :256].any()
        assert (sound[0, 256:] == np.arange(sound.shape[1] - 256) + 1).all()
        assert np.flatnonzero(sound[1]).tolist() == [256 + 2]
        core.offline(False)
        assert core.latency() == 256 + rack
        assert core.changes == []
        core.activate(48000, 512)
        assert core.latency() == 512 + rack
        core.offline(True)
        assert core.latency() == rack


@pytest.mark.parametrize("before", [256, 1000, 5000])
@pytest.mark.parametrize("ahead", [256, 230])  # the latency, or what a host says
def test_where_the_song_is_ahead_a_bounce_begins_that_much_before_the_transport_starts(core, folder, before, ahead):
    core.activate(48000, 256)
    core.keep_latency()
    core.offline(True)
    core.run(before - 200)
    core.midi(3, NOTE, 3)
    core.run(200)
    core.transport(0, True, False, ahead)
    core.midi(5, NOTE, 3)
    sound = core.run(600)
    late = 256 - ahead
    assert sound[0][late:].tolist() == list(range(1, 601 - late))  # the host has left the latency out by itself
    assert not sound[0][:late].any()
    assert np.flatnonzero(sound[1]).tolist() == [256 - 200 + 3, 256 + 5]
    assert [one["offline"] for one in folder.heard("reset")] == [1, 1]


def test_what_comes_late_fades_out_and_in_around_silence_in_its_place(core, folder):
    core.activate(48000, 256)
    core.offline(True)
    assert core.run(70000).any()  # the memory is full of it from here on
    core.offline(False)
    core.position = 0
    before = core.play([256] * 4)
    assert before.any()
    assert core.late() == 0
    folder.hold(True)
    assert core.run(256).all(axis=1)[0]  # made while the block before was asked for
    out = core.run(256)[0]
    whole = 4 * 256  # 240 samples, 5 ms, are what sounded last, backwards and ever softer
    expected = np.arange(whole, whole - 240, -1) * np.arange(240, 0, -1) / 241
    np.testing.assert_allclose(out, [*expected, *[0] * 16], rtol=1e-6)
    assert not core.run(256).any()
    assert core.late() == 2
    folder.hold(False)
    core.caught_up()
    after = core.play([256] * 2)[0]
    begins = np.arange(6 * 256 + 1, 6 * 256 + 241)
    np.testing.assert_allclose(after[:240], begins * np.arange(1, 241) / 240, rtol=1e-6)
    assert after[240:].tolist() == list(range(6 * 256 + 241, 8 * 256 + 1))
    assert core.late() == 2


def test_a_block_that_is_late_in_part_sounds_as_far_as_it_is_made(core, folder):
    core.activate(48000, 1024)
    core.play([1024, 500])
    folder.hold(True)
    core.run(524)
    sound = core.run(1024)  # of which the server had been asked for the first 500 before
    assert sound[0][:500].tolist() == list(range(1025, 1525))
    assert sound[0][500] == pytest.approx(1524 * 240 / 241)
    assert not sound[0][740:].any()
    assert core.late() == 1


@pytest.mark.parametrize(("rate", "block"), [(44100, 64), (96000, 256), (1e6, 512)])
def test_no_gap_begins_or_ends_with_a_step(lib, folder, rate, block):
    folder.behave(sounds=1.0)
    with opened(lib, folder) as core:
        core.wait()
        core.activate(rate, block)
        sound = [core.play([block] * 40)[:, -block:]]
        for _ in range(3):  # gaps may lie closer together than fades are long
            folder.hold(True)
            sound += [core.run(block) for _ in range(8)]
            folder.hold(False)
            core.caught_up()
            sound.append(core.play([block] * 3))
        sound.append(core.play([block] * 3))
        os.kill(folder.process, signal.SIGKILL)
        sound += [core.run(block) for _ in range(50)]
    level = np.concatenate(sound, axis=1)[0]
    fade = min(int(0.005 * rate), 2048)
    assert np.abs(np.diff(level)).max() <= 2.0 / fade  # one fades out while another comes in
    assert level[0] == 1.0
    assert level.max() < 1.5
    assert level[-1] == 0.0


def test_a_bounce_begins_anew_and_so_does_what_comes_after(core, folder):
    core.activate(48000, 128)
    alive(core)
    core.offline(True)
    assert core.latency() == 0
    assert core.run(300)[0].tolist() == list(range(1, 301))
    core.offline(False)
    assert core.latency() == 256
    core.position = 0
    assert core.play([128] * 3)[0].tolist() == [*[0] * 256, *range(1, 129)]
    resets = [(one["offline"], one["rate"]) for one in folder.heard("reset")]
    assert resets == [(0, 48000), (1, 48000), (0, 48000)]


def test_a_bounce_after_silence_begins_with_all_of_its_first_sample(core, folder):
    folder.hold(True)
    core.activate(48000, 128)
    for _ in range(4):
        assert not core.run(128).any()
    folder.hold(False)
    core.offline(True)
    assert core.run(300)[0].tolist() == list(range(1, 301))


def test_a_change_of_rate_or_a_longer_block_begins_anew(core, folder):
    core.activate(48000, 128)
    core.play([128] * 2)
    core.deactivate()
    assert not core.run(128).any()
    core.activate(96000, 128)
    core.position = 0
    core.play([128] * 2)
    core.changes.clear()
    core.position = 0
    assert core.play([512] * 2)[0].tolist() == [*[0] * 512, *range(1, 513)]
    assert core.latency() == 512
    assert core.changes == ["latency_changed"]
    assert [(one["rate"], one["block"]) for one in folder.heard("reset")] == [(48000, 128), (96000, 128), (96000, 512)]


def test_events_keep_their_samples(core, folder):
    core.activate(48000, 100)
    core.offline(True)
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 30000, 400))
    for start in range(0, 30000, 100):
        for when in times[(times >= start) & (times < start + 100)]:
            core.midi(int(when) - start, bytes((0xE0, when & 127, when >> 8)), 3)
            core.set(int(when) - start, int(when) % MACROS, float(when / 30000))
        core.run(100)
    assert [(one["time"], one["data"]) for one in folder.heard("midi")] == [
        (when, [0xE0, when & 127, when >> 8]) for when in times.tolist()
    ]
    told = [(one["time"], one["number"], one["value"]) for one in folder.heard("parameter")]
    assert told == [(when, when % MACROS, float(np.float32(when / 30000))) for when in times.tolist()]


def test_only_whole_messages_of_a_channel_are_passed_on(core, folder):
    core.activate(48000, 128)
    core.offline(True)
    for message in ("90", "903c", "90803c", "903c80", "c0", "c080", "f8", "f07e7f", "3c40", "c00102"):
        core.midi(0, bytes.fromhex(message), len(message) // 2)
    core.midi(0, b"", 0)
    core.midi(9, bytes((0xC5, 7)), 2)
    core.run(128)
    assert [(one["time"], one["data"]) for one in folder.heard("midi")] == [(9, [0xC5, 7])]


def test_tempo_and_transport_are_told_where_they_change(core, folder):
    core.activate(48000, 100)
    core.offline(True)
    for bpm, rolling in ((120, False), (120, True), (120.00001, True), (0, True), (float("nan"), True), (90.5, False)):
        core.tempo(5, bpm)
        core.transport(6, rolling, False, 0)
        core.run(100)
    core.transport(0, True, True, 0)
    core.run(100)
    assert [(one["time"], one["value"]) for one in folder.heard("tempo")] == [(5, 120), (505, 90.5)]
    assert [(one["time"], one["number"]) for one in folder.heard("transport")] == [(106, 2), (506, 0), (600, 1)]
    core.offline(False)
    core.offline(True)
    core.offline(False)
    core.position = 0
    core.play([100])
    assert [one["value"] for one in folder.heard("tempo")][2:] == [90.5]  # what is new begins where the old stood
    assert [one["number"] for one in folder.heard("transport")][3:] == [2]


def test_a_macro_rests_where_the_preset_has_it_until_it_is_moved(core, folder):
    until(lambda: core.get(3) == 3 / 16, "rests")
    core.activate(48000, 100)
    core.offline(True)
    core.run(100)
    assert core.get(3) == 3 / 16
    assert not folder.heard("parameter")
    core.set(10, 3, 0.5)  # where it would stand if no preset said else
    core.run(100)
    assert core.get(3) == 0.5
    core.set(10, 3, 0.25)
    core.run(100)
    told = [(one["time"], one["number"], one["value"]) for one in folder.heard("parameter")]
    assert told == [(110, 3, 0.5), (210, 3, 0.25)]


def test_an_epoch_begins_with_what_was_moved_before_it(core, folder):
    core.activate(48000, 100)
    core.set(0, 2, 0.75)
    core.play([100])
    core.offline(True)
    core.set(60, 2, 0.875)
    core.run(100)
    told = [(one["epoch"], one["time"], one["value"]) for one in folder.heard("parameter")]
    assert told == [(1, 0, 0.75), (2, 0, 0.75), (2, 60, 0.875)]


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


def test_an_epoch_begins_with_a_macro_that_was_set_to_where_the_patch_before_has_it(core, folder):
    until(lambda: core.get(3) == 3 / 16, "rests")
    core.activate(48000, 100)
    core.set(0, 3, 3 / 16)
    core.play([100])
    core.offline(True)
    core.run(100)
    assert [(one["number"], one["value"]) for one in folder.heard("parameter") if one["epoch"] == 2] == [(3, 3 / 16)]


def test_a_preset_that_is_chosen_puts_the_macros_where_it_has_them(core, folder):
    core.activate(48000, 100)
    core.offline(True)
    core.set(0, 1, 0.75)
    core.run(100)
    core.set(5, PRESET, 2)
    core.run(100)
    core.set(5, PRESET, 2)  # it is there already
    core.run(100)
    until(lambda: core.get(1) == 1 / 16, "rests of the server")
    assert core.get(PRESET) == 2
    told = [(one["time"], one["number"], one["value"]) for one in folder.heard("parameter")]
    assert told == [(0, 1, 0.75), (105, PRESET, 2)]
    assert core.save().endswith(b"chosen:2")


def test_after_a_program_change_the_preset_parameter_may_choose_what_it_chose_before(core, folder):
    core.activate(48000, 100)
    core.offline(True)
    core.set(0, PRESET, 2)
    core.run(100)
    core.midi(7, bytes((0xC3, 4)), 2)
    core.set(9, PRESET, 2)
    core.run(100)
    heard = [(one["what"], one["time"]) for one in folder.heard() if one["what"] in ("midi", "parameter")]
    assert heard == [("parameter", 0), ("midi", 107), ("parameter", 109)]
    core.midi(0, bytes((0xC3, 4)), 2)
    core.run(100)
    assert core.get(PRESET) == 0  # as the project has it


def test_a_program_change_while_nothing_plays_leaves_what_the_parameter_has_chosen(core, folder):
    core.set(0, PRESET, 2)
    core.midi(0, bytes((0xC0, 4)), 2)
    core.activate(48000, 100)
    core.play([100])
    assert [one["value"] for one in folder.heard("parameter")] == [2]


def test_the_gain_ramps_by_samples_alone_and_is_nothing_at_0_db(lib, tmp_path):
    sounds = []
    for number, blocks in enumerate(((1000,), MIXED)):
        with opened(lib, Folder(tmp_path / str(number))) as core:
            core.activate(48000, 1024)
            core.offline(True)
            parts = []
            while core.position < 4000:
                start, count = core.position, min(blocks[len(parts) % len(blocks)], 4000 - core.position)
                for when, decibels in ((1000, 6.0), (1100, -12.0), (3000, 0.0)):
                    if start <= when < start + count:
                        core.set(when - start, GAIN, decibels)
                parts.append(core.run(count))
            sounds.append(np.concatenate(parts, axis=1)[0])
    plain = np.arange(4000) + 1
    gain = sounds[0] / plain
    assert (sounds[0] == sounds[1]).all()
    assert (sounds[0][:1000] == plain[:1000]).all()
    assert (sounds[0][3240:] == plain[3240:]).all()
    assert np.allclose(gain[1340:3000], 10 ** (-12 / 20), rtol=1e-6)
    assert np.allclose(gain[1000:1100], 1 + (10 ** (6 / 20) - 1) * np.arange(1, 101) / 240, rtol=1e-6)
    turned = np.linspace(gain[1099], 10 ** (-12 / 20), 241)[1:]  # from where the first ramp was
    assert np.allclose(gain[1100:1340], turned, rtol=1e-6)


def test_the_gain_acts_on_the_sound_of_its_sample(core):
    core.activate(48000, 512)
    core.set(0, GAIN, 0.0)
    core.run(512)
    core.caught_up()
    core.set(100, GAIN, 12.0)  # of sample 612, which comes out a block later
    sound = core.play([512] * 3)[0]
    plain = np.arange(3 * 512) + 1
    assert (sound[:612] == plain[:612]).all()
    assert sound[612] > plain[612]


def test_events_that_find_no_room_leave_no_note_hanging(core, folder):
    core.activate(48000, 128)
    alive(core)
    folder.hold(True)
    core.set(0, 5, 0.75)
    for _ in range(100):
        for offset in range(100):
            core.midi(offset, NOTE, 3)
        core.run(128)
    folder.hold(False)
    last = '"data": [191, 123, 0]'
    until(lambda: (core.run(128), last in (folder.path / "heard").read_text())[1], "the end of all notes")
    heard = folder.heard("midi")
    ends = [one for one in heard if one["data"][0] >> 4 == 0xB]
    assert [one["data"] for one in ends] == [[0xB0 + i // 2, (64, 123)[i % 2], 0] for i in range(32)]
    assert heard[-1] is ends[-1]
    lost = 10000 - (len(heard) - 32)
    assert [one["value"] for one in folder.heard("parameter")] == [0.75, 0.75]
    words = "timbrel's server could not follow: "
    until(lambda: sum(int(line.removeprefix(words).split()[0]) for line in core.said) == lost, "a word on what is lost")


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
        assert "latency_changed" not in core.changes


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
        assert "latency_changed" in core.changes
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


def test_names_are_as_the_server_tells_them(core):
    until(lambda: core.presets() == 2, "presets")
    told = Told()
    core.parameter(4, told)
    assert (told.name, told.rest, told.used) == (b"Macro 4", 0.25, 1)
    core.parameter(GAIN, told)
    assert told.name == b"Gain"
    name = bytes(64)
    assert core.preset_name(2, name)
    assert name.rstrip(b"\0") == b"two"
    assert not core.preset_name(3, name)
    assert not core.preset_name(0, name)


def test_a_server_that_is_killed_comes_back_with_its_state(lib, folder, log):
    folder.behave(child=True)  # which holds the socket open after it
    with opened(lib, folder) as core:
        core.wait()
        core.activate(48000, 128)
        core.load_preset(b"mine")
        core.set(0, 7, 0.875)
        first = alive(core)
        assert core.save().endswith(b"preset:mine")
        os.kill(first, signal.SIGKILL)
        until(lambda: not core.run(128).any(), "silence")
        until(lambda: (core.run(128), folder.process)[1] != first, "another server")
        assert alive(core) != first
        assert core.save().endswith(b"preset:mine")
        told = [
            one for one in folder.heard() if one["pid"] == folder.process and one["what"] in ("message", "parameter")
        ]
        assert told[0]["kind"] == 1
        assert bytes.fromhex(told[0]["content"]) == b"preset:mine"
        assert [(one["time"], one["number"], one["value"]) for one in told if one["what"] == "parameter"] == [
            (0, 7, 0.875)
        ]
        assert core.said == ["timbrel's server has ended (signal 9); it starts again"]
        assert core.said[0] in log.read_text()


def test_without_an_interpreter_there_is_silence_and_a_line_each_for_that_and_for_a_bounce(lib, folder, log):
    (folder.path / "interpreter").unlink()
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        core.offline(True)
        assert not core.run(10000).any()
        core.load_preset(b"mine")
        assert core.load(core.save())
        assert core.save().endswith(b"mine")
        until(lambda: len(core.said) == 2, "lines")
    assert sorted(core.said) == sorted([NO_PYTHON.format(folder=folder.path), SPOILT])
    assert core.urgent == core.said
    assert log.read_text().splitlines() == core.said


def test_an_interpreter_that_is_not_there_is_named(lib, folder):
    folder.name("/nowhere/python")
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        core.offline(True)
        until(lambda: core.said, "a line")
        assert not core.run(1000).any()
        assert "/nowhere/python" in core.said[0]


def test_an_interpreter_that_fails_is_given_up(lib, folder):
    folder.name("/bin/false")
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        core.offline(True)
        until(lambda: core.run(1000).any() or len(core.said) > 1, "lines")  # each waits for the attempt that is to come
        assert not core.run(1000).any()
        told, other = sorted(core.said, key=SPOILT.__ne__)  # by chance it is given up before the bounce begins
        assert told == SPOILT
        assert "3 times (status 1)" in other


@pytest.mark.parametrize("how", ["preset", "state", "parameter", "activation"])
def test_a_core_whose_server_was_given_up_tries_again_when_it_is_asked_to_play_something(lib, folder, how):
    program = (folder.path / "interpreter").read_text()
    folder.name("/nowhere/python")
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        state = core.save()
        until(lambda: core.standing() == SILENT, "the server is given up")
        (folder.path / "interpreter").write_text(program)
        assert not folder.heard("began")
        match how:
            case "preset":
                assert core.load_preset(b"mine")
            case "state":
                assert core.load(state[:8] + struct.pack("<II", 1, 4) + state[16:HEAD] + b"mine")
            case "parameter":
                core.set(0, PRESET, 2)
            case "activation":
                core.deactivate()
                core.activate(48000, 128)
        alive(core)
        assert core.standing() == PLAYS
        expected = {"parameter": b"chosen:2", "activation": b"default", "state": b"mine", "preset": b"preset:mine"}
        until(lambda: core.save().endswith(expected[how]), "its patch")


def test_a_server_that_was_given_up_is_given_up_again_after_as_many_failures(lib, folder):
    folder.name("/bin/false")
    with opened(lib, folder) as core:
        until(lambda: core.standing() == SILENT, "the server is given up")
        assert core.load_preset(b"mine")
        assert core.standing() == STARTS
        until(lambda: core.standing() == SILENT, "the server is given up again")
        assert len(core.said) == 1  # for the same reason


def test_silence_counts_from_a_servers_end_on_until_another_sounds(lib, folder):
    folder.hold(True)
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        for _ in range(5):
            core.run(128)
        assert (core.late(), core.standing()) == (0, STARTS)
        folder.hold(False)
        first = alive(core)
        assert core.standing() == PLAYS
        before = core.late()  # on a busy machine the first blocks may be late
        os.kill(first, signal.SIGKILL)
        until(lambda: not core.run(128).any(), "silence")
        silent = 1
        while not core.run(128).any():
            silent += 1
            time.sleep(0.002)
        assert silent <= core.late() - before <= silent + 4  # the last sound fades out in two or three blocks more
        counted = core.late()
        core.offline(True)  # which waits for what it plays
        assert core.run(1000).all(axis=1)[0]
        assert (core.late(), core.standing()) == (counted, PLAYS)


def test_silence_counts_where_there_is_no_server(lib, folder):
    (folder.path / "interpreter").unlink()
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        until(lambda: core.standing() == SILENT, "the server is given up")
        before = core.late()
        for _ in range(5):
            core.run(128)
        assert core.late() == before + 5


def test_a_bounce_that_loses_its_server_stays_spoilt_until_it_begins_anew(core):
    core.activate(48000, 128)
    core.offline(True)
    assert core.run(1000).all(axis=1)[0]
    assert not core.spoilt()
    os.kill(core.folder.process, signal.SIGKILL)
    until(lambda: (core.run(1000), core.spoilt())[1], "the end is noticed")
    until(lambda: core.run(1000).any(), "another server")
    assert core.spoilt()  # that one has not received the notes before
    until(lambda: SPOILT in core.urgent, "a word of it")
    core.offline(False)
    core.offline(True)
    assert core.run(1000).all(axis=1)[0]
    assert not core.spoilt()


def test_a_patch_that_is_known_after_the_project_was_saved_has_it_saved_again(lib, folder):
    folder.behave(thinks=True)
    folder.hold(True)
    with opened(lib, folder) as core:
        core.wait()
        core.load_preset(b"mine")
        assert core.save()[HEAD:] == b"mine"  # its name
        until(lambda: core.said == [UNKNOWN], "a word of it")
        assert "state_changed" not in core.changes
        folder.hold(False)
        until(lambda: "state_changed" in core.changes, "a change of the project")
        assert core.save()[HEAD:] == b"preset:mine"
        assert core.said == [UNKNOWN]


def test_the_server_inherits_nothing_that_is_not_its_own(lib, folder, monkeypatch, log):
    for name in ("PYTHONPATH", "PYTHONHOME_X", "LD_LIBRARY_PATH"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("TIMBREL_TEST", "kept")
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD})
    ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with opened(lib, folder) as core:
            core.activate(48000, 128)
            process = alive(core)
            assert os.getpgid(process) == process
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        signal.signal(signal.SIGHUP, ignored)
        os.close(leak)
    about = folder.heard("began")[0]
    assert about["arguments"] == ["-I", "-m", "timbrel.host.plugin"]
    assert "TIMBREL_TEST" in about["environment"]
    assert not [name for name in about["environment"] if name.startswith(("PYTHON", "LD_"))]
    assert about["blocked"] == []
    assert about["hangup"] == int(signal.SIG_DFL)
    assert about["sealed"]  # a memory that a server shortens would end the host where it reads on
    files = about["descriptors"]
    assert set(files) == {"0", "1", "2", "3", "4"}
    assert files["0"] == "/dev/null"
    assert files["1"] == files["2"] == str(log)
    assert "memfd" in files["3"]
    assert "socket" in files["4"]


def test_a_long_log_begins_anew(lib, folder, log):
    log.parent.mkdir(parents=True)
    log.write_bytes(b"x" * (1 << 20) + b"\n")
    (folder.path / "interpreter").unlink()
    with opened(lib, folder) as core:
        until(lambda: core.said, "a line")
    assert log.read_text().splitlines() == core.said


@pytest.mark.parametrize("behaviour", [{}, {"deaf": True}, {"child": True}])
def test_a_core_that_is_closed_leaves_no_process(lib, folder, behaviour):
    folder.behave(**behaviour)
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        processes = [alive(core)] + [one["child"] for one in folder.heard("began") if one["child"]]
    assert len(processes) == 1 + ("child" in behaviour)
    try:
        until(lambda: all(ended(one) for one in processes), "their end")
    finally:
        for one in processes:
            if not ended(one):
                os.kill(one, signal.SIGKILL)


def test_the_server_ends_with_its_host_however_that_ends(built, tmp_path):
    program = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(HERE)!r})
import native
lib = native.library({str(built / "core" / "libcore.so")!r})
core = native.Core(lib, native.Folder(Path({str(tmp_path / "plugin")!r})))
core.wait()
core.activate(48000, 128)
core.play([128] * 4)
print(core.folder.process, flush=True)
time.sleep(60)
"""
    host = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    process = int(host.stdout.readline())
    assert not ended(process)
    host.kill()
    host.communicate()
    until(lambda: ended(process), "the server's end")


def message(kind, content=b"", length=None, number=0):
    """A message on the socket, as hexadecimal digits."""
    return (struct.pack("<III", kind, number, len(content) if length is None else length) + content).hex()


@pytest.mark.parametrize(
    "talks",
    [
        message(102, length=1 << 31),
        message(103, bytes(100)),
        message(103, struct.pack("<64sfI", b"Macro", 2.0, 1) * MACROS),
        message(103, struct.pack("<64sfI", b"M" * 64, 0.5, 1) * MACROS),
        message(104, b"a name without an end"),
        message(105, b"a line\0with a zero"),
        message(105, b"x" * 70000),
    ],
)
def test_a_server_that_talks_nonsense_is_ended(lib, tmp_path, talks):
    folder = Folder(tmp_path / "plugin", talks=talks, deaf=True)
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        until(lambda: folder.heard("began"), "a server")
        process = folder.heard("began")[0]["pid"]
        until(lambda: ended(process), "its end")
        assert not core.run(128).any()


def test_a_line_that_is_long_is_cut_between_its_characters(lib, tmp_path):
    folder = Folder(tmp_path / "plugin", talks=message(105, b"x" + "é".encode() * 2000))
    with opened(lib, folder) as core:
        until(lambda: core.said, "a line")
        assert core.said == ["x" + "é" * 499]
        core.activate(48000, 128)
        alive(core)


def test_messages_of_later_kinds_are_passed_over(lib, tmp_path):
    folder = Folder(tmp_path / "plugin", talks=message(999, b"?" * 100000) + message(105, b"hello\n") + message(998))
    with opened(lib, folder) as core:
        until(lambda: core.said, "a line")
        assert core.said == ["hello "]
        core.activate(48000, 128)
        alive(core)


def test_an_answer_to_a_question_that_was_never_asked_answers_no_later_one(lib, tmp_path):
    folder = Folder(tmp_path / "plugin", talks=message(102, b"unasked", number=999) + message(105, b"said"))
    with opened(lib, folder) as core:
        until(lambda: core.said, "the line after the answer")
        core.load_preset(b"mine")
        assert core.save().endswith(b"preset:mine")  # as the server has it, and not only the name that was loaded


@pytest.mark.parametrize("what", ["made", "tail", "rack"])
def test_a_memory_that_cannot_be_is_the_end_of_a_server(lib, tmp_path, what):
    folder = Folder(tmp_path / "plugin", scribbles=what)
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        until(lambda: (core.run(128), folder.heard("began"))[1], "a server")
        process = folder.heard("began")[0]["pid"]
        until(lambda: (core.midi(0, NOTE, 3), core.run(128), ended(process))[2], "its end")
        until(lambda: not core.run(128).any(), "the end of the fade")
        assert core.latency() == 256


def test_no_sound_is_not_a_number(lib, tmp_path):
    folder = Folder(tmp_path / "plugin", sounds="nan")
    with opened(lib, folder) as core:
        core.activate(48000, 128)
        core.offline(True)
        sound = core.run(1000)
        core.caught_up()
        assert (sound == 0).all()


def test_closing_is_quick_while_a_server_starts(lib, folder):
    """Not a figure: what waited for the server to end would wait for ever."""
    (folder.path / "start").write_text("#!/bin/sh\nexec sleep 1000\n")
    with opened(lib, folder):
        begun = time.monotonic()
    assert time.monotonic() - begun < LONG
