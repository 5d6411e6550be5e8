"""A panel is told of presets: each control once, from the tables that presets and kinds have anyway."""

import json
import tomllib
from pathlib import Path

import onnx
import pytest
from timbrel.host.events import ParameterChange
from timbrel.host.panel.contents import control
from timbrel.host.panel.messages import read_message
from timbrel.host.panel.state import PanelState
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import Draft, shipped_presets
from timbrel.host.preset.text import with_value
from timbrel.host.session.messages import Ready, View
from timbrel.host.session.view import MapView
from timbrel.host.session.view_builder import view_of_patch

from ..panel.fakes import Out, status

RATE = 48000
GROUPS = ("latent", "macro", "morph", "play", "envelope", "effects")


def view_of(name):
    patch = open_patch(name)
    return view_of_patch(name, patch, 0, Rack({0: patch}, RATE, live=True).knobs[0])


@pytest.mark.parametrize("name", ["gm-hall", "drum-kit", "drum-loops", "lakeside-walk", "lakeside-10"])
def test_a_control_that_is_written_where_its_place_is_rests_there_when_it_is_opened_again(name, tmp_path):
    view = view_of(name)
    latents = [one for one in view.controls if one.group == "latent"]
    assert [one.target for one in latents] == [f"latent.{number}" for number in range(len(view.latents))]
    assert len({one.target for one in view.controls}) == len(view.controls)
    text, rests = view.text, {}
    if "values" not in tomllib.loads(text).get("latent", {}):
        text = with_value(text, ("latent", "values"), [one.rest for one in latents])
    for one in view.controls:
        assert one.low <= one.rest <= one.high
        assert one.title
        if one.place and not (one.group == "grain" and one.target == "grain.overlap"):
            rests[one.target] = round(one.low + 0.375 * (one.high - one.low), 0 if one.choices else 6)
            written = one.choices[int(rests[one.target])] if one.choices else rests[one.target]
            text = with_value(text, one.place, written)
    again = view_of(Draft(view.name, text, view.folder))
    assert {one.target: one.rest for one in again.controls if one.target in rests} == pytest.approx(rests)
    assert all(one.place for one in view.controls)
    assert {one.group for one in view.controls} <= {*GROUPS, view.kind, "gesture"}


def test_the_keys_of_kits_are_told_with_their_drums_and_digits_and_all_keys_of_others_play():
    assert view_of("drum-kit").keys.items() >= {36: "kick", 42: "closed hat", 46: "open hat"}.items()
    assert 37 not in view_of("drum-kit").keys
    assert [*view_of("digits-gan").keys.values()] == [str(digit) for digit in range(10)]
    assert view_of("gm-keys").keys == dict.fromkeys(range(128), "")


def test_a_loop_is_told_to_be_a_sixteenth_ahead_and_others_not_at_all():
    assert view_of("drum-loops").ahead_ms == 125.0  # at 120 BPM
    assert view_of("gm-keys").ahead_ms is None


def test_a_latent_is_told_with_what_it_moves_and_why_it_has_no_name(tiny_path, tmp_path):
    model = onnx.load(tiny_path())
    card = json.loads(model.metadata_props[0].value)
    card["latents"][0] |= {"moves": "most of all air", "unnamed": "air is too faint"}
    model.metadata_props[0].value = json.dumps(card)
    onnx.save(model, tmp_path / "tiny.onnx")
    controls = {one.target: one for one in view_of(str(tmp_path / "tiny.onnx")).controls}
    told = "most of all air; no name: air is too faint"
    assert control(controls["latent.0"], 0.0, 0.0, moving=False)["about"] == told
    assert control(controls["latent.1"], 0.0, 0.0, moving=False)["about"] == ""


def test_maps_are_told_with_their_takeover_range_and_curve(tmp_path):
    text = shipped_presets()["gm-keys"].read_text()
    text += '\n[[cc]]\nnumber = 7\ntarget = "gain"\nlow = -60.0\nhigh = 0.0\ntakeover = "pickup"\n'
    text += '[[cc]]\nnrpn = 300\nchannel = 2\ntarget = "gain"\ncurve = 2.0\n'
    controls = {one.target: one for one in view_of(Draft("mine", text, Path())).controls}
    assert controls["gain"].maps == (
        MapView("CC 7", "pickup", -60.0, 0.0, 1.0, ("number", 7)),
        MapView("NRPN 300", "jump", -60.0, 12.0, 2.0, ("nrpn", 300), 2),
    )
    assert (controls["gain"].unit, controls["gain"].place) == ("dB", ("play", "gain_db"))


def test_a_control_is_told_with_what_moves_it_besides_knobs():
    controls = {one.target: one for one in view_of("gm-keys").controls}
    sources = control(controls["latent.0"], 0.5, 0.5, False)["sources"]
    assert sources[:2] == [
        {"name": "morph", "way": "leads", "low": 0.5397, "high": 0.5397},
        {"name": "brighter", "way": "adds", "low": -0.46334, "high": 0.46334},
    ]
    assert controls["gain"].sources == ()


def test_a_bare_model_is_told_as_the_file_that_learning_would_write(tmp_path, monkeypatch, tiny_path):
    monkeypatch.chdir(tmp_path)
    view = view_of("gm-chroma-8")
    assert (view.file, view.folder, tomllib.loads(view.text)["model"]) == (None, Path(), "gm-chroma-8")
    (tmp_path / "own.onnx").write_bytes(tiny_path().read_bytes())
    view = view_of("own.onnx")
    assert (view.file, tomllib.loads(view.text)["model"]) == (None, "own.onnx")


def test_what_a_macro_adds_is_still_heard_when_an_edit_plays():
    def opened(preset):
        patch = open_patch(preset)
        rack = Rack({0: patch}, RATE, live=True)
        return rack, view_of_patch(preset, patch, 0, rack.knobs[0])

    def heard(rack, events):
        rack.process(events, 256)
        for _ in range(20):  # a knob glides for 20 ms
            rack.process([], 256)
        return rack.latent_values(0)

    rack, view = opened("gm-keys")
    rest, out = heard(rack, []), Out()
    board = PanelState(out, out, Path())
    board.apply_report(View(view))
    board.apply_report(Ready(status(rack.knobs[0].values())))
    board.apply("page", read_message('{"t": "set", "values": {"macro.0": 0.9}}'))
    before = heard(rack, out.events)
    assert before[0] > rest[0] + 0.1
    out.events.clear()
    board.apply("page", read_message('{"t": "effect", "do": "add", "plugin": "Chorus"}'))
    rack, view = opened(out.loads[-1])
    board.apply_report(View(view))
    assert heard(rack, [event for event in out.events if isinstance(event, ParameterChange)]) == pytest.approx(before)
