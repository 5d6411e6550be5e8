"""The VST3 instrument over a core that writes down what it is asked, in a host of ours."""

import random

import numpy as np
import pytest

from .formats import middle, playing

LATENCY, VALUES_AND_TITLES = 8, 4 + 16  # flags of restartComponent
UNSET = 2.0**-20


@pytest.fixture
def vst3(fake_built, tmp_path):
    """A function that plays events: see `playing`."""
    return playing("vst3", fake_built("vst3"), tmp_path)


def table(said, word):
    """The lines that describe one kind of thing, split."""
    return [line.split(" ", 1)[1].split("|") for line in said if line.startswith(f"{word} ")]


def test_every_message_of_midi_arrives_as_it_was_sent(vst3):
    sent = [
        f"b{channel:x} {number:02x} {value:02x}"
        for channel in (0, 15)
        for number in (0, 7, 64, 127)
        for value in range(128)
    ]
    sent += [
        f"e{channel:x} {low:02x} {high:02x}" for channel in (0, 9) for high in range(0, 128, 3) for low in (0, 1, 127)
    ]
    sent += [f"{kind}{channel:x} {value:02x}" for kind in "cd" for channel in (0, 7) for value in range(128)]
    sent += [f"{kind}3 {key:02x} {value:02x}" for kind in "89a" for key in (0, 127) for value in range(1, 128)]
    random.Random(0).shuffle(sent)
    _, asked, _ = vst3(
        *(f"{time} midi {message}" for time, message in enumerate(sent)), samples=len(sent), blocks=(64, 333)
    )
    assert middle(asked) == [f"midi {time} {message}" for time, message in enumerate(sent)]


def test_what_lies_on_one_sample_stays_in_order_controllers_before_notes(vst3):
    events = [
        "9 midi 90 3c 64",
        "9 midi 80 3c 00",
        "9 midi 90 3c 50",
        "9 midi b0 40 7f",
        "9 midi e0 00 40",
        "5 midi 90 40 01",
    ]
    _, asked, _ = vst3(*sorted(events, key=lambda event: int(event[0])))
    expected = ["5 90 40 01", "9 b0 40 7f", "9 e0 00 40", "9 90 3c 64", "9 80 3c 00", "9 90 3c 50"]
    assert middle(asked) == [f"midi {line}" for line in expected]


def test_a_crowded_block_is_merged_as_a_stable_sort_does(vst3):
    rng = random.Random(1)
    notes = [
        (rng.randrange(1024), f"{rng.choice('89')}0 {rng.randrange(128):02x} {rng.randrange(1, 128):02x}")
        for _ in range(500)
    ]
    bends = sorted((rng.randrange(1024), f"e1 {rng.randrange(128):02x} {rng.randrange(128):02x}") for _ in range(400))
    knobs = sorted((rng.randrange(1024), f"b2 4a {rng.randrange(128):02x}") for _ in range(400))
    rng.shuffle(notes)  # a host may give its list of notes in any order
    events = [f"0 midi {bends[0][1]}", f"0 midi {knobs[0][1]}"]  # which queue is the first
    merged = sorted([(0, bends[0][1]), *bends, (0, knobs[0][1]), *knobs, *notes], key=lambda event: event[0])
    events += [f"{time} midi {message}" for time, message in [*bends, *knobs, *notes]]
    _, asked, _ = vst3(*events, samples=1024, blocks=(1024,))
    assert middle(asked) == [f"midi {time} {message}" for time, message in merged]


def test_values_reach_the_core_in_their_own_unit(vst3):
    zero = np.float32(60 / 72)  # hosts keep floats: 0 dB must come back as exactly that
    _, asked, _ = vst3(
        "0 set 16 0",
        "1 set 16 1",
        f"2 set 16 {zero:.9g}",
        *(f"{n} set 17 {np.float32(n / 127):.9g}" for n in range(3, 60)),
    )
    assert middle(asked) == ["set 0 16 -60", "set 1 16 12", "set 2 16 0", *(f"set {n} 17 {n}" for n in range(3, 60))]


def test_what_a_host_gives_back_as_it_found_it_moves_nothing(vst3):
    said, _, _ = vst3(describe="")
    found = {line[0]: float(line[7]) for line in table(said, "parameter")}
    events = [
        f"{time} set {number} {np.float32(value):.9g}"
        for time, (number, value) in enumerate(found.items())
        if int(number) > 15
    ]
    events += [f"0 set {number} {np.float32(found[str(number)]):.9g}" for number in range(16)]
    events.sort(key=lambda event: int(event.split()[0]))
    _, asked, _ = vst3(*events, samples=len(found), blocks=(64,))
    assert [line.split()[2] for line in middle(asked)] == ["16", "17", "18"]
    assert middle(asked)[0].endswith("16 0")


def test_a_macro_that_a_preset_names_is_not_moved_by_what_a_host_found_there(vst3, tmp_path):
    (tmp_path / "state").write_bytes(b"fake ")
    events = (f"0 set 0 {UNSET:.9g}", "64 set 0 0")  # where it stands in the fake core, and set by somebody
    assert middle(vst3(*events, load=tmp_path / "state")[1]) == ["set 64 0 0"]


def test_a_macro_is_not_moved_by_what_a_host_found_there_before_a_project_was_loaded(vst3, tmp_path):
    (tmp_path / "state").write_bytes(b"fake rack=0 at=0.75")
    found = [f"512 set {macro} {np.float32(value):.9g}" for macro, value in ((0, UNSET), (1, 0.75 - UNSET))]
    _, asked, _ = vst3(
        f"64 load {tmp_path / 'state'}", *found, "576 set 0 0.75", f"640 set 0 {UNSET:.9g}", samples=1024
    )
    assert middle(asked) == ["set 576 0 0.75", f"set 640 0 {UNSET:.9g}"]


def test_a_macro_ignores_values_that_a_host_read_from_another_instance_after_loading_its_state(vst3, tmp_path):
    (tmp_path / "state").write_bytes(b"fake rack=0 at=0.5 late=0 standing=0 saved=0.75")
    found = f"{np.float32(0.75 - UNSET):.9g}"
    _, asked, _ = vst3(
        f"0 set 0 {found}", f"64 set 1 {found}", "128 set 1 0.75", f"192 set 1 {found}", load=tmp_path / "state"
    )
    assert middle(asked) == ["set 128 1 0.75", f"set 192 1 {found}"]


def test_a_macro_that_a_host_has_set_rests_again_where_a_state_is_loaded(vst3, tmp_path):
    (tmp_path / "state").write_bytes(b"fake rack=0 at=0.75")
    found = f"512 set 0 {np.float32(0.75 - UNSET):.9g}"
    _, asked, _ = vst3("0 set 0 0.25", f"64 load {tmp_path / 'state'}", found, samples=1024)
    assert middle(asked) == ["set 0 0 0.25"]


def test_a_macro_that_a_host_has_set_and_that_rests_again_is_not_moved_by_what_the_host_finds_there(vst3):
    """Ardour writes back the values that it reads after a change."""
    _, asked, _ = vst3("0 set 0 0.25", "64 set 17 0.5", f"512 set 0 {UNSET:.9g}", samples=1024)
    assert [line.split()[2] for line in middle(asked)] == ["0", "17"]


def test_a_macro_set_to_an_end_of_its_range_is_set(vst3):
    assert middle(vst3("0 set 0 0", "1 set 0 1", "2 set 0 0.5")[1]) == ["set 0 0 0", "set 1 0 1", "set 2 0 0.5"]


def test_parameters_that_there_are_not_move_nothing(vst3):
    assert middle(vst3("0 set 19 0.5", "0 set 4095 0.5", "0 set 6192 0.5", "0 set 4294967295 0.5")[1]) == []


def test_values_without_samples_arrive_before_the_next_block(vst3):
    assert middle(vst3("0 set 0 0.25", "0 flush", "1 midi 90 3c 64")[1]) == ["set 0 0 0.25", "midi 1 90 3c 64"]


def test_a_transport_that_rolls_before_the_songs_beginning_is_ahead_of_the_host_by_the_latency(vst3):
    events = ("0 tempo 90", "0 play -0.002", "192 stop", "256 play -0.001", "320 stop", "384 play -0.004")
    _, asked, _ = vst3(*events, samples=600)
    starts = [line for line in middle(asked) if line.split()[2] == "1"]
    # 64 samples before the session's beginning the song begins; it does not begin again where the session does.
    assert starts == ["transport 0 1 1 0", "transport 256 1 0 32", "transport 384 1 0 0", "transport 448 1 1 0"]


def test_a_host_that_asks_too_early_for_the_latency_is_told_the_true_one(vst3, tmp_path):
    said, _, _ = vst3(samples=1024, early="")
    assert said == ["latency 0", f"restart {LATENCY}", "latency 64"]
    (tmp_path / "later").write_bytes(b"fake rack=9")
    said, _, _ = vst3("64 midi 90 3c 64", load=tmp_path / "later", samples=1024, offline="", early="")
    assert [line for line in said if line.startswith("latency")] == ["latency 0", "latency 9"]


def test_the_latency_told_is_that_of_the_sound(vst3):
    for blocks in [(64,), (128,), (64, 1024)]:
        said, _, sound = vst3("7 midi 90 3c 64", samples=4096, blocks=blocks)
        assert said[0] == f"latency {max(blocks)}"
        assert np.flatnonzero(sound[:, 0]).tolist() == [7 + max(blocks)]


def test_a_bounce_that_begins_in_the_midst_keeps_the_latency_that_was_told(vst3):
    said, asked, sound = vst3("7 midi 90 3c 64", "640 offline", "650 midi 90 3c 64", samples=2048, blocks=(64, 256))
    assert said == ["latency 256"]
    assert np.flatnonzero(sound[:, 0]).tolist() == [7 + 256, 650 + 256]
    assert "offline 1" in asked


def test_a_load_is_told_to_the_host_in_its_main_thread_once(vst3, tmp_path):
    (tmp_path / "state").write_bytes(b"fake ")
    said, _, _ = vst3(f"64 load {tmp_path / 'state'}", samples=1024)
    assert said == ["latency 64", "load taken", "programs 1 -1", "dirty 1", f"restart {VALUES_AND_TITLES}"]


def test_each_of_two_loads_is_told(vst3, tmp_path):
    (tmp_path / "state").write_bytes(b"fake ")
    said, _, _ = vst3(f"64 load {tmp_path / 'state'}", f"512 load {tmp_path / 'state'}", samples=1024)
    assert said.count(f"restart {VALUES_AND_TITLES}") == 2


def test_a_rack_that_is_later_than_was_told_asks_for_a_restart(vst3, tmp_path):
    (tmp_path / "later").write_bytes(b"fake rack=9")
    said, asked, sound = vst3("64 midi 90 3c 64", f"640 load {tmp_path / 'later'}", "832 midi 90 3c 64", samples=2048)
    assert f"restart {LATENCY + VALUES_AND_TITLES}" in said
    assert said[-1] == "latency 73"
    assert asked.count("activate 48000 64") == 2
    assert np.flatnonzero(sound[:, 0]).tolist() == [64 + 64, 832 + 73]


def test_parameters_have_names_ranges_and_texts(vst3):
    said, _, _ = vst3("0 set 16 0.75", f"0 set 17 {2 / 127}", "0 set 2 0.125", describe="")
    told = table(said, "parameter")
    assert told[0] == ["0", "Macro 1", "1", "0", "0.000", "1.000", "0.000", f"{UNSET:.9g}", "0"]
    assert told[2] == ["2", "Macro 3", "1", "0", "0.000", "1.000", "0.125", "0.125", "0.125"]
    assert told[16][1:7] == ["Gain", "1", "0", "-60.00 dB", "12.00 dB", "-6.00 dB"]
    assert told[17][1:7] == ["Preset", str(1 + 8 + (1 << 15)), "127", "as saved", "none", "pad"]
    assert told[18][1:7] == ["Open panel", "0", "1", "off", "on", "off"]
    assert len({line[0] for line in told}) == len(told) == 22 + 16 * 131
    assert told[19][:7] == ["3840", "Late blocks", "2", "1000000", "0", "1000000", "0"]
    assert told[20][:7] == ["3841", "Status", "2", "2", "starting", "silent: see timbrel plugin status", "starting"]
    assert all(int(line[2]) & 16 and line[1].startswith("MIDI CC ") for line in told[21:])


def test_what_a_preset_has_put_to_rest_is_shown_at_rest(vst3):
    said, _, _ = vst3("0 set 2 0.125", f"1 set 17 {1 / 127}", describe="")
    assert table(said, "parameter")[2][6] == "0.000"


def test_programs_are_the_presets_by_their_names(vst3):
    programs = table(vst3(describe="")[0], "program")
    assert [line[1] for line in programs[:5]] == ["as saved", "keys", "pad", "Caf<00e9> <d83c><dfb9>", "none"]
    assert len(programs) == 128


def test_a_macro_that_a_preset_names_has_its_name_and_rest(vst3, tmp_path):
    (tmp_path / "state").write_bytes(b"fake ")
    first = table(vst3(load=tmp_path / "state", describe="")[0], "parameter")[0]
    assert (first[1], first[7]) == ("Brightness", "0.25")


def test_late_blocks_and_the_servers_standing_are_told_once_where_they_change(vst3, tmp_path):
    (tmp_path / "state").write_bytes(b"fake rack=0 at=0 late=3 standing=2")
    said, _, _ = vst3(f"64 load {tmp_path / 'state'}", samples=1024)
    assert [line for line in said if line.startswith("read")] == [
        "read 3840 3",
        "read 3841 silent: see timbrel plugin status",
    ]
