"""The folder that `make` writes is an instrument wherever a preset is asked for, and a preset names its model."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from timbrel.host.errors import UserError
from timbrel.host.live import session as play
from timbrel.host.model.encoder import encoder_path
from timbrel.host.play.rack import Rack
from timbrel.host.preset.library import find_model, open_patch
from timbrel.host.preset.shipped import current_presets, earlier_presets, shipped_models, shipped_presets
from timbrel.host.resynthesis.process import with_options

MIDI = b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\x0d\0\x90\x40\x64\x83\x60\x80\x40\0\0\xff\x2f\0"


@pytest.fixture
def here(small_model, tmp_path, monkeypatch):
    """A working folder with an instrument, ``sax``, another preset of its model, a sound and a tune."""
    sax = tmp_path / "sax"
    sax.mkdir()
    shutil.copy(small_model, sax / "model.onnx")
    shutil.copy(encoder_path(small_model), sax / "model.encoder.onnx")
    (sax / "preset.toml").write_text('format = 1\nmodel = "model.onnx"\n[play]\nvoices = 3\n', encoding="utf-8")
    (tmp_path / "other.toml").write_text('format = 1\nmodel = "sax/model.onnx"\n', encoding="utf-8")
    (tmp_path / "tune.mid").write_bytes(MIDI)
    tone = 0.3 * np.sin(2 * np.pi * 330 * np.arange(22050) / 44100)
    soundfile.write(tmp_path / "tone.wav", tone, 44100)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["sax", "sax/", "./sax", "sax/preset.toml"])
def test_a_folder_that_make_wrote_is_opened_as_the_preset_in_it_and_has_the_folders_name(here, name):
    patch = open_patch(name)
    assert (patch.name, patch.preset.play.voices) == ("sax", 3)
    assert patch.model.path == here / "sax" / "model.onnx"


def test_the_working_folder_itself_may_be_the_instrument(here, monkeypatch):
    monkeypatch.chdir(here / "sax")
    assert open_patch(".").name == "sax"


def test_a_folder_without_a_preset_is_refused_with_what_to_give(here):
    (here / "empty").mkdir()
    with pytest.raises(UserError, match="empty is a folder without preset"):
        open_patch("empty")


@pytest.mark.parametrize(
    "line",
    [
        "render sax tune.mid -o out.wav",
        "render other.toml tune.mid -o out.wav --channel 1=sax",
        "process tone.wav --preset sax -o out.wav",
        "process tone.wav --preset other.toml --to sax -o out.wav",
        "morph tone.wav tone.wav --model sax --seconds 0.5 -o out.wav",
        "morph tone.wav tone.wav --model other.toml --seconds 0.5 -o out.wav",
        "recover tone.wav --model sax -o out.toml",
        "recover tone.wav --model sax/preset.toml -o out.toml",
    ],
)
def test_commands_take_the_folder_for_a_preset_and_a_preset_for_its_model(here, timbrel, line):
    ended = timbrel(*line.split())
    assert ended.status == 0, ended.err
    out = here / next(part for part in line.split() if part.startswith("out."))
    assert out.stat().st_size > 0
    if out.suffix == ".toml":
        assert open_patch(str(out)).model.path == here / "sax" / "model.onnx"


def test_every_shipped_preset_is_a_model_for_who_asks_for_one(timbrel):
    models = set(shipped_models().values())
    earlier = {shipped_models()["gm-chroma-8"]}  # of presets and projects that name it
    assert {find_model(name) for name in shipped_presets()} == models - earlier
    ended = timbrel("info", "gm-pad", "--json")
    assert json.loads(ended.out)["name"] == json.loads(timbrel("info", find_model("gm-pad"), "--json").out)["name"]


@pytest.mark.parametrize("command", ["morph tone.wav tone.wav", "recover tone.wav"])
def test_a_preset_whose_model_is_missing_is_refused_by_who_asks_for_a_model(here, timbrel, command):
    (here / "sax" / "model.onnx").unlink()
    ended = timbrel(*command.split(), "--model", "sax", "-o", "out.toml")
    assert ended.status == 2
    assert "model 'model.onnx' does not exist" in ended.err


def test_a_morph_may_lead_to_an_instruments_folder(here):
    (here / "two.toml").write_text('format = 1\nmodel = "sax/model.onnx"\n[morph]\nto = "sax"\n', encoding="utf-8")
    assert Rack({0: open_patch("two.toml")}, 44100).process([], 10)[0].shape == (2, 10)


def test_a_landmarks_label_goes_before_a_folder_of_that_name(here):
    patch = open_patch("sax")
    label = patch.model.card.landmarks[0].label
    shutil.copytree(here / "sax", here / label, dirs_exist_ok=True)
    assert with_options(patch, [], [], {"to": label}).preset.process.to == label
    assert with_options(patch, [], [], {"to": "sax"}).preset.process.to == str(here / "sax" / "preset.toml")


def test_play_hears_of_a_preset_that_is_saved_in_its_folder_and_a_set_may_hold_instruments(here, timbrel, monkeypatch):
    asked = {}
    monkeypatch.setattr(play, "play", lambda setup, *rest: asked.update(setup=setup))
    bank = here / "bank"
    shutil.copytree(here / "sax", bank / "b")
    (bank / "a.toml").write_text('format = 1\nmodel = "b/model.onnx"\n', encoding="utf-8")
    (bank / "notes.txt").write_text("no preset", encoding="utf-8")
    assert timbrel("play", "sax", "--null", "--plain", "--set", "bank").status == 0
    assert asked["setup"].programs == ("bank/a.toml", "bank/b")
    assert {path.resolve() for path in open_patch("sax").files} >= {here / "sax" / "preset.toml"}


def test_the_list_has_program_numbers_and_its_columns_do_not_touch(timbrel):
    names, numbers = [*current_presets(), *earlier_presets()], [*shipped_presets()]
    presets, models = (part.splitlines() for part in timbrel("presets").out.split("\n\n"))
    assert [line.split()[:2] for line in presets[1:]] == [[name, str(numbers.index(name) + 1)] for name in names]
    assert [line.split()[0] for line in models[1:]] == [name for name in shipped_models() if name not in names]
    assert presets[-1].endswith("  (earlier; now spoken-words)")
    column = presets[0].index("description")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in [*presets, *models])
