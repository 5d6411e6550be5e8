"""A board between pages and a stand-in for what sounds."""

import dataclasses
import time
import tomllib

import pytest
from timbrel.host.events import ControlChange, NoteOff, NoteOn, ParameterChange, ParameterTouch
from timbrel.host.panel.panel_state import PanelState
from timbrel.host.panel.protocol import read_message
from timbrel.host.session.messages import SessionView
from timbrel.host.shipped import Draft

from .fakes import RESTS, TEXT, Out, status, view


@pytest.fixture
def stage(tmp_path):
    """A board that shows a preset of a folder, a function that lets a page say something, and the ways out."""
    out = Out()
    board = PanelState(out, tmp_path)
    (tmp_path / "pad.toml").write_text(TEXT)
    board.apply_report("view", view(folder=tmp_path))
    board.apply_report("ready", status(RESTS))

    def say(t, page="one", **fields):
        import json

        board.apply(page, read_message(json.dumps({"t": t, **fields})))

    return board, say, out


def drag(say, target, *values, page="one"):
    say("grab", page, targets=[target])
    for value in values:
        say("move", page, values={target: value})
    say("drop", page, targets=[target])


def played(out):
    """The draft that was asked for last, and answered as the process that sounds answers."""
    draft = out.loads[-1]
    assert isinstance(draft, Draft)
    return draft


def answer(board, out, rests, **more):
    """The process that sounds plays the draft that was asked for last."""
    draft = played(out)
    board.apply_report("playing", {None: draft})
    board.apply_report("view", view(draft.text, draft.name, rests, draft.folder, **more))


def test_a_drag_is_held_turned_and_let_go_in_this_order_and_is_one_step(stage):
    _board, say, out = stage
    drag(say, "latent.0", 0.3, 0.6)
    assert out.events == [
        ParameterTouch(0, 0, "latent.0", True),
        ParameterChange(0, 0, "latent.0", 0.3),
        ParameterChange(0, 0, "latent.0", 0.6),
        ParameterTouch(0, 0, "latent.0", False),
    ]
    assert out.shown("preset")["can_undo"]
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.25)
    assert not out.shown("preset")["can_undo"]
    assert not out.shown("preset")["dirty"]
    say("redo")
    assert out.turns[-1] == ("latent.0", 0.6)


def test_a_gesture_that_ends_where_it_began_is_no_step_and_no_change(stage):
    board, say, out = stage
    say("grab", targets=["latent.0"])
    say("move", values={"latent.0": 0.9})
    board.apply_report("report", status(RESTS | {"latent.0": 0.9}))
    say("move", values={"latent.0": 0.25})
    say("drop", targets=["latent.0"])
    states = [message["state"] for _, message in out.told if message["t"] == "state"]
    assert not any(state.get("preset", {}).get("dirty") for state in states)
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.25)
    assert not out.shown("preset")["can_undo"]
    assert not out.shown("preset")["dirty"]


def test_a_target_that_is_grabbed_twice_goes_back_to_where_it_was_at_first(stage):
    _board, say, out = stage
    say("grab", targets=["latent.0"])
    say("move", values={"latent.0": 0.9})
    drag(say, "latent.0", 0.6)
    assert [event.down for event in out.events if isinstance(event, ParameterTouch)] == [True, False]
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.25)


def test_a_target_that_is_let_go_where_it_was_leaves_no_step_and_no_change(stage):
    board, say, out = stage
    drag(say, "latent.0", 0.6, 0.25)
    board.apply_report("report", status(RESTS))
    assert not board.state()["preset"]["can_undo"]
    assert not board.state()["preset"]["dirty"]
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.25)


def test_what_was_undone_is_forgotten_once_something_else_is_done(stage):
    _board, say, out = stage
    drag(say, "latent.0", 0.2)
    say("undo")
    say("set", values={"latent.1": 0.7})
    preset = out.shown("preset")
    assert (preset["can_undo"], preset["can_redo"]) == (True, False)
    before = dict(out.values())
    say("redo")
    assert out.values() == before


def test_values_stay_in_range_and_what_is_no_target_is_passed_over(stage):
    _board, say, out = stage
    say("set", values={"gain": 99.0, "latent.9": 1.0, "envelope.sustain": -3.0})
    assert out.turns == [("gain", 12.0), ("envelope.sustain", 0.0)]


def test_a_page_moves_only_what_it_holds(stage):
    _board, say, out = stage
    say("move", values={"latent.0": 0.9})
    say("grab", "two", targets=["latent.0"])
    say("move", values={"latent.0": 0.9})
    assert out.turns == []


def test_two_pages_believe_the_same_after_interleaved_moves(stage):
    _board, say, out = stage
    for page in ("one", "two"):
        say("grab", page, targets=["latent.0", "latent.1"])
    for step in range(40):
        say("move", ("one", "two")[step % 2], values={f"latent.{step % 3 % 2}": step / 40})
    assert all(page is None for page, message in out.told if message["t"] == "values")
    numbers = [message["n"] for _, message in out.told if message["t"] == "values"]
    assert numbers == sorted(set(numbers))
    assert {k: v for k, v in out.values().items() if k.startswith("latent")} == dict(out.turns[-10:])


def test_what_two_pages_hold_is_held_until_the_second_lets_go(stage):
    board, say, out = stage
    say("grab", "one", targets=["latent.0"])
    say("grab", "two", targets=["latent.0"])
    say("drop", "one", targets=["latent.0"])
    assert [event.down for event in out.events] == [True]
    board.leave("two")
    assert [event.down for event in out.events] == [True, False]


def test_a_page_that_goes_leaves_no_key_pedal_or_target_held(stage):
    board, say, out = stage
    say("note", key=60, velocity=100)
    say("note", "two", key=60, velocity=90)
    say("note", key=64, velocity=100)
    say("sustain", down=True)
    say("grab", targets=["latent.1"])
    out.events.clear()
    board.leave("one")
    assert out.events == [NoteOff(0, 0, 64), ControlChange(0, 0, 64, 0), ParameterTouch(0, 0, "latent.1", False)]
    board.leave("two")
    assert out.events[-1] == NoteOff(0, 0, 60)


def test_hold_is_one_for_all_pages_and_goes_with_the_last_of_them_a_panic_or_the_sound(stage):
    board, say, out = stage
    pedals = []

    def held():
        pedals[:] = [event.value for event in out.events if event == ControlChange(0, 0, 64, event.value)]
        return out.shown("hold"), board.state()["hold"]

    say("hold", down=True)
    say("hold", "two", down=True)
    assert (held(), pedals) == ((True, True), [127])
    board.leave("one")
    assert (held(), pedals) == ((True, True), [127])
    say("hold", "two", down=False)
    assert (held(), pedals) == ((False, False), [127, 0])
    say("hold", "two", down=True)
    say("panic", "three")
    assert (held(), pedals[-1]) == ((False, False), 0)
    assert (None, {"t": "panic"}) in out.told
    say("hold", "two", down=True)
    board.apply_report("ready", status(RESTS))
    assert held() == (False, False)
    say("hold", "two", down=True)
    board.leave("two", last=True)
    assert not board.state()["hold"]
    assert out.events[-1] == ControlChange(0, 0, 64, 0)


def test_only_a_session_with_a_card_of_its_own_has_settings_devices_and_recordings(stage):
    board, say, out = stage
    words = {"settings": {"block": 256, "ports": None}, "record": {"on": True}, "devices": {}}
    for t, fields in words.items():
        say(t, **fields)
    assert (out.asked, board.state()["session"]) == ([], None)
    shown = SessionView(ports=(), midi_api="jack", channel=None, block=128, lowest_latency=False)
    board.apply_report("session", shown)
    for t, fields in words.items():
        say(t, **fields)
    assert out.asked == [("settings", {"block": 256, "ports": None}), ("record", True), ("one", "jack")]
    assert (out.shown("session")["block"], board.state()["session"]["seconds"]) == (128, 0.0)
    since = time.monotonic() - 30
    board.apply_report("session", dataclasses.replace(shown, recording="on", since=since))
    assert 30 <= board.state()["session"]["seconds"] < 3000


def test_panic_ends_all_sound_by_what_every_host_knows(stage):
    board, say, out = stage
    say("note", key=60, velocity=100)
    say("panic")
    assert {event.number for event in out.events if isinstance(event, ControlChange)} == {64, 120, 123}
    board.leave("one")
    assert not any(isinstance(event, NoteOff) for event in out.events)


def test_a_knob_that_moves_is_seen_but_not_while_a_hand_holds_the_target_nor_before_its_own_turn_is_known(stage):
    board, say, out = stage
    board.apply_report("report", status(RESTS | {"latent.1": 0.1}))
    assert out.values()["latent.1"] == 0.1
    say("grab", targets=["latent.0"])
    say("move", values={"latent.0": 0.9})
    board.apply_report("report", status(RESTS))
    say("drop", targets=["latent.0"])
    board.apply_report("report", status(RESTS))  # was on its way before the move arrived
    assert out.values()["latent.0"] == 0.9
    board.apply_report("report", status(RESTS | {"latent.0": 0.9}))
    board.apply_report("report", status(RESTS | {"latent.0": 0.2}))
    assert out.values()["latent.0"] == 0.2


def test_a_knob_that_waits_is_told_where_it_stands_until_it_has_met_its_target(stage):
    board, _say, out = stage
    assert board.state()["waiting"] == {}
    board.apply_report("report", status(RESTS, waiting={("gain", "CC 7"): -20.0, ("gain", "CC 8"): -3.0}))
    assert out.shown("waiting") == board.state()["waiting"] == {"gain": {"CC 7": -20.0, "CC 8": -3.0}}
    told = len(out.told)
    board.apply_report("report", status(RESTS, waiting={("gain", "CC 7"): -20.0, ("gain", "CC 8"): -3.0}))
    assert [message["t"] for _, message in out.told[told:]] == ["meters"]
    board.apply_report("report", status(RESTS))
    assert out.shown("waiting") == {}


def test_the_other_side_begins_as_a_copy_and_each_keeps_its_values_and_steps(stage):
    _board, say, out = stage
    drag(say, "latent.0", 0.6)
    say("side", side="B")
    assert out.values()["latent.0"] == 0.6
    say("set", values={"latent.0": 0.1})
    say("side", side="A")
    assert out.turns[-1] == ("latent.0", 0.6)
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.25)
    say("side", side="B")
    assert out.turns[-1] == ("latent.0", 0.1)
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.6)
    assert not out.shown("preset")["can_undo"]


def test_an_effect_is_added_to_a_draft_that_rests_where_targets_stand_and_its_undo_is_the_text_before(stage):
    board, say, out = stage
    drag(say, "latent.0", 0.6)
    say("effect", do="add", plugin="Reverb")
    text = played(out).text
    assert tomllib.loads(text)["latent"]["values"] == [0.6, 0.75]
    assert tomllib.loads(text)["effects"] == [{"plugin": "Reverb"}]
    assert "# dark, open" in text
    answer(board, out, RESTS | {"latent.0": 0.6})
    assert out.shown("effects") == [{"index": 0, "plugin": "Reverb", "title": "Reverb", "on": True}]
    assert out.turns == [("latent.0", 0.6)]
    say("undo")
    assert tomllib.loads(played(out).text) == tomllib.loads(TEXT) | {"latent": {"values": [0.6, 0.75]}}
    answer(board, out, RESTS | {"latent.0": 0.6})
    say("undo")
    assert out.turns[-1] == ("latent.0", 0.25)


def test_what_hands_do_while_a_draft_is_opened_is_done_again_when_it_plays(stage):
    board, say, out = stage
    say("effect", do="add", plugin="Reverb")
    say("grab", targets=["latent.1"])
    say("move", values={"latent.1": 0.5})
    out.events.clear()
    answer(board, out, RESTS)
    assert out.events == [ParameterTouch(0, 0, "latent.1", True), ParameterChange(0, 0, "latent.1", 0.5)]


def test_a_draft_that_is_refused_is_told_and_leaves_no_step(stage):
    board, say, out = stage
    say("effect", do="add", plugin="Reverb")
    board.apply_report("refused", ({None: played(out)}, ["no room"]))
    assert out.said() == ["no room"]
    preset = out.shown("preset")
    assert (preset["dirty"], preset["can_undo"]) == (False, False)


def test_a_preset_that_a_knob_has_moved_is_changed_until_the_knob_is_back(stage):
    board, _say, out = stage
    for value, changed in ((0.9, True), (0.9, True), (0.75, False)):
        board.apply_report("report", status(RESTS | {"latent.1": value}))
        assert out.shown("preset")["dirty"] is board.state()["preset"]["dirty"] is changed
    assert len([m for _, m in out.told if "preset" in m.get("state", {}) and "controls" not in m["state"]]) == 2


def test_another_process_shows_unsaved_changes_as_such(stage, tmp_path):
    _board, _say, out = stage
    for text, draft, values, changed in (
        (TEXT, False, RESTS, False),
        (TEXT.replace("0.25", "0.3"), True, RESTS, True),
        (TEXT, False, RESTS | {"gain": -3.0}, True),
    ):
        again = PanelState(out, tmp_path)
        again.apply_report("again", dataclasses.replace(view(text, folder=tmp_path), draft=draft))
        again.apply_report("report", status(values))
        assert out.shown("preset")["dirty"] is again.state()["preset"]["dirty"] is changed
    again.apply_report("again", dataclasses.replace(view(folder=tmp_path), draft=True))
    again.apply(1, read_message('{"t": "save", "name": "mine"}'))
    assert not out.shown("preset")["dirty"]


def test_a_kits_keys_have_labels_and_what_lies_between_them_is_silent(stage, tmp_path):
    board, _say, out = stage
    board.apply_report("view", dataclasses.replace(view(folder=tmp_path), keys={36: "kick", 38: "", 40: "hat"}))
    labels = {36: "kick", 40: "hat"}
    assert out.shown("keys") == {"low": 36, "high": 40, "center": 40, "silent": [37, 39], "labels": labels}


def test_another_preset_begins_anew(stage, tmp_path):
    board, say, out = stage
    drag(say, "latent.0", 0.6)
    board.apply_report("view", view(TEXT.replace("0.25", "0.5"), "other", RESTS | {"latent.0": 0.5}, tmp_path))
    preset = out.shown("preset")
    assert (preset["name"], preset["dirty"], preset["can_undo"]) == ("other", False, False)
    assert out.values()["latent.0"] == 0.5


def test_the_map_is_that_of_the_models_file_or_of_its_bytes_and_stays_as_long_as_they_do(stage, tmp_path):
    board, _, out = stage
    brought, other = ({"tiny.onnx": data, "scale.scl": b"a scale"} for data in (b"a model", b"another"))
    of_file = view(folder=tmp_path)
    for files in (None, brought, brought, other):
        board.apply_report("view", of_file if files is None else dataclasses.replace(of_file, files=files))
    assert out.maps == [(of_file.model, None), (of_file.model, b"a model"), (of_file.model, b"another")]


def test_a_preset_that_is_loaded_again_is_as_its_file_has_it(stage, tmp_path):
    board, say, out = stage
    drag(say, "latent.0", 0.6)
    say("load", name="pad")
    assert out.loads == [str(tmp_path / "pad.toml")]
    board.apply_report("playing", {None: out.loads[0]})
    board.apply_report("view", view(folder=tmp_path))
    assert out.values()["latent.0"] == 0.25
    assert not out.shown("preset")["can_undo"]


def test_only_what_is_in_the_list_is_loaded(stage):
    _board, say, out = stage
    for name in ("/etc/passwd", "../pad", "pad.toml", "none"):
        say("load", name=name)
        assert "choose one of them" in out.said("one")[-1]
    assert out.loads == []


def test_a_knob_that_is_moved_while_a_target_waits_becomes_its_own_and_what_else_it_moves_is_said(stage, monkeypatch):
    board, say, out = stage
    now = [100.0]
    monkeypatch.setattr("timbrel.host.panel.panel_state.time.monotonic", lambda: now[0])
    say("learn", target="latent.1")
    assert out.shown("learn")["target"] == "latent.1"
    for value in range(0, 128, 16):
        now[0] += 0.02
        board.apply_report("heard", [NoteOn(0, 0, 60, 9), ControlChange(0, 0, 74, value)])
    board.apply_report("report", status(RESTS))
    assert out.loads == []
    now[0] += 1.0
    board.apply_report("report", status(RESTS))
    assert out.shown("learn") == {"target": None, "said": "CC 74 moves latent.1, and latent.0 as before"}
    maps = [(entry["number"], entry["target"]) for entry in tomllib.loads(played(out).text)["cc"]]
    assert maps == [(74, "latent.0"), (74, "latent.1")]
    answer(board, out, RESTS)
    board.apply_report("report", status(RESTS))
    assert board.state()["learn"]["said"] == "CC 74 moves latent.1, and latent.0 as before"
    assert out.shown("learn") == board.state()["learn"]
    say("unlearn", target="latent.0")
    assert [entry["target"] for entry in tomllib.loads(played(out).text)["cc"]] == ["latent.1"]


def test_a_controllers_range_and_curve_are_written_into_the_text_and_are_one_step(stage):
    board, say, out = stage
    ends = {"target": "latent.0", "source": "CC 74", "channel": None, "low": 0.2, "high": 0.9, "curve": 2.0}
    say("binding", **ends)
    assert played(out).text == TEXT.replace("low = 0.0\nhigh = 1.0", "low = 0.2\nhigh = 0.9\ncurve = 2.0")
    answer(board, out, RESTS)
    say("undo")
    assert played(out).text == TEXT


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"low": -0.5}, "low -0.5 of CC 74 is out of range [0, 1]; give a value in it"),
        ({"high": 7}, "high 7 of CC 74 is out of range [0, 1]; give a value in it"),
        ({"curve": 0}, "curve 0 of CC 74 is out of range (0, 16]; give 1 for a straight line"),
        ({"curve": 17}, "curve 17 of CC 74 is out of range (0, 16]; give 1 for a straight line"),
        ({"source": "CC 75"}, "CC 75 does not move latent.0; choose one of its controllers"),
        ({"channel": 3}, "CC 74 does not move latent.0; choose one of its controllers"),
    ],
)
def test_a_range_that_is_none_is_refused_in_a_line_and_nothing_changes(stage, wrong, line):
    _board, say, out = stage
    say("binding", **{"target": "latent.0", "source": "CC 74", "low": 0.2, "high": 0.9, "curve": 2.0} | wrong)
    assert out.said("one") == [line]
    assert out.loads == []


def test_one_controller_is_forgotten_by_its_source(stage):
    _board, say, out = stage
    say("unlearn", target="latent.0", source="CC 74")
    assert "cc" not in tomllib.loads(played(out).text)
    say("unlearn", target="latent.9", source="CC 74")
    assert len(out.loads) == 1


def test_what_is_saved_is_what_sounds_with_its_comments_and_is_no_longer_dirty(stage, tmp_path):
    board, say, out = stage
    say("set", values={"latent.0": 0.6, "gain": -3.0, "morph": 0.5})
    say("save", name="mine")
    saved = (tmp_path / "mine.toml").read_text()
    assert saved.startswith("# my pad\n")
    fields = tomllib.loads(saved)
    assert (fields["latent"]["values"], fields["play"]["gain_db"]) == ([0.6, 0.75], -3.0)
    assert out.loads == [str(tmp_path / "mine.toml")]
    board.apply_report("view", view(saved, "mine", RESTS | {"latent.0": 0.6, "gain": -3.0}, tmp_path))
    preset = out.shown("preset")
    assert preset["name"] == "mine"
    assert out.turns[-1] == ("morph", 0.5)  # which no file has a place for
    assert (tmp_path / "pad.toml").read_text() == TEXT
    say("save", name="mine")
    assert "exists" in out.said("one")[-1]


def test_a_path_is_a_motion_of_the_draft_and_goes_away_again(stage):
    _board, say, out = stage
    say("path", points=[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], seconds=6.0, loop=True)
    (motion,) = tomllib.loads(played(out).text)["motion"]
    assert motion == {"path": [[0, 0], [1, 0], [1, 1]], "times": [0.0, 2.0, 4.0, 6.0], "loop": True}
    say("path", points=[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], seconds=6.0, loop=False)
    (motion,) = tomllib.loads(played(out).text)["motion"]
    assert motion == {"path": [[0, 0], [1, 0], [1, 1]], "times": [0.0, 3.0, 6.0]}
    say("path", points=[[0.0, 0.0], [1.0, 1.0]], beats=8.0)
    (motion,) = tomllib.loads(played(out).text)["motion"]
    assert motion == {"path": [[0, 0], [1, 1]], "beats": 8.0}
    say("path", points=None)
    assert tomllib.loads(played(out).text) == tomllib.loads(TEXT)
    say("path", points=[[0.0], [1.0]], beats=8.0)
    assert "2 numbers" in out.said("one")[-1]


def test_a_path_keeps_what_a_page_does_not_change_and_a_length_out_of_range_is_refused_with_a_line(stage, tmp_path):
    board, say, out = stage
    motion = "path = [[0, 0], [1, 0], [1, 1]]\ntimes = [1.0, 2.0, 5.0, 11.0]\nloop = true\nlegs = 'spherical'"
    board.apply_report("view", view(f"{TEXT}\n[[motion]]\n{motion}\n", "walk", folder=tmp_path))
    assert out.shown("preset")["path"] == {"points": [[0, 0], [1, 0], [1, 1]], "seconds": 10.0, "loop": True}
    say("path", loop=False)
    (motion,) = tomllib.loads(played(out).text)["motion"]
    assert motion == {"path": [[0, 0], [1, 0], [1, 1]], "legs": "spherical", "times": [1.0, 3.5, 11.0]}
    assert out.shown("preset")["path"] == {"points": [[0, 0], [1, 0], [1, 1]], "seconds": 10.0, "loop": False}
    say("path", seconds=20.0)
    (motion,) = tomllib.loads(played(out).text)["motion"]
    assert motion["times"] == [1.0, 6.0, 21.0]
    loads = len(out.loads)
    for length in ({"seconds": 4000.0}, {"seconds": 0.0}, {"beats": 5000.0}):
        say("path", **length)
        assert "is out of range" in out.said("one")[-1]
    assert len(out.loads) == loads
    say("path", beats=8.0)
    say("path", loop=False)  # in beats it always loops
    assert out.shown("preset")["path"] == {"points": [[0, 0], [1, 0], [1, 1]], "beats": 8.0, "loop": True}
    say("path", points=None)
    say("path", seconds=2.0)
    assert "has no path" in out.said("one")[-1]


@pytest.mark.parametrize("motion", ["path = [[0, 0], [1, 0]]\nbeats = 4", "walk = {speed = 1.0}"])
def test_a_click_while_a_path_or_a_walk_runs_sounds_for_two_seconds_and_is_one_step(
    stage, monkeypatch, tmp_path, motion
):
    board, say, out = stage
    now = [100.0]
    monkeypatch.setattr("timbrel.host.panel.panel_state.time.monotonic", lambda: now[0])
    board.apply_report("view", view(f"{TEXT}\n[[motion]]\n{motion}\n", "walk", folder=tmp_path))
    out.events.clear()
    say("set", values={"latent.0": 0.6, "gain": -3.0})
    assert out.events == [
        ParameterTouch(0, 0, "latent.0", True),
        ParameterChange(0, 0, "latent.0", 0.6),
        ParameterChange(0, 0, "gain", -3.0),
    ]
    for seconds, events in ((1.9, 3), (2.1, 4), (3.0, 4)):
        now[0] = 100.0 + seconds
        board.apply_report("report", status(RESTS | {"latent.0": 0.6, "gain": -3.0}))
        assert len(out.events) == events
    assert out.events[-1] == ParameterTouch(0, 0, "latent.0", False)
    say("undo")
    assert not out.shown("preset")["can_undo"]


def test_a_click_beside_a_motion_that_is_added_to_its_knob_holds_nothing(stage, tmp_path):
    board, say, out = stage
    swing = '[[motion]]\ntarget = "latent.0"\ndepth = 0.1\nbeats = 4\n'
    board.apply_report("view", view(f"{TEXT}\n{swing}", "swing", folder=tmp_path))
    out.events.clear()
    say("set", values={"latent.0": 0.6})
    assert out.events == [ParameterChange(0, 0, "latent.0", 0.6)]


def test_a_path_of_so_many_rounds_a_second_lasts_one_of_them(stage, tmp_path):
    board, say, out = stage
    board.apply_report("view", view(f"{TEXT}\n[[motion]]\npath = [[0, 0], [1, 0]]\nrate_hz = 0.25\n", folder=tmp_path))
    assert out.shown("preset")["path"] == {"points": [[0, 0], [1, 0]], "seconds": 4.0, "loop": True}
    say("path", loop=False)
    (motion,) = tomllib.loads(played(out).text)["motion"]
    assert motion == {"path": [[0, 0], [1, 0]], "times": [0.0, 4.0]}


def test_values_that_sound_are_told_in_five_digits(stage):
    board, _say, out = stage
    board.apply_report("report", status(RESTS, moved={"latent.0": 0.123456789, "gain": -3.0}))
    meters = [message for _, message in out.told if message["t"] == "meters"]
    assert meters[-1]["moved"] == {"latent.0": 0.12346, "gain": -3.0}


def test_a_card_that_goes_is_told_and_a_process_that_comes_holds_what_hands_still_hold(stage):
    board, say, out = stage
    say("grab", targets=["latent.0"])
    say("note", key=60, velocity=100)
    say("set", values={"latent.1": 0.5})
    board.apply_report("lost", "the card has gone")
    assert out.shown("sound")["away"]
    out.events.clear()
    board.apply_report("view", view(TEXT, folder=board._view.folder))
    board.apply_report("ready", status(RESTS))
    assert ParameterTouch(0, 0, "latent.0", True) in out.events
    assert out.turns[-1] == ("latent.1", 0.5)  # which the process that ended had, and this one has not
    assert not out.shown("sound")["away"]
    say("note", key=60, velocity=0)
    assert not any(isinstance(event, NoteOff) for event in out.events)


def test_a_favourite_is_told_to_all_pages_and_one_that_is_not_listed_to_its_page(stage):
    _board, say, out = stage
    say("favourite", name="pad", on=True)
    page, message = out.told[-1]
    assert page is None
    assert [one["name"] for one in message["list"] if one["favourite"]] == ["pad"]
    say("favourite", name="pad", on=False)
    say("favourite", name="none", on=True)
    assert "choose one of them" in out.said("one")[-1]
