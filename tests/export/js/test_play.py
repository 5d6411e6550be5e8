"""The JavaScript of docs/js, which knows nothing of timbrel, plays the notes that timbrel plays."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from timbrel.export.meaning import meaning
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import MODELS

from ...patience import PATIENCE_SECONDS
from ..exported import plain_session
from ..implementers import SECONDS, at_rate, cents_apart, level_db, mel_apart, rendered, unpacked

ROOT = Path(__file__).parents[3]
SOURCE, DRIVER = ROOT / "docs" / "js" / "play.mjs", Path(__file__).with_name("drive.mjs")
WEB = ROOT / "build" / "js"  # where `make` installs onnxruntime-web
HAS_WEB = (WEB / "node_modules" / "onnxruntime-web").is_dir()
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is missing; install nodejs")
pytestmark = needs_node


def inputs_of(card, key):
    """The inputs of a note at rest: numbers and shape, by name."""
    code = [float(np.float32(latent.default)) for latent in card.latents]
    inputs = {"latent": [code, [1, len(code)]]}
    if card.partials is not None:
        inputs["pitch"] = [[key], [1, 1]]
    if card.labels:
        inputs["label"] = [[1] + [0] * (len(card.labels) - 1), [1, len(card.labels)]]
    return inputs


def run_node(*words):
    return subprocess.run(["node", *map(str, words)], capture_output=True, text=True, timeout=PATIENCE_SECONDS)


@pytest.fixture(params=["frames of Python", "onnxruntime-web"])
def play(request, tmp_path):
    """A note of a shipped model, whose graph is run by either runtime."""
    if request.param == "onnxruntime-web" and not HAS_WEB:
        pytest.skip(f"onnxruntime-web is missing; npm install --prefix {WEB.relative_to(ROOT)} onnxruntime-web")

    def note(name, key, seconds=SECONDS):
        path, target, runtime = MODELS / f"{name}.onnx", tmp_path / "note.f32", WEB
        card = Model(path).card
        if request.param != "onnxruntime-web":
            inputs, runtime = inputs_of(card, key), tmp_path / "frame.json"
            feeds = {port: np.array(numbers, np.float32).reshape(shape) for port, (numbers, shape) in inputs.items()}
            frame = plain_session(path).run(["frame"], feeds)[0][0]
            runtime.write_text(json.dumps({"inputs": inputs, "frame": frame.tolist()}), encoding="utf-8")
        ended = run_node(DRIVER, SOURCE, path, key, seconds, target, runtime)
        assert ended.returncode == 0, ended.stderr
        return np.fromfile(target, "<f4"), card.sample_rate

    return note


@pytest.mark.parametrize(
    ("name", "key"),
    [("gm-partials-8", 57), ("salamander-piano", 60), ("digits-gan", 60), ("digits-spoken", 60), ("gm-drums", 60)],
)
def test_a_held_note_is_the_one_that_timbrel_renders(name, key, play, tmp_path):
    theirs, own_rate = play(name, key)
    ours, rate = rendered(MODELS / f"{name}.onnx", key, tmp_path)
    theirs = at_rate(theirs, own_rate, rate)
    inside = slice(rate // 10, -rate // 10)
    assert level_db(theirs[inside]) == pytest.approx(level_db(ours[inside]), abs=0.5)
    assert cents_apart(theirs[inside], ours[inside]) < 2
    assert mel_apart(ours[inside], theirs[inside], rate, 0.45 * own_rate, mean=False) < 1
    assert mel_apart(ours[inside], theirs[inside], rate, 0.45 * own_rate, mean=True) < 1


def test_a_note_begins_and_ends_within_five_milliseconds(play):
    sound, rate = play("gm-partials-8", 57, 1)
    ramp = round(0.005 * rate)
    assert sound[0] == 0
    assert abs(sound[-1]) < 2 / ramp * np.abs(sound).max()
    half = [np.abs(each).max() for each in (sound[: ramp // 2], sound[-(ramp // 2) :])]
    assert max(half) < 0.6 * np.abs(sound).max()


@pytest.mark.parametrize(("name", "most_db"), [("gm-partials-8", -60), ("digits-gan", -80), ("gm-drums", -40)])
def test_its_samples_are_the_golden_ones(name, most_db, play):
    golden = meaning(Model(MODELS / f"{name}.onnx"))["golden"]
    expected, first = unpacked(golden["left"]), golden["first_sample"]
    sound, _ = play(name, golden["key"], 1)
    assert level_db(sound[first : first + len(expected)] - expected) - level_db(expected) < most_db


@pytest.mark.parametrize(
    ("model", "key", "line"),
    [
        ("gm-chroma-2.onnx", 60, "kind spectrum is not played here"),
        ("gm-drums.onnx", 61, "clips play at key 60 alone here"),
        ("gm-drums.encoder.onnx", 60, "the file has no timbrel card"),
    ],
)
def test_it_says_what_it_does_not_play(model, key, line, tmp_path):
    known = tmp_path / "frame.json"
    path = MODELS / model
    inputs = {} if ".encoder" in model else inputs_of(Model(path).card, key)
    known.write_text(json.dumps({"inputs": inputs, "frame": [0.0]}), encoding="utf-8")
    ended = run_node(DRIVER, SOURCE, path, key, 1, tmp_path / "a.f32", known)
    assert ended.returncode == 1
    assert line in ended.stderr


def test_the_program_has_two_hundred_lines_at_most():
    lines = SOURCE.read_text(encoding="utf-8").splitlines()
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("//")]
    assert len(code) <= 200
    assert max(map(len, lines)) <= 120
