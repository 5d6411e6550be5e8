"""Pages change a preset's text: effects, learned controllers, and saving."""

import tomllib

import pytest
from timbrel.host.events import ControlChange, NoteOn, ParameterChange, ParameterTouch
from timbrel.host.session.messages import Heard, Refused, Report, View

from .fakes import RESTS, TEXT, answer, drag, played, status, view


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
    board.apply_report(Refused({None: played(out)}, ["no room"]))
    assert out.said() == ["no room"]
    preset = out.shown("preset")
    assert (preset["dirty"], preset["can_undo"]) == (False, False)


def test_a_knob_that_is_moved_while_a_target_waits_becomes_its_own_and_what_else_it_moves_is_said(stage, monkeypatch):
    board, say, out = stage
    now = [100.0]
    monkeypatch.setattr("timbrel.host.panel.state.time.monotonic", lambda: now[0])
    say("learn", target="latent.1")
    assert out.shown("learn")["target"] == "latent.1"
    for value in range(0, 128, 16):
        now[0] += 0.02
        board.apply_report(Heard([NoteOn(0, 0, 60, 9), ControlChange(0, 0, 74, value)]))
    board.apply_report(Report(status(RESTS)))
    assert out.loads == []
    now[0] += 1.0
    board.apply_report(Report(status(RESTS)))
    assert out.shown("learn") == {"target": None, "said": "CC 74 moves latent.1, and latent.0 as before"}
    maps = [(entry["number"], entry["target"]) for entry in tomllib.loads(played(out).text)["cc"]]
    assert maps == [(74, "latent.0"), (74, "latent.1")]
    answer(board, out, RESTS)
    board.apply_report(Report(status(RESTS)))
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
    board.apply_report(View(view(saved, "mine", RESTS | {"latent.0": 0.6, "gain": -3.0}, tmp_path)))
    preset = out.shown("preset")
    assert preset["name"] == "mine"
    assert out.turns[-1] == ("morph", 0.5)  # which no file has a place for
    assert (tmp_path / "pad.toml").read_text() == TEXT
    say("save", name="mine")
    assert "exists" in out.said("one")[-1]
