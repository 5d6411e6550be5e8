"""What a panel is told of presets: each control once, from the tables that presets and kinds have anyway."""

import tomllib
from pathlib import Path

import pytest
from timbrel.host.live.describing import described
from timbrel.host.patch.editing import with_value
from timbrel.host.patch.library import open_patch
from timbrel.host.play.rack import Rack
from timbrel.host.shelf import Draft, shipped_presets

RATE = 48000
GROUPS = ("latent", "macro", "morph", "play", "envelope", "effects")


def sheet_of(name):
    patch = open_patch(name)
    return described(name, patch, 0, Rack({0: patch}, RATE, live=True).knobs[0])


@pytest.mark.parametrize("name", ["gm-hall", "drum-kit", "drum-loops", "lakeside-walk", "lakeside-10"])
def test_a_control_that_is_written_where_its_place_is_rests_there_when_it_is_opened_again(name, tmp_path):
    sheet = sheet_of(name)
    latents = [dial for dial in sheet.dials if dial.group == "latent"]
    assert [dial.target for dial in latents] == [f"latent.{number}" for number in range(len(sheet.latents))]
    assert len({dial.target for dial in sheet.dials}) == len(sheet.dials)
    text, rests = sheet.text, {}
    if "values" not in tomllib.loads(text).get("latent", {}):
        text = with_value(text, ("latent", "values"), [dial.rest for dial in latents])
    for dial in sheet.dials:
        assert dial.low <= dial.rest <= dial.high
        assert dial.title
        if dial.place and not (dial.group == "grain" and dial.target == "grain.overlap"):
            rests[dial.target] = round(dial.low + 0.375 * (dial.high - dial.low), 0 if dial.choices else 6)
            written = dial.choices[int(rests[dial.target])] if dial.choices else rests[dial.target]
            text = with_value(text, dial.place, written)
    again = sheet_of(Draft(sheet.name, text, sheet.folder))
    assert {dial.target: dial.rest for dial in again.dials if dial.target in rests} == pytest.approx(rests)
    assert [dial.target for dial in sheet.dials if not dial.place] in ([], ["morph"])
    assert {dial.group for dial in sheet.dials} <= {*GROUPS, sheet.kind, "gesture"}


def test_maps_are_told_with_their_takeover(tmp_path):
    text = shipped_presets()["gm-keys"].read_text()
    text += '\n[[cc]]\nnumber = 7\ntarget = "gain"\nlow = -60.0\nhigh = 0.0\ntakeover = "pickup"\n'
    dials = {dial.target: dial for dial in sheet_of(Draft("mine", text, Path())).dials}
    assert dials["gain"].maps == (("CC 7", "pickup"),)
    assert (dials["gain"].unit, dials["gain"].place) == ("dB", ("play", "gain_db"))


def test_a_bare_model_is_told_as_the_file_that_learning_would_write(tmp_path, monkeypatch, tiny_path):
    monkeypatch.chdir(tmp_path)
    sheet = sheet_of("gm-chroma-8")
    assert (sheet.file, sheet.folder, tomllib.loads(sheet.text)["model"]) == (None, Path(), "gm-chroma-8")
    (tmp_path / "own.onnx").write_bytes(tiny_path().read_bytes())
    sheet = sheet_of("own.onnx")
    assert (sheet.file, tomllib.loads(sheet.text)["model"]) == (None, "own.onnx")
