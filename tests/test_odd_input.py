"""What is odd but valid is used, with a warning where something is lost."""

import shutil

import numpy as np
import pytest
import soundfile

from .pantry import END, midi, preset


@pytest.mark.parametrize(
    ("name", "content", "warning"),
    [
        ("without-notes.mid", midi(END), "no notes: the output is silence"),
        ("unreleased.mid", midi(b"\x00\x90\x40\x64\x83\x60" + END[1:]), "without a note-off"),
        ("type-2.mid", midi(kind=2, tracks=2), "type 2"),
    ],
)
def test_odd_music_is_rendered_with_a_warning(stocked, timbrel, tmp_path, name, content, warning):
    (tmp_path / name).write_bytes(content)
    ended = timbrel("render", stocked / "good.toml", tmp_path / name, "-o", tmp_path / "new.wav", "--tail", "0.5")
    assert ended.status == 0, ended.err
    assert ended.out == f"{tmp_path / 'new.wav'}\n"
    assert ended.err.startswith("warning: ")
    assert warning in ended.err
    assert soundfile.info(tmp_path / "new.wav").samplerate == 44100


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("without-tempo.mid", midi()),
        ("smpte.mid", midi(division=(256 - 25) << 8 | 40)),
        ("thousands.mid", midi(tracks=3000, kind=1)),
    ],
)
def test_odd_music_without_doubt_is_rendered_without_a_word(stocked, timbrel, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    ended = timbrel("render", stocked / "good.toml", tmp_path / name, "-o", tmp_path / "new.wav", "--tail", "0.5")
    assert (ended.status, ended.err) == (0, "")
    assert np.abs(soundfile.read(tmp_path / "new.wav")[0]).max() > 0.01


def test_a_model_path_may_go_through_a_parent_folder(stocked, timbrel, tmp_path):
    (tmp_path / "deep" / "presets").mkdir(parents=True)
    shutil.copy(stocked / "model.onnx", tmp_path / "deep")
    text = preset(model='"../../deep/model.onnx"')
    (tmp_path / "deep" / "presets" / "mine.toml").write_text(text, encoding="utf-8")
    ended = timbrel(
        *("render", tmp_path / "deep" / "presets" / "mine.toml", stocked / "good.mid", "-o", tmp_path / "new.wav")
    )
    assert (ended.status, ended.err) == (0, "")


def test_another_model_under_the_presets_name_is_warned_of_and_played(stocked, timbrel, tmp_path):
    shutil.copy(stocked / "model.onnx", tmp_path)
    text = preset(model_sha256=f'"{"0" * 64}"')
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    ended = timbrel("render", tmp_path / "mine.toml", stocked / "good.mid", "-o", tmp_path / "new.wav")
    assert ended.status == 0
    assert ended.err.startswith("warning: preset 'mine' was made for another model")
    assert (tmp_path / "new.wav").exists()


def test_overwriting_is_done_when_it_is_asked_for(stocked, timbrel, tmp_path):
    (tmp_path / "old.wav").write_bytes(b"an old recording")
    arguments = ["render", stocked / "good.toml", stocked / "good.mid", "-o", tmp_path / "old.wav"]
    assert timbrel(*arguments).status == 2
    assert (tmp_path / "old.wav").read_bytes() == b"an old recording"
    assert timbrel(*arguments, "--overwrite").status == 0
    assert soundfile.info(tmp_path / "old.wav").duration > 0.4
