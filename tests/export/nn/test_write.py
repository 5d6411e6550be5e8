"""The command writes a file that is proved, or none, and says what it cannot do."""

import json
import re
import shutil
import zipfile

import numpy as np
import pytest
import torch
from timbrel.export import nn
from timbrel.export.nn import Backend
from timbrel.host.errors import Failure
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models

from ...pantry import one_line


def test_a_shipped_model_is_written_for_nn(timbrel, tmp_path):
    ended = timbrel("export", "gm-chroma-2", "--nn", tmp_path / "gm.ts")
    assert ended.status == 0, ended.err
    assert ended.out == f"{tmp_path / 'gm.ts'}: for nn~ in Max and Pd, 2 latents, a pitch and a level as signals\n"
    assert Backend(tmp_path / "gm.ts").params("forward") == (4, 1, 1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["gm.ts"]


@pytest.mark.parametrize(("name", "inlets", "outlets"), [("gm-partials-8", 10, 2), ("gm-chroma-2", 4, 1)])
def test_a_model_with_a_stereo_image_has_two_outlets_where_the_host_plays_its_voice_so(tmp_path, name, inlets, outlets):
    model = Model(shipped_models()[name])
    model.card = model.card.model_copy(update={"image": [[6.0, 0.3]] * 32})
    nn.write(model, tmp_path / "gm.ts")
    backend = Backend(tmp_path / "gm.ts")
    assert backend.params("forward") == (inlets, 1, outlets, 1)
    assert len(backend.module.forward_output_labels) == outlets


def test_a_run_is_written_as_a_model_and_for_nn(timbrel, small_run, one_table, tmp_path):
    ended = timbrel("export", small_run, "-o", tmp_path / "a.onnx", "--nn", tmp_path / "a.ts", "--name", "flute")
    assert ended.status == 0, ended.err
    names = ["a.onnx", "a.encoder.onnx", "a.ts"]
    assert [line.split(":")[0] for line in ended.out.splitlines()] == [str(tmp_path / name) for name in names]
    assert timbrel("export", tmp_path / "a.onnx", "--nn", tmp_path / "b.ts").status == 0
    assert Backend(tmp_path / "b.ts").attributes() == Backend(tmp_path / "a.ts").attributes()
    with zipfile.ZipFile(tmp_path / "a.ts") as archive:
        card = json.loads(archive.read("timbrel/extra/timbrel.card"))
    assert card == json.loads(Model(tmp_path / "a.onnx").card.model_dump_json())
    assert card["name"] == "flute"


def test_of_a_run_the_file_for_nn_can_be_all_that_is_kept(timbrel, small_run, small_model, tmp_path, monkeypatch):
    def export(run, path, **asked):
        assert (run.folder, asked["weights"], asked["labels"].license) == (small_run, "float32", "CC0-1.0")
        shutil.copy(small_model, path)
        return Model(path).card

    monkeypatch.setattr(nn, "export", export)
    words = ["--weights", "float32", "--license", "CC0-1.0"]
    ended = timbrel("export", small_run, "--nn", tmp_path / "a.ts", *words)
    assert ended.status == 0, ended.err
    assert ended.out.startswith(f"{tmp_path / 'a.ts'}: for nn~")
    assert [path.name for path in tmp_path.iterdir()] == ["a.ts"]


def test_a_file_does_not_say_where_it_was_made(shipped, file_of):
    with zipfile.ZipFile(file_of(shipped("gm-chroma-2"))) as archive:
        text = b"".join(archive.read(name) for name in archive.namelist() if "/data/" not in name)
        names = archive.namelist()
    assert all(name.startswith("timbrel/") for name in names)
    assert str(nn.__file__).encode() not in text
    assert re.search(rb"[\w/]+/(export|site-packages)/", text.replace(b"__torch__/timbrel/export", b"")) is None


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("export run", "nothing to write of run: give -o MODEL.onnx, --nn MODEL.ts, --json MODEL.json, or several"),
        ("export run --nn new.onnx", "--nn new.onnx must end in .ts, such as new.ts"),
        ("export model.onnx --nn .", "--nn . must end in .ts, such as model.ts"),
        ("export model.onnx --nn old.wav", "--nn old.wav must end in .ts"),
        ("export model.onnx --nn new.ts -o new.onnx", "-o new.onnx is written of a run, and model.onnx is no run"),
        ("export model.onnx --nn new.ts --name x", "model.onnx is a model, whose card has its own texts; leave --name"),
        ("export gone.onnx --nn new.ts", "gone.onnx"),
        ("export text.onnx --nn new.ts", "text.onnx cannot be opened as an ONNX model"),
        (
            "export gm-drums --nn new.ts",
            r"gm-drums.onnx is a model of kind clip, and nn~ plays spectrum, partials, grain alone",
        ),
        ("export digits-spoken --nn new.ts", "kind clip"),
        ("export gm-loops --nn new.ts", "kind stream"),
        ("export model.onnx --nn gone/new.ts", "folder gone does not exist"),
    ],
)
@pytest.mark.usefixtures("pantry")
def test_what_cannot_be_written_is_said_in_a_line(timbrel, command, line):
    assert line in one_line(timbrel(*command.split()))


def test_what_exists_is_kept_unless_it_may_be_replaced(timbrel, shipped, tmp_path):
    (tmp_path / "x.ts").write_text("mine")
    assert "exists; give another name" in one_line(timbrel("export", "gm-chroma-2", "--nn", tmp_path / "x.ts"))
    assert (tmp_path / "x.ts").read_text() == "mine"
    assert timbrel("export", "gm-chroma-2", "--nn", tmp_path / "x.ts", "--overwrite").status == 0


def weights_off(graph):
    for buffer in graph.buffers():
        buffer += 1e-3 * buffer.abs().max()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda player: weights_off(player.decoder), "rebuilt, its frames differ by"),
        (lambda player: player.window.mul_(1.001), "a note would differ from the host's by"),
        (lambda player: player.window.mul_(np.nan), "a note would differ from the host's by nan"),
        (lambda player: player.gain_db_params.fill_(9), "nn~ would not play .*: gain_db_params has the unknown type 9"),
        (lambda player: player.forward_params.fill_(3), "nn~ would not play"),
    ],
)
def test_a_file_that_differs_is_not_kept(shipped, tmp_path, monkeypatch, spoil, reason):
    model, original = shipped("gm-chroma-2"), nn.script

    def script(player):
        made = original(player)
        spoil(made)
        return made

    monkeypatch.setattr(nn, "script", script)
    with torch.no_grad(), pytest.raises(Failure, match=reason) as caught:
        nn.write(model, tmp_path / "x.ts")
    assert "no file was kept" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_proof_moves_every_knob_through_its_whole_span(shipped):
    model = shipped("gm-chroma-8")
    signals, sound = nn.note(model, nn.SECONDS)
    knobs = model.card.latents
    codes = signals[0, : len(knobs)] + np.array([[knob.default] for knob in knobs])
    assert codes.min(1) == pytest.approx([knob.low for knob in knobs], abs=1e-5)
    assert codes.max(1) == pytest.approx([knob.high for knob in knobs], abs=1e-5)
    assert np.sqrt(np.mean(np.square(sound))) > 0.01


def test_a_graph_that_fixes_the_number_of_rows_is_refused_in_a_line(shipped, tmp_path, monkeypatch):
    class Fixed(nn.RebuiltDecoder):
        def forward(self, latent, condition=None):
            return super().forward(latent, condition).reshape(3, 2049)

    monkeypatch.setattr(nn, "RebuiltDecoder", Fixed)
    with torch.no_grad(), pytest.raises(Failure, match="its graph gives 1 rows no frames in torch; no file was kept"):
        nn.write(shipped("gm-chroma-2"), tmp_path / "x.ts")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_make_wrote_is_its_model(timbrel, shipped, tmp_path):
    folder = tmp_path / "flute"
    (folder / "run").mkdir(parents=True)
    shutil.copy(shipped("gm-chroma-2").path, folder / "model.onnx")
    assert timbrel("export", folder, "--nn", tmp_path / "a.ts").status == 0
    assert len(Backend(tmp_path / "a.ts").attributes()) == 3 + len(shipped("gm-chroma-2").card.latents)
    refused = one_line(timbrel("export", folder, "--nn", tmp_path / "b.ts", "-o", tmp_path / "b.onnx"))
    assert "is written of a run" in refused
