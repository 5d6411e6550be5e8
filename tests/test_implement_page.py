"""The page for implementers: its examples run, and its formulas give timbrel's own numbers."""

import json
import re
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from timbrel.host.model.model import Model
from timbrel.host.preset.preset import Preset
from timbrel.host.preset.shipped import MODELS
from timbrel.host.signal import white_noise

from .host.play.gestures import with_gestures

PAGE = (Path(__file__).parents[1] / "docs" / "implement.md").read_text(encoding="utf-8")


def block(language):
    [found] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_the_example_in_python_reads_the_levels_of_a_new_export(tmp_path, monkeypatch):
    model = Model(MODELS / "gm-partials-8.onnx")
    assert model.gestures is not None
    with_gestures(model.path, tmp_path / "model.onnx", model.gestures.text())
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block("python"), names)
    notes = [note for instrument in model.gestures.instruments for note in instrument.notes]
    assert names["levels"] == pytest.approx(np.array([note.levels for note in notes]), abs=0.05)


@pytest.mark.parametrize("name", ["gm-chroma-2", "gm-chroma-8", "gm-partials-8", "gm-partials-9", "salamander-piano"])
def test_shipped_models_have_gestures_of_format_1_whose_lists_the_page_names(name):
    [place] = re.findall(r"`gesture(\[.*?\])`", PAGE)
    gestures = Model(MODELS / f"{name}.onnx").gestures
    assert gestures is not None
    stored = onnx.load(MODELS / f"{name}.onnx").metadata_props
    gesture = json.loads(next(entry.value for entry in stored if entry.key == "timbrel.gesture"))
    assert gesture["format"] == 1
    assert eval(f"gesture{place}") == pytest.approx(gestures.instruments[0].notes[0].levels)


@pytest.mark.parametrize(
    ("name", "comments"),
    [("gm-chroma-8", []), ("salamander-piano", ["image"]), ("gm-loops", ["[stream]", "follow_tempo"])],
)
def test_the_reduced_preset_is_one_that_timbrel_reads_with_its_comments_too(name, comments):
    text = block("toml").replace("gm-chroma-8", name)
    for comment in comments:
        text = text.replace(f"# {comment}", comment)
    fields = tomllib.loads(text)
    kind = Model(MODELS / f"{name}.onnx").card.kind
    if kind != "spectrum":
        fields["play"].pop("phase")
    if kind == "stream":
        fields.pop("gesture")
    preset = Preset.model_validate(fields)
    assert preset.model == name


def test_the_noise_of_the_page_is_the_stored_one():
    lines = re.findall(r"^    c = (.*)$", PAGE, re.MULTILINE)
    assert len(lines) == 3
    found = []
    for place in range(100):
        c = 2020 + place
        for line in lines:
            c = eval(line.replace("·", "*"), {"c": c}) & (1 << 64) - 1
        found.append((c ^ (c >> 31)) / 2**63 - 1)
    assert np.array(found, np.float32).tolist() == white_noise(100).tolist()
