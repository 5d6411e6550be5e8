"""Names of files as people have them: swapped, in other encodings, composed otherwise."""

import io
import sys
import zipfile

import pytest
from timbrel.__main__ import main
from timbrel.host.preset.shipped import MIDI

from .host.model.packed import packed


def test_the_tune_before_the_preset_is_one_line_that_says_the_order(timbrel, tmp_path):
    ended = timbrel("render", MIDI / "demo.mid", "gm-keys", "-o", tmp_path / "x.wav")
    assert ended.status == 2
    assert "demo.mid is a MIDI or sound file, not a preset; the preset comes first: PRESET demo.mid" in ended.err


def test_a_pack_renamed_zip_is_one_line_that_says_its_name(timbrel, tmp_path):
    (tmp_path / "reed.zip").write_bytes(packed())
    ended = timbrel("info", tmp_path / "reed.zip")
    assert ended.status == 2
    ended = timbrel("render", tmp_path / "reed.zip", MIDI / "demo.mid", "-o", tmp_path / "x.wav")
    assert (ended.status, ended.err) == (
        2,
        f"timbrel: {tmp_path / 'reed.zip'} is a zip file; if it is a pack of timbrel, rename it to reed.timbrel\n",
    )
    assert zipfile.is_zipfile(tmp_path / "reed.zip")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1"])
def test_a_name_that_the_terminal_cannot_show_is_written_and_shown_by_numbers(stocked, tmp_path, monkeypatch, encoding):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", out)
    output = tmp_path / "フルート.wav"
    command = ["timbrel", "render", stocked / "good.toml", stocked / "good.mid", "-o", output]
    monkeypatch.setattr(sys, "argv", [str(word) for word in command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    out.flush()
    assert out.buffer.getvalue().decode(encoding).strip() == str(output).encode("ascii", "backslashreplace").decode()
    assert output.exists()


def test_a_command_finds_files_whose_names_are_composed_otherwise(stocked, timbrel, tmp_path):
    (tmp_path / "Flo\u0308te.mid").write_bytes((stocked / "good.mid").read_bytes())
    ended = timbrel("render", stocked / "good.toml", tmp_path / "Fl\u00f6te.mid", "-o", tmp_path / "x.wav")
    assert (ended.status, ended.err) == (0, "")


def test_presets_and_models_of_one_name_are_listed_once(timbrel):
    names = [line.split()[0] for line in timbrel("presets").out.splitlines() if line]
    assert len(names) == len(set(names))
