"""The CLAP instrument over a core that writes down what it is asked, in a host of ours."""

import random

import numpy as np
import pytest
from timbrel.host.config import own_folder
from timbrel.host.plugin.bundles import list_presets
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.shipped import current_presets, earlier_presets, shipped_presets

from .formats import middle, playing

USED, UNUSED, READ = 32, 36, 9  # flags: automatable; and hidden too; read-only in steps
SILENT = "silent: see timbrel plugin status"


@pytest.fixture
def clap(fake_built, tmp_path):
    """A function that plays events: see `playing`."""
    return playing("clap", fake_built("clap"), tmp_path)


def test_events_reach_the_core_on_their_samples_and_in_their_order_in_any_blocks(clap):
    rng = random.Random(0)
    times = sorted(rng.randrange(4000) for _ in range(300))
    words = [f"midi {0x90 + rng.randrange(16):x} {rng.randrange(128):02x} {rng.randrange(128):02x}" for _ in times]
    words = [word if rng.random() < 0.5 else f"set {rng.randrange(16)} {rng.randrange(64) / 64:g}" for word in words]
    events = [f"{time} {word}" for time, word in zip(times, words, strict=True)]
    asked = [f"{word.split()[0]} {time} {word.split(' ', 1)[1]}" for time, word in zip(times, words, strict=True)]
    for blocks in [(64,), (1, 127, 1024, 333), (4000,)]:
        assert middle(clap(*events, samples=4000, blocks=blocks)[1]) == asked


def test_messages_of_two_bytes_are_two_bytes(clap):
    _, asked, _ = clap("0 midi c2 05 00", "0 midi d3 40 00", "1 midi e4 00 40")
    assert middle(asked) == ["midi 0 c2 05", "midi 0 d3 40", "midi 1 e4 00 40"]


def test_notes_of_claps_own_become_midi(clap):
    _, asked, _ = clap(
        "1 on 2 60 1", "2 on 2 61 0.5", "3 on 2 62 0", "4 off 2 60 0.25", "5 pressure 2 61 0.5", "6 choke 2 61 1"
    )
    assert middle(asked) == [
        "midi 1 92 3c 7f",
        "midi 2 92 3d 40",
        "midi 3 92 3e 01",  # velocity 0 is a note all the same
        "midi 4 82 3c 20",
        "midi 5 a2 3d 40",
        "midi 6 82 3d 00",
    ]


def test_a_note_off_for_all_keys_or_channels_lets_them_all_go(clap):
    _, asked, _ = clap("0 off 3 -1 0", "1 choke 3 -1 0", "2 off -1 60 0")
    everywhere = [f"midi 2 8{channel:x} 3c 00" for channel in range(16)]
    assert middle(asked) == ["midi 0 b3 7b 00", "midi 1 b3 78 00", *everywhere]


def test_keys_and_channels_that_midi_does_not_have_are_passed_over(clap):
    assert (
        middle(clap("0 on 16 60 1", "0 on 0 128 1", "0 on -1 60 1", "0 on 0 -1 1", "0 off -2 60 1", "0 off 17 -1 1")[1])
        == []
    )


def test_a_reset_ends_all_sound_before_what_follows(clap):
    _, asked, _ = clap("64 reset", "64 midi 90 3c 64")
    silence = [f"midi 64 b{channel:x} {number} 00" for channel in range(16) for number in ("78", "79")]
    assert middle(asked) == [*silence, "midi 64 90 3c 64"]


def test_the_latency_told_is_that_of_the_sound(clap):
    for blocks in [(64,), (128,), (64, 1024)]:
        said, _, sound = clap("7 midi 90 3c 64", samples=4096, blocks=blocks)
        assert said == ["latency changed", f"latency {max(blocks)}"]
        assert np.flatnonzero(sound[:, 0]).tolist() == [7 + max(blocks)]


def test_a_bounce_that_begins_in_the_midst_keeps_the_latency_that_was_told(clap):
    events = ["7 midi 90 3c 64", "640 offline", "650 midi 90 3c 64", "1280 realtime", "1300 midi 90 3c 64"]
    for blocks in [(64,), (64, 256)]:
        said, asked, sound = clap(*events, samples=2048, blocks=blocks)
        late = max(blocks)
        assert said == ["latency changed", f"latency {late}"]
        assert np.flatnonzero(sound[:, 0]).tolist() == [7 + late, 650 + late, 1300 + late]
        assert [line for line in asked if "offline" in line] == ["offline 1", "offline 0"]


def test_a_state_larger_than_any_is_refused_before_memory_is_full_of_it(clap, tmp_path):
    with (tmp_path / "state").open("wb") as file:
        file.write(b"fake ")
        file.truncate(150 << 20)
    said, asked, _ = clap(load=tmp_path / "state")
    assert "load refused" in said
    assert not any(line.startswith("load") for line in asked)


def test_a_load_is_told_to_the_host_in_its_main_thread(clap, tmp_path):
    (tmp_path / "state").write_bytes(b"fake ")
    said, _, _ = clap(load=tmp_path / "state")
    assert said == ["log a state is loaded", "load taken", "rescan 7", "dirty", "latency changed", "latency 64"]


def test_a_rack_that_is_later_than_was_told_asks_for_a_restart(clap, tmp_path):
    (tmp_path / "later").write_bytes(b"fake rack=9")
    said, asked, sound = clap("64 midi 90 3c 64", f"640 load {tmp_path / 'later'}", "832 midi 90 3c 64", samples=2048)
    assert said == [
        "latency changed",
        "latency 64",
        "log a state is loaded",
        "load taken",
        "rescan 7",
        "dirty",
        "restart",
        "latency changed",
        "latency 73",
    ]
    assert asked.count("activate 48000 64") == 2
    assert np.flatnonzero(sound[:, 0]).tolist() == [64 + 64, 832 + 73]


def test_parameters_have_names_ranges_and_texts(clap):
    said, _, _ = clap("0 set 16 -6", "0 set 17 2", "0 set 2 0.125", describe="")
    told = [line.split(" ", 1)[1].split("|") for line in said if line.startswith("parameter")]
    assert [line[0] for line in told] == [*map(str, range(19)), "3840", "3841"]
    assert told[0] == ["0", "Macro 1", str(UNUSED), "0.000", "1.000", "0.000", "0", "0"]
    assert told[2] == ["2", "Macro 3", str(UNUSED), "0.000", "1.000", "0.125", "0", "0.125"]
    assert told[16] == ["16", "Gain", str(USED), "-60.00 dB", "12.00 dB", "-6.00 dB", "0", "-6"]
    assert told[17] == ["17", "Preset", str(USED + 1), "as saved", "none", "pad", "0", "2"]
    assert told[18] == ["18", "Open panel", "1", "off", "on", "off", "0", "0"]
    assert told[19] == ["3840", "Late blocks", str(READ), "0", "1000000", "0", "0", "0"]
    assert told[20] == ["3841", "Status", str(READ), "starting", SILENT, "starting", "0", "0"]


def test_a_gain_just_below_nothing_is_no_negative_nothing(clap):
    said, _, _ = clap("0 set 16 -0.001", describe="")
    assert "|0.00 dB|" in next(line for line in said if line.startswith("parameter 16|"))


def test_a_macro_that_a_preset_names_has_its_name_and_rest(clap, tmp_path):
    (tmp_path / "state").write_bytes(b"fake ")
    said, _, _ = clap(load=tmp_path / "state", describe="")
    assert next(line for line in said if line.startswith("parameter 0|")).split("|")[1:7:5] == ["Brightness", "0.25"]
    assert f"|{USED}|" in next(line for line in said if line.startswith("parameter 0|"))


def test_a_host_lists_shipped_presets_and_the_users_own(clap, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    mine = own_folder("presets") / "café.toml"
    mine.parent.mkdir(parents=True)
    mine.write_text('format = 1\nmodel = "gm-chroma-8"\ndescription = "a\\tquiet\\npad"\n', encoding="utf-8")
    list_presets(tmp_path)
    said = clap(list=1000)[0]
    names = [line.removeprefix("listed ").split(" by ")[0] for line in said if line.startswith("listed ")]
    assert names == [*current_presets(), "café", *earlier_presets()]
    assert said[:2] == [
        f"listed {names[0]} by {names[0]} for clap timbrel.instrument, shipped",
        f"described {read_preset(shipped_presets()[names[0]]).description}",
    ]
    at = said.index("listed café by café for clap timbrel.instrument, the user's")
    assert said[at + 1] == "described a quiet pad"
    assert clap(list=2, draft="")[0][:6] == said[:4] + said[:2]


def test_where_no_presets_are_listed_a_host_is_told_how_to_list_them(clap):
    said = clap(list=9)[0]
    assert said[0].startswith("listing failed 2 ")
    assert "`timbrel plugin install`" in said[0]


def test_presets_are_loaded_by_name(clap):
    assert clap(preset="keys")[0][0] == "preset taken"
    said, asked, _ = clap(preset="/no/such.toml")
    assert said[0] == "preset refused"
    assert "preset /no/such.toml" in asked


def test_late_blocks_and_the_servers_standing_are_told_once_where_they_change(clap, tmp_path):
    (tmp_path / "state").write_bytes(b"fake rack=0 at=0 late=3 standing=2")
    said, _, _ = clap(f"64 load {tmp_path / 'state'}", samples=1024)
    assert [line for line in said if line.startswith("read")] == ["read 3840 3", "read 3841 2"]
