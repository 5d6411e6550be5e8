"""A project holds all that its sound needs, and whatever bytes it holds, the server goes on."""

import contextlib
import hashlib
import json
import shutil
import struct
import zlib

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host.errors import UserError
from timbrel.host.events import ControlChange, NoteOff, NoteOn
from timbrel.host.model.learned_path import path_file
from timbrel.host.plugin import project
from timbrel.host.plugin.project import (
    BEGIN,
    LENGTH,
    MAGIC,
    ProjectState,
    collect_preset,
    open_project_preset,
    pack,
    unpack,
)
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import MODELS, PRESETS

from ..learned_paths import with_learned_path

LENGTH_SAMPLES = 20000
PLAYED = [
    NoteOn(0, 0, 60, 100),
    NoteOn(4000, 0, 67, 100),
    ControlChange(6000, 0, 20, 100),  # to the far end of the morph
    NoteOff(9000, 0, 60),
]
SCALE = "! five.scl\nfive\n5\n240.0\n480.0\n720.0\n960.0\n2/1\n"
KEYMAP = "12\n0\n127\n60\n69\n430.0\n12\n0\n0\n1\n1\n2\n2\n3\n3\n4\n4\n4\n4\n"
OWN = """
# A preset with all that can lie beside one.
format = 1
model = "{model}"

[tuning]
scale = "{folder}/scales/five.scl"
keymap = "five.kbm"

[morph]
to = "far.toml"

[process]
to = "far.toml"

[envelope]
release_seconds = 0.05

[[cc]]
number = 20
target = "morph"
low = 0.0
high = 1.0

[[effects]]
plugin = "Convolution"
impulse_response_filename = "rooms/hall.wav"
mix = 0.3
"""
FAR = 'format = 1\nmodel = "gm-chroma-8"\n[latent]\nvalues = [0.9, 0.1, 0.7, 0.3, 0.5, 0.6, 0.2, 0.8]\n'


@pytest.fixture
def own(tmp_path):
    """A preset in a folder of its own, with a model, scales, an impulse response and the other end of its morph."""
    folder = tmp_path / "studio"
    for name in ("scales", "rooms", "models"):
        (folder / name).mkdir(parents=True)
    shutil.copy(MODELS / "gm-chroma-8.onnx", folder / "models" / "mine.onnx")
    (folder / "own.toml").write_text(OWN.format(model="models/mine.onnx", folder=folder))
    (folder / "far.toml").write_text(FAR)
    (folder / "scales" / "five.scl").write_text(SCALE)
    (folder / "five.kbm").write_text(KEYMAP)
    fading = np.random.default_rng(1).normal(size=4000) * np.exp(-np.arange(4000) / 800)
    soundfile.write(folder / "rooms" / "hall.wav", 0.1 * fading, 48000, subtype="FLOAT")
    return folder / "own.toml"


def saved(patch, turned=None, shipped=None):
    return pack(ProjectState(collect_preset(patch), shipped, turned or {}))


def head_of(data):
    whole = zlib.decompress(data[BEGIN.size :])
    (length,) = LENGTH.unpack_from(whole)
    return json.loads(whole[LENGTH.size : LENGTH.size + length])


def made(whole, version=1):
    """A state with a right digest around whatever bytes."""
    packed = zlib.compress(whole)
    return BEGIN.pack(MAGIC, version, hashlib.sha256(packed).digest()) + packed


def with_head(**changed):
    head = head_of(saved(open_patch("lakeside-knobs"))) | changed
    written = json.dumps(head).encode()
    return made(LENGTH.pack(len(written)) + written)


def test_a_project_whose_preset_is_deleted_sounds_the_same(plugin, own):
    plugin.load(own)
    first = plugin.bounce(PLAYED, LENGTH_SAMPLES, [1024])
    data = plugin.save()
    plugin.load("gm-pad")
    other = plugin.bounce(PLAYED, LENGTH_SAMPLES, [1024])
    shutil.rmtree(own.parent)
    plugin.load(data)
    np.testing.assert_array_equal(plugin.bounce(PLAYED, LENGTH_SAMPLES, [777]), first)
    assert (other != first).any()
    assert np.abs(first).max() > 0.01
    assert plugin.save() == data
    plugin.settle()


def test_a_state_says_no_path_and_keeps_the_words_of_the_preset(own, tmp_path):
    data = saved(open_patch(str(own)))
    assert str(tmp_path).encode() not in zlib.decompress(data[BEGIN.size :])
    head = head_of(data)
    assert "# A preset with all that can lie beside one." in head["text"]
    assert {file["name"] for file in head["files"]} == {"mine.onnx", "five.scl", "five.kbm", "far.toml", "hall.wav"}
    assert 'scale = "five.scl"' in head["text"]


def test_two_files_of_one_name_in_two_folders_are_kept_apart(own):
    folder = own.parent
    shutil.copy(folder / "far.toml", folder / "scales" / "far.toml")
    (folder / "scales" / "far.toml").write_text(FAR.replace("0.9", "0.8"))
    own.write_text(own.read_text().replace('[process]\nto = "far.toml"', '[process]\nto = "scales/far.toml"'))
    before = open_patch(str(own))
    after = open_project_preset(unpack(saved(before)).preset, print)
    assert after.morph.end == before.morph.end == [0.9, 0.1, 0.7, 0.3, 0.5, 0.6, 0.2, 0.8]
    assert after.process_end == before.process_end == [0.8, 0.1, 0.7, 0.3, 0.5, 0.6, 0.2, 0.8]


def test_a_bare_model_is_kept_as_it_plays(tmp_path):
    path = tmp_path / "bare.onnx"
    shutil.copy(MODELS / "lakeside-10.onnx", path)
    before = open_patch(str(path))
    data = saved(before)
    path.unlink()
    after = open_project_preset(unpack(data).preset, print)
    assert after.model.sha256 == before.model.sha256
    assert after.preset.cc == before.preset.cc
    assert after.preset.macro == before.preset.macro


def test_a_project_holds_the_learned_path_of_its_model(tmp_path):
    """It plays where the files are gone; a state without the path, or with another, is refused in a line."""
    learned_model = with_learned_path(MODELS / "lakeside-10.onnx", tmp_path / "sea.onnx")
    text = 'format = 1\nmodel = "sea.onnx"\n[[motion]]\nlearned = { seed = 3 }\n'
    (tmp_path / "sea.toml").write_text(text)
    patch = open_patch(str(tmp_path / "sea.toml"))
    data, path_data = saved(patch), path_file(learned_model).read_bytes()
    for file in (learned_model, path_file(learned_model), tmp_path / "sea.toml"):
        file.unlink()
    preset = unpack(data).preset
    assert preset.files["sea.path.onnx"] == path_data
    again = open_project_preset(preset, print)
    walks = [next(opened.path.walk(np.zeros(10, np.float32), 3)) for opened in (patch, again)]
    np.testing.assert_array_equal(*walks)
    without = preset._replace(files={"sea.onnx": preset.files["sea.onnx"]})
    with pytest.raises(UserError, match=r"sea\.path\.onnx, the learned path of sea\.onnx, is missing; save it again"):
        open_project_preset(without, print)
    broken = preset._replace(files={**preset.files, "sea.path.onnx": path_data[:-1] + b"?"})
    with pytest.raises(UserError, match="is not the learned path that the card"):
        open_project_preset(broken, print)


@pytest.mark.parametrize("name", sorted(path.stem for path in PRESETS.glob("*.toml")))
def test_each_preset_that_ships_comes_back_as_it_was(name):
    before = open_patch(name)
    after = open_project_preset(collect_preset(before), print)
    assert (after.name, after.text, after.preset) == (before.name, before.text, before.preset)
    assert (after.morph, after.process_end, dict(after.tuning)) == (
        before.morph,
        before.process_end,
        dict(before.tuning),
    )
    assert after.model.sha256 == before.model.sha256


def test_a_project_holds_a_shipped_model_by_its_name_and_its_digest():
    data = saved(open_patch("gm-keys"))
    head = head_of(data)
    assert head["model_name"] == "gm-partials-8"
    assert "gm-partials-8" not in [file["name"] for file in head["files"]]
    assert head["model_sha256"] == hashlib.sha256((MODELS / "gm-partials-8.onnx").read_bytes()).hexdigest()
    assert len(data) < 10_000  # the model has 6 MB


def test_a_model_that_ships_otherwise_by_now_is_that_of_the_project(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    data = saved(open_patch("lakeside-knobs"))
    monkeypatch.setattr(project, "shipped_models", lambda: {"lakeside-10": MODELS / "gm-loops.onnx"})
    patch = open_project_preset(unpack(data).preset, print)
    assert patch.model.sha256 == hashlib.sha256((MODELS / "lakeside-10.onnx").read_bytes()).hexdigest()
    head = head_of(saved(patch))
    assert (head["text"], head["model_sha256"]) == (head_of(data)["text"], head_of(data)["model_sha256"])


def test_a_shipped_model_that_cannot_be_laid_aside_is_saved_and_missed_by_a_timbrel_without_it(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file" / "data"))
    (tmp_path / "file").touch()
    data = saved(open_patch("lakeside-knobs"))
    monkeypatch.setattr(project, "shipped_models", dict)
    with pytest.raises(UserError, match=r"'lakeside-10' of the project neither ships .*; copy [0-9a-f]{64}\.onnx from"):
        open_project_preset(unpack(data).preset, print)


def test_a_large_model_is_laid_aside_and_missed_where_it_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(project, "LARGE_BYTES", 1000)
    path = tmp_path / "large.onnx"
    source = (MODELS / "lakeside-10.onnx").read_bytes()
    path.write_bytes(source)
    with monkeypatch.context() as few:
        few.setattr(project, "shipped_models", dict)
        data = saved(open_patch(str(path)))
        path.unlink()
        assert len(data) < 20_000
        assert open_project_preset(unpack(data).preset, print).model.read_bytes() == source
        shutil.rmtree(tmp_path / "data")
        with pytest.raises(UserError, match=r"'large\.onnx' of the project neither ships .* nor is in .*data"):
            open_project_preset(unpack(data).preset, print)
    assert open_project_preset(unpack(data).preset, print).model.read_bytes() == source  # it ships, by its digest


def test_what_hands_have_turned_is_saved_and_comes_back():
    found = unpack(saved(open_patch("lakeside-knobs"), {"latent.3": 0.1, "gain": -3.5}, "lakeside-knobs"))
    assert (found.panel_values, found.listed_name) == ({"latent.3": 0.1, "gain": -3.5}, "lakeside-knobs")


def test_an_effect_that_is_not_here_is_named_and_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    text = (PRESETS / "lakeside-knobs.toml").read_text()
    text += """
[[cc]]
number = 90
target = "effects.0.mix"
low = 0.0
high = 1.0
[[cc]]
number = 91
target = "effects.1.wet_level"
[[macro]]
name = "gone"
targets = [{ target = "effects.0.mix", low = 0.0, high = 1.0 }]
[[macro]]
name = "half"
targets = [{ target = "effects.0.mix", low = 0.0, high = 1.0 }, { target = "pan", low = -1.0, high = 1.0 }]
[[snapshot]]
slot = 7
values = { "effects.0.mix" = 0.9, "effects.1.wet_level" = 0.7, pan = 0.2 }
[[snapshot]]
slot = 8
values = { "effects.0.mix" = 0.1 }
[[effects]]
plugin = "Nobody.vst3"
mix = 0.5
[[effects]]
plugin = "Reverb"
"""
    before = collect_preset(open_patch("lakeside-knobs"))._replace(text=text)
    lines = []
    patch = open_project_preset(before, lines.append)
    assert len(lines) == 1
    assert lines[0].startswith("[[effects]] 1: Nobody.vst3 is not here, or has not been let run; it is left out.")
    assert [(effect.plugin, effect.on) for effect in patch.preset.effects] == [("Gain", False), ("Reverb", True)]
    assert [entry.target for entry in patch.preset.cc if entry.number in (90, 91)] == ["effects.1.wet_level"]
    assert [macro.name for macro in patch.preset.macro[-2:]] == ["gone", "half"]
    assert [entry.target for entry in patch.preset.macro[-1].targets] == ["pan"]
    last = patch.preset.snapshot[-1]
    assert (last.slot, last.values) == (7, {"effects.1.wet_level": 0.7, "pan": 0.2})
    assert collect_preset(patch).text == text  # where it is, it is heard again


@pytest.mark.parametrize(
    ("named", "beside"),
    [
        ("/root/private.onnx", None),
        ("/etc/hostname", '[tuning]\nscale = "/etc/hostname"'),
        ("../five.kbm", '[tuning]\nscale = "five.scl"\nkeymap = "../five.kbm"'),
        ("/dev/zero", '[[effects]]\nplugin = "Convolution"\nimpulse_response_filename = "/dev/zero"'),
        ("/dev/zero", '[stream]\nseed_sound = "/dev/zero"'),
        ("/root/far.toml", '[morph]\nto = "/root/far.toml"'),
        ("/etc/hostname", '[morph]\nto = "/etc/hostname"'),
        ("/root/far.toml", '[process]\nto = "/root/far.toml"'),
    ],
)
def test_a_project_that_names_a_file_of_this_machine_is_refused(plugin, named, beside):
    model = "gm-chroma-8" if beside else named
    text = f'format = 1\nmodel = "{model}"\n{beside or ""}\n'
    kept = SMALL.preset._replace(name="sent", text=text, files={"five.scl": SCALE.encode()}, model_name="gm-chroma-8")
    plugin.settle()
    plugin.load(pack(ProjectState(kept._replace(model_sha256=open_patch("gm-keys").model.sha256), None, {})))
    plugin.listen(lambda: plugin.said)
    assert plugin.said == [
        f"the project's preset 'sent' names '{named}', which the project does not hold; the preset before plays on"
    ]
    plugin.settle()


def test_broken_states_are_refused_in_words():
    good = saved(open_patch("lakeside-knobs"))
    newer = BEGIN.pack(MAGIC, 2, bytes(32)) + good[BEGIN.size :]
    cases = {
        b"": "does not begin as one",
        b"timbrel": "does not begin as one",
        b"something else" * 9: "does not begin as one",
        newer: "has version 2, this timbrel reads 1; update timbrel",
        good[:-1]: "its digest is another",
        good[:60] + b"\xff" + good[61:]: "its digest is another",
        made(b""): "too long or too short",
        made(bytes(project.LARGEST + 1)): "too long or too short",
        made(LENGTH.pack(4_000_000_000) + b"{}"): "validation error",
        made(LENGTH.pack(2) + b"[]"): "validation error",
        with_head(files=[{"name": "x", "size": 5}]): "its files have other sizes",
        with_head(files=[{"name": "x", "size": -1}]): "validation error",
        with_head(files=[{"name": "x", "size": 5}] * 65): "validation error",
        with_head(name="../../x"): "validation error",
        with_head(turned={"gain": "loud"}): "validation error",
        with_head(more=1): "validation error",
    }
    for data, what in cases.items():
        with pytest.raises(UserError) as refused:
            unpack(data)
        (line,) = refused.value.args
        assert what in line
        assert "\n" not in line


SMALL = ProjectState(collect_preset(open_patch("lakeside-knobs")), None, {})


@given(data=st.data())
def test_whatever_a_state_holds_it_opens_or_is_refused(data):
    """Its preset and its model are changed at random, its digest is right."""
    text = bytearray(SMALL.preset.text.encode())
    model = bytearray(MODELS.joinpath("lakeside-10.onnx").read_bytes())
    for changed in (text, model):
        for _ in range(data.draw(st.integers(0, 6))):
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    head = head_of(pack(SMALL)) | {"text": text.decode(errors="replace"), "model_sha256": "0" * 64}
    head["files"] = [{"name": head["model_name"], "size": len(model)}]
    written = json.dumps(head).encode()
    whole = LENGTH.pack(len(written)) + written + bytes(model)
    with contextlib.suppress(UserError):
        assert open_project_preset(unpack(made(whole)).preset, lambda line: None).name == "lakeside-knobs"


def test_a_server_passes_over_broken_states_and_saves_while_it_plays(plugin):
    plugin.load("gm-keys")
    plugin.reset()
    plugin.midi(0, 0x90, 60, 100)
    first = plugin.block(4096)
    good = plugin.save()
    chance = np.random.default_rng(5)
    plugin.settle()
    for place in chance.integers(0, len(good), 4):
        plugin.load(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    plugin.load(b"")
    plugin.load(made(LENGTH.pack(2) + b"{}"))
    ringing = plugin.block(4096)
    assert np.abs(ringing).max() > 0.01
    assert plugin.save() == made(LENGTH.pack(2) + b"{}")  # the project's own, for a timbrel that can play it
    assert len(plugin.said) == 6
    assert all("is damaged" in line and line.endswith("; the preset before plays on") for line in plugin.said)
    plugin.settle()
    plugin.reset()
    plugin.midi(0, 0x90, 60, 100)
    np.testing.assert_array_equal(plugin.block(4096), first)
    plugin.load("gm-keys")
    assert plugin.save() == good


def test_each_load_tells_its_state_unasked_and_each_question_is_answered_by_its_number(plugin):
    plugin.load("gm-pad")
    plugin.settle()
    unasked = plugin.states[0]
    assert unpack(unasked).preset.name == "gm-pad"
    assert plugin.save() == unasked
    assert plugin.save() == unasked
    plugin.reset()
    plugin.choose(0, plugin.presets.index("gm-oboe") + 1)
    plugin.block(64)
    plugin.settle()
    assert unpack(plugin.states[0]).listed_name == "gm-oboe"
    assert struct.unpack_from("<8sI", plugin.states[0]) == (MAGIC, 1)
