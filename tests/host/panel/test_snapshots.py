"""Snapshots of the panel: stored without a change of the sound, undoable, and kept by the audio process."""

import dataclasses
import json
import tomllib

import pytest
from timbrel.host.panel.messages import read_message
from timbrel.host.panel.state import PanelState
from timbrel.host.session.messages import Report, View

from .fakes import RESTS, TEXT, Out, answer, drag, played, status, view

STORED = {target: value for target, value in RESTS.items() if target != "gain"}


def texts(out):
    return [tomllib.loads(draft.text).get("snapshot", []) for draft in out.loads]


def test_a_snapshot_holds_all_controls_but_gain_and_storing_it_moves_nothing(stage):
    board, say, out = stage
    drag(say, "latent.0", 0.6)
    out.events.clear()
    say("snapshot", slot=2)
    assert out.shown("preset")["snapshots"] == {2: STORED | {"latent.0": 0.6}}
    assert played(out).silent
    answer(board, out, RESTS)
    assert out.events == []  # notes that are held go on as well
    assert out.values() == RESTS | {"latent.0": 0.6}
    assert tomllib.loads(played(out).text) == tomllib.loads(TEXT) | {
        "snapshot": [{"slot": 2, "values": STORED | {"latent.0": 0.6}}]
    }
    assert out.shown("preset")["dirty"]


def test_stored_stored_anew_and_cleared_are_a_step_each(stage):
    board, say, out = stage
    say("snapshot", slot=1)
    answer(board, out, RESTS)
    say("set", values={"latent.1": 0.5})
    say("snapshot", slot=1)
    say("snapshot", slot=1, clear=True)
    assert out.shown("preset")["snapshots"] == {}
    for shown in (0.5, 0.75):
        say("undo")
        assert out.shown("preset")["snapshots"][1]["latent.1"] == shown
    say("undo")
    assert out.turns[-1] == ("latent.1", 0.75)
    say("undo")
    assert out.shown("preset")["snapshots"] == {}
    assert not out.shown("preset")["dirty"]
    assert all(draft.silent for draft in out.loads)
    say("redo")
    assert out.shown("preset")["snapshots"] == {1: STORED}


def test_a_slot_that_is_stored_while_an_effect_is_loaded_comes_with_it(stage):
    _board, say, out = stage
    drag(say, "latent.0", 0.6)
    say("effect", do="add", plugin="Reverb")
    say("snapshot", slot=8)
    assert not played(out).silent
    fields = tomllib.loads(played(out).text)
    assert (fields["effects"], fields["latent"]["values"]) == ([{"plugin": "Reverb"}], [0.6, 0.75])
    assert [one["slot"] for one in fields["snapshot"]] == [8]


def test_another_process_shows_the_snapshots_of_the_draft_and_saves_them(stage, tmp_path):
    _board, say, out = stage
    say("snapshot", slot=3)
    again = PanelState(other := Out(), other, tmp_path)
    again.apply_report(View(view(played(out).text, folder=tmp_path), repeated=True))
    again.apply_report(Report(status(RESTS)))
    assert other.shown("preset")["snapshots"] == {3: STORED}
    again.apply(1, read_message(json.dumps({"t": "save", "name": "mine"})))
    assert tomllib.loads((tmp_path / "mine.toml").read_text())["snapshot"] == [{"slot": 3, "values": STORED}]


def test_what_a_file_stores_is_shown_within_the_controls_that_are_there(stage, tmp_path):
    board, _say, out = stage
    stored = 'slot = 4\nvalues = {"latent.0" = 1.5, "envelope.sustain" = 0.5, "effects.9.mix" = 1.0}'
    board.apply_report(View(view(f"{TEXT}\n[[snapshot]]\n{stored}\n", folder=tmp_path)))
    assert out.shown("preset")["snapshots"] == {4: {"latent.0": 1.0, "envelope.sustain": 0.5}}


@pytest.mark.parametrize("slot", [0, 9])
def test_there_are_eight_slots(slot):
    with pytest.raises(ValueError, match="slot"):
        read_message(json.dumps({"t": "snapshot", "slot": slot}))


def test_a_snapshot_of_a_plugin_with_a_thousand_knobs_can_be_recalled_by_one_message(stage, tmp_path):
    board, say, out = stage
    knobs = [dataclasses.replace(view().controls[0], target=f"effects.0.knob_{number}") for number in range(1000)]
    board.apply_report(View(view(f'{TEXT}\n[[effects]]\nplugin = "a.vst3"\n', folder=tmp_path, more=knobs)))
    say("snapshot", slot=1)
    values = out.shown("preset")["snapshots"][1]
    assert STORED.items() <= values.items()
    say("set", values=values)
