"""Pages learn of a session, its presets and the values of their targets."""

import dataclasses
import time

from timbrel.host.panel.messages import read_message
from timbrel.host.panel.state import PanelState
from timbrel.host.session.messages import Playing, Record, Report, Session, SessionView, Settings, View

from .fakes import RESTS, TEXT, drag, status, view


def test_only_a_session_with_a_card_of_its_own_has_settings_devices_and_recordings(stage):
    board, say, out = stage
    words = {"settings": {"block": 256, "ports": None}, "record": {"on": True}, "devices": {}}
    for t, fields in words.items():
        say(t, **fields)
    assert (out.asked, board.state()["session"]) == ([], None)
    shown = SessionView(ports=(), midi_api="jack", channel=None, block=128, lowest_latency=False)
    board.apply_report(Session(shown))
    for t, fields in words.items():
        say(t, **fields)
    assert out.asked == [Settings({"block": 256, "ports": None}), Record(True), ("one", "jack")]
    assert (out.shown("session")["block"], board.state()["session"]["seconds"]) == (128, 0.0)
    since = time.monotonic() - 30
    board.apply_report(Session(dataclasses.replace(shown, recording="on", start_time=since)))
    assert 30 <= board.state()["session"]["seconds"] < 3000


def test_a_knob_that_moves_is_seen_but_not_while_a_hand_holds_the_target_nor_before_its_own_turn_is_known(stage):
    board, say, out = stage
    board.apply_report(Report(status(RESTS | {"latent.1": 0.1})))
    assert out.values()["latent.1"] == 0.1
    say("grab", targets=["latent.0"])
    say("move", values={"latent.0": 0.9})
    board.apply_report(Report(status(RESTS)))
    say("drop", targets=["latent.0"])
    board.apply_report(Report(status(RESTS)))  # was on its way before the move arrived
    assert out.values()["latent.0"] == 0.9
    board.apply_report(Report(status(RESTS | {"latent.0": 0.9})))
    board.apply_report(Report(status(RESTS | {"latent.0": 0.2})))
    assert out.values()["latent.0"] == 0.2


def test_a_knob_that_waits_is_told_where_it_stands_until_it_has_met_its_target(stage):
    board, _say, out = stage
    assert board.state()["waiting"] == {}
    board.apply_report(Report(status(RESTS, waiting={("gain", "CC 7"): -20.0, ("gain", "CC 8"): -3.0})))
    assert out.shown("waiting") == board.state()["waiting"] == {"gain": {"CC 7": -20.0, "CC 8": -3.0}}
    told = len(out.told)
    board.apply_report(Report(status(RESTS, waiting={("gain", "CC 7"): -20.0, ("gain", "CC 8"): -3.0})))
    assert [message["t"] for _, message in out.told[told:]] == ["meters"]
    board.apply_report(Report(status(RESTS)))
    assert out.shown("waiting") == {}


def test_a_preset_that_a_knob_has_moved_is_changed_until_the_knob_is_back(stage):
    board, _say, out = stage
    for value, changed in ((0.9, True), (0.9, True), (0.75, False)):
        board.apply_report(Report(status(RESTS | {"latent.1": value})))
        assert out.shown("preset")["dirty"] is board.state()["preset"]["dirty"] is changed
    assert len([m for _, m in out.told if "preset" in m.get("state", {}) and "controls" not in m["state"]]) == 2


def test_another_process_shows_unsaved_changes_as_such(stage, tmp_path):
    _board, _say, out = stage
    for text, draft, values, changed in (
        (TEXT, False, RESTS, False),
        (TEXT.replace("0.25", "0.3"), True, RESTS, True),
        (TEXT, False, RESTS | {"gain": -3.0}, True),
    ):
        again = PanelState(out, out, tmp_path)
        again.apply_report(View(dataclasses.replace(view(text, folder=tmp_path), draft=draft), repeated=True))
        again.apply_report(Report(status(values)))
        assert out.shown("preset")["dirty"] is again.state()["preset"]["dirty"] is changed
    again.apply_report(View(dataclasses.replace(view(folder=tmp_path), draft=True), repeated=True))
    again.apply(1, read_message('{"t": "save", "name": "mine"}'))
    assert not out.shown("preset")["dirty"]


def test_a_kits_keys_have_labels_and_what_lies_between_them_is_silent(stage, tmp_path):
    board, _say, out = stage
    board.apply_report(View(dataclasses.replace(view(folder=tmp_path), keys={36: "kick", 38: "", 40: "hat"})))
    labels = {36: "kick", 40: "hat"}
    assert out.shown("keys") == {"low": 36, "high": 40, "center": 40, "silent": [37, 39], "labels": labels}


def test_another_preset_begins_anew(stage, tmp_path):
    board, say, out = stage
    drag(say, "latent.0", 0.6)
    board.apply_report(View(view(TEXT.replace("0.25", "0.5"), "other", RESTS | {"latent.0": 0.5}, tmp_path)))
    preset = out.shown("preset")
    assert (preset["name"], preset["dirty"], preset["can_undo"]) == ("other", False, False)
    assert out.values()["latent.0"] == 0.5


def test_the_map_is_that_of_the_models_file_or_of_its_bytes_and_stays_as_long_as_they_do(stage, tmp_path):
    board, _, out = stage
    brought, other = ({"tiny.onnx": data, "scale.scl": b"a scale"} for data in (b"a model", b"another"))
    of_file = view(folder=tmp_path)
    for files in (None, brought, brought, other):
        board.apply_report(View(of_file if files is None else dataclasses.replace(of_file, files=files)))
    assert out.maps == [(of_file.model, None), (of_file.model, b"a model"), (of_file.model, b"another")]


def test_a_preset_that_is_loaded_again_is_as_its_file_has_it(stage, tmp_path):
    board, say, out = stage
    drag(say, "latent.0", 0.6)
    say("load", name="pad")
    assert out.loads == [str(tmp_path / "pad.toml")]
    board.apply_report(Playing({None: out.loads[0]}))
    board.apply_report(View(view(folder=tmp_path)))
    assert out.values()["latent.0"] == 0.25
    assert not out.shown("preset")["can_undo"]


def test_a_preset_of_another_channel_leaves_the_one_that_is_shown_with_its_changes_and_its_steps(stage, tmp_path):
    board, say, out = stage
    shown = view(folder=tmp_path)
    drag(say, "latent.0", 0.6)
    board.apply_report(Playing({shown.channel + 3: "organ"}))
    board.apply_report(View(shown))
    assert out.values()["latent.0"] == 0.6
    assert out.shown("preset")["can_undo"]
    say("load", name="pad")  # asks first: the changes are not saved
    board.apply_report(Playing({shown.channel + 3: "organ", None: "pad"}))
    board.apply_report(View(shown))
    assert out.values()["latent.0"] == 0.25


def test_only_what_is_in_the_list_is_loaded(stage):
    _board, say, out = stage
    for name in ("/etc/passwd", "../pad", "pad.toml", "none"):
        say("load", name=name)
        assert "choose one of them" in out.said("one")[-1]
    assert out.loads == []


def test_values_that_sound_are_told_in_five_digits(stage):
    board, _say, out = stage
    board.apply_report(Report(status(RESTS, moved={"latent.0": 0.123456789, "gain": -3.0})))
    meters = [message for _, message in out.told if message["t"] == "meters"]
    assert meters[-1]["moved"] == {"latent.0": 0.12346, "gain": -3.0}


def test_a_favourite_is_told_to_all_pages_and_one_that_is_not_listed_to_its_page(stage):
    _board, say, out = stage
    say("favourite", name="pad", on=True)
    page, message = out.told[-1]
    assert page is None
    assert [one["name"] for one in message["list"] if one["favourite"]] == ["pad"]
    say("favourite", name="pad", on=False)
    say("favourite", name="none", on=True)
    assert "choose one of them" in out.said("one")[-1]
