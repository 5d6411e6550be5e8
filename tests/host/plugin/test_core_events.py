"""The native core passes events on at their samples: notes, parameters, programs, tempo and gain."""

import numpy as np
import pytest

from .native import GAIN, MACROS, MIXED, NOTE, PRESET, Folder, alive, opened, until

pytestmark = pytest.mark.usefixtures("log")


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


def test_short_system_exclusive_messages_are_passed_on_in_parts_and_no_others(core, folder):
    core.activate(48000, 128)
    core.offline(True)
    for message in ("f07e7f0901", "f0" + "00" * 20 + "f7", "f0"):
        core.midi(3, bytes.fromhex(message), len(message) // 2)
    core.midi(9, bytes.fromhex("f07e7f0901f7"), 6)
    core.midi(10, bytes.fromhex("f07f7f04040034f7"), 8)
    core.run(128)
    assert [(one["time"], bytes(one["data"]).hex()) for one in folder.heard("exclusive")] == [
        (9, "f07e7f"),
        (9, "0901f7"),
        (10, "f07f7f"),
        (10, "040400"),
        (10, "34f7"),
    ]


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


def test_what_is_turned_on_the_panel_no_longer_stands_where_the_host_has_put_it(lib, tmp_path):
    folder = Folder(tmp_path, turns=[0, PRESET])
    with opened(lib, folder) as core:
        core.wait()
        core.activate(48000, 100)
        core.set(0, PRESET, 2)
        core.play([100])
        for macro in (0, 3):
            core.set(0, macro, 0.875)
        core.play([100])
        core.save()  # the server says before its answer what was turned
        assert core.get(PRESET) == 0
        core.offline(True)  # another epoch begins
        core.run(100)
        core.set(60, PRESET, 2)
        core.run(100)
        told = [(one["number"], one["value"]) for one in folder.heard("parameter") if one["epoch"] == 2]
        assert told == [(3, 0.875), (PRESET, 2)]


def test_what_was_turned_on_the_panel_before_a_load_leaves_what_the_host_has_loaded(lib, tmp_path):
    for name in ("saving", "loading"):
        (tmp_path / name).mkdir()
    with opened(lib, Folder(tmp_path / "saving")) as core:
        core.wait()
        core.activate(48000, 100)
        core.set(0, 0, 0.875)
        core.play([100])
        state = core.save()
    folder = Folder(tmp_path / "loading", late_turns=[0])
    with opened(lib, folder) as core:
        core.wait()
        core.load(state)
        until(lambda: folder.heard("message"), "the load")
        core.save()
        assert core.get(0) == 0.875


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
