"""The LV2 plugin is valid, keeps its samples in a host, and brings its state back."""

import shutil
import subprocess

import numpy as np
import pytest

from .lv2 import URI, Lv2
from .native import PRESET, Folder


@pytest.fixture
def plugin(lv2_built, tmp_path):
    """A bundle that has the server of known sound; its folder is `plugin.server`."""
    one = Lv2(lv2_built, tmp_path)
    one.server = Folder(one.bundle)
    return one


@pytest.mark.parametrize("blocks", [(64,), (128,), (1024,), (64, 1, 1000, 17, 512)])
def test_a_bounce_has_each_event_on_its_sample(plugin, blocks):
    notes = [(7, 60), (63, 61), (64, 62), (1500, 63), (4000, 64)]
    played = plugin.play([f"{when} midi 90 {key:x} 40" for when, key in notes], 5000, "freewheel", blocks=blocks)
    assert (played.sound[0] == np.arange(5000) + 1).all()
    assert [(when, played.sound[1, when]) for when in np.flatnonzero(played.sound[1])] == notes
    assert (played.latency, played.late) == (0, 0)


@pytest.mark.parametrize(("block", "latency"), [(128, 256), (256, 256), (512, 512)])
def test_the_latency_that_the_port_tells_is_that_of_the_sound(plugin, block, latency):
    notes = {1 + count: 2000 + 300 * count for count in range(30)}
    events = ["1024 control freewheel 0"]  # a bounce waits until there is a server
    events += [f"{when} midi 90 {key:x} 40" for key, when in notes.items()]
    played = plugin.play(events, 12000, "freewheel", "live=4", blocks=(block,))
    counted = np.arange(12000) - played.sound[0]  # the server counts samples there
    offsets, times = np.unique(counted[2000:], return_counts=True)
    whole = counted == offsets[times.argmax()]  # not faded around a block that came late
    heard = np.flatnonzero((played.sound[1] != 0) & whole)
    assert played.latency == latency
    assert len(heard)
    assert [when - notes[int(played.sound[1, when])] for when in heard] == [latency] * len(heard)


def test_without_a_server_it_is_silent_and_its_port_and_standard_error_say_so(plugin):
    assert plugin.play([], 1000, "freewheel").status == 1
    plugin.server.name("/nowhere")
    played = plugin.play(["7 midi 90 3c 40"], 1000, "freewheel")
    assert not played.sound.any()
    assert played.status == 2
    assert "timbrel is silent: /nowhere does not start" in played.said


def test_ports_and_positions_become_events(plugin):
    events = ["10 position 120 0 0", "20 position 120 1 0", "300 control macro_3 0.25", "600 control panel 1"]
    events += ["700 position 90 0 5000", "800 position 90 1 5000", "900 position - 0 5100"]
    plugin.play(events, 1000, "freewheel", blocks=(128,))
    heard = plugin.server.heard
    assert [(one["time"], one["value"]) for one in heard("tempo")] == [(10, 120), (700, 90)]
    assert [(one["time"], one["number"]) for one in heard("transport")] == [
        (20, 1),
        (700, 0),
        (800, 2),
        (900, 0),
    ]
    assert [(one["time"], one["number"], one["value"]) for one in heard("parameter")] == [(300, 2, 0.25), (600, 18, 1)]


def test_a_tempo_in_beats_that_are_no_quarters_is_told_in_quarters(plugin):
    events = ["10 position 120 0 0", "200 position 180/8 0 0", "400 position 60 0 0", "600 position 60/2 0 0"]
    plugin.play(events, 1000, "freewheel", blocks=(128,))
    tempos = [(one["time"], one["value"]) for one in plugin.server.heard("tempo")]
    assert tempos == [(10, 120), (200, 90), (400, 30), (600, 120)]  # a position that says no unit keeps the last one


@pytest.mark.parametrize("before", [400, 1900])
def test_a_bounce_begins_where_the_transport_starts_however_long_the_host_runs_before(plugin, before):
    plugin.server.behave(rack_latency=30)
    early = [(50, "b0 4a 20"), (before - 31, "90 3c 40"), (before - 30, "90 3e 40"), (before - 10, "b0 4a 21")]
    events = ["0 position 120 0 0", *(f"{when} midi {said}" for when, said in early)]
    events += [f"{before} position 120 1 0", f"{before} midi 90 3f 40", f"{before + 70} midi 90 40 40"]
    played = plugin.play(events, before + 500, "freewheel", blocks=(100,))
    last = max(one["epoch"] for one in plugin.server.heard())
    heard = [(one["time"], *one["data"][:2]) for one in plugin.server.heard("midi") if one["epoch"] == last]
    assert heard == [(0, 0xB0, 0x4A), (0, 0x90, 0x3E), (20, 0xB0, 0x4A), (30, 0x90, 0x3F), (100, 0x90, 0x40)]
    assert (played.sound[0, before:] == np.arange(30, 530) + 1).all()
    assert np.flatnonzero(played.sound[1, before:]).tolist() == [0, 70]


def test_a_transport_that_stops_and_starts_again_in_a_bounce_does_not_begin_it_anew(plugin):
    events = ["0 position 120 1 0", "100 position 120 0 100", "300 position 120 1 100"]
    assert (plugin.play(events, 500, "freewheel", blocks=(100,)).sound[0] == np.arange(500) + 1).all()


def test_a_project_brings_its_sound_and_its_knobs_back(plugin, tmp_path):
    events = ["0 control preset 2", "0 control macro_1 0.75", "0 control gain -6", "0 control panel 1"]
    before = plugin.play(events, 2000, "freewheel", f"save={tmp_path}/saved/state.ttl")
    (plugin.server.path / "heard").write_text("")
    after = plugin.play([], 2000, "freewheel", f"load={tmp_path}/saved/state.ttl", f"save={tmp_path}/again/state.ttl")
    loads = [bytes.fromhex(one["content"]) for one in plugin.server.heard("message") if one["kind"] == 1]
    assert loads == [b"chosen:2"]
    told = [(one["time"], one["number"], one["value"]) for one in plugin.server.heard("parameter")]
    assert set(told) == {(0, 0, 0.75)}  # neither the preset, which the state holds, nor the panel
    assert (before.sound[0][1000:] == after.sound[0][1000:]).all()
    saved = [(tmp_path / name / "state.ttl").read_text().partition("state:state")[2] for name in ("saved", "again")]
    assert saved[0] == saved[1]
    assert "base64Binary" in saved[0]


def test_a_project_says_how_late_its_sound_is_before_its_server_is_there(plugin, tmp_path):
    plugin.server.behave(rack_latency=30)
    assert plugin.play([], 500, "freewheel", f"save={tmp_path}/saved/state.ttl").latency == 30
    plugin.server.hold(True)
    live, state = ["0 control freewheel 0"], f"load={tmp_path}/saved/state.ttl"
    assert plugin.play(live, 256, state, blocks=(256,)).latency == 256 + 30
    assert plugin.play(live, 256, state, blocks=(256,), rate=44100).latency == 256


def test_a_preset_of_the_format_names_one_of_ours(plugin):
    state = plugin.state("named", f'<{URI}#preset> "gm-keys"')
    plugin.play(["500 control preset 1"], 1000, "freewheel", f"load={state}")
    messages = [(one["kind"], bytes.fromhex(one["content"])) for one in plugin.server.heard("message")]
    assert (2, b"gm-keys") in messages
    told = [(one["time"], one["number"], one["value"]) for one in plugin.server.heard("parameter")]
    assert told == [(500, PRESET, 1)]


def test_a_state_that_is_none_is_refused_and_the_plugin_plays_on(plugin):
    state = plugin.state("broken", f'<{URI}#state> "bm9uc2Vuc2U="^^<http://www.w3.org/2001/XMLSchema#base64Binary>')
    played = plugin.play([], 500, "freewheel", f"load={state}")
    assert (played.sound[0] == np.arange(500) + 1).all()
    assert not [one for one in plugin.server.heard("message") if one["kind"] != 3]


def test_the_description_is_valid(plugin):
    if not shutil.which("sord_validate") or not shutil.which("lv2_validate"):
        pytest.skip("needs lv2_validate and sord_validate")
    files = sorted(map(str, plugin.bundle.glob("*.ttl")))
    done = subprocess.run(["lv2_validate", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Found 0 errors" in done.stdout + done.stderr
    assert "warning" not in done.stdout + done.stderr


def test_lv2bench_runs_it(plugin):
    if not shutil.which("lv2bench"):
        pytest.skip("needs lv2bench")
    done = subprocess.run(["lv2bench", URI], env=plugin.environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == URI
    assert float(done.stdout.split()[0]) > 0


def test_only_the_plugins_entry_is_seen_from_outside(plugin):
    if not shutil.which("nm"):
        pytest.skip("needs nm")
    done = subprocess.run(
        ["nm", "-D", "--defined-only", plugin.bundle / "timbrel.so"], capture_output=True, text=True, check=True
    )
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["lv2_descriptor"]
