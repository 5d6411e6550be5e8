"""Completion, version, several MIDI files, the configuration file, NO_COLOR: as users run them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timbrel
from timbrel.host.preset.shipped import MIDI

TUNE = MIDI / "digits-keys.mid"


def run(*arguments: object, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "timbrel", *map(str, arguments)]
    env = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")} | env
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def completed(words: str, folder: Path) -> list[str]:
    count = str(len(words.split(" ")) - 1)
    done = run(folder=folder, _TIMBREL_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)
    assert done.stderr == ""
    return done.stdout.split()


def test_shells_complete_commands_options_and_presets(tmp_path: Path) -> None:
    assert completed("timbrel rec", tmp_path) == ["recipes", "recover"]
    assert "--normalise" in completed("timbrel render --", tmp_path)
    assert completed("timbrel play gm-ke", tmp_path) == ["gm-keys"]
    script = run("--show-completion", "bash", folder=tmp_path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_TIMBREL_COMPLETE=complete_bash" in script.stdout


def test_the_version_for_people_and_for_programs(tmp_path: Path) -> None:
    assert run("version", folder=tmp_path).stdout == f"{timbrel.__version__}\n"
    told = json.loads(run("version", "--json", folder=tmp_path).stdout)
    assert told["timbrel"] == timbrel.__version__
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))
    assert told["packages"]["numpy"]


def test_several_files_or_a_folder_are_rendered_into_a_folder(tmp_path: Path) -> None:
    (tmp_path / "tunes").mkdir()
    for name in ("a.mid", "b.MID", "notes.txt"):
        shutil.copyfile(TUNE, tmp_path / "tunes" / name)
    done = run("render", "digits-keys", "tunes", "-o", "sounds", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "sounds/a.wav\nsounds/b.wav\n")
    one = run("render", "digits-keys", "tunes/a.mid", "-o", "one.wav", folder=tmp_path)
    assert one.returncode == 0
    sounds = [tmp_path / "sounds" / "a.wav", tmp_path / "sounds" / "b.wav", tmp_path / "one.wav"]
    assert len({sound.read_bytes() for sound in sounds}) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tunes", "-o", "full"], "full/b.wav exists"),
        (["tunes/a.mid", "tunes/none.mid", "-o", "out"], "cannot read tunes/none.mid"),
        (["broken", "-o", "out"], "cannot read broken/b.mid: it is not a MIDI file"),
        (["tunes/a.mid", "other/a.mid", "-o", "out"], "two of the files are named a"),
        (["tunes/a.mid", "tunes/b.mid", "-o", "out.wav"], "several files are rendered into a folder"),
        (["tunes/a.mid", "tunes/a-ch01.mid", "-o", "out", "--stems"], "a-ch01 may be a stem of another file"),
        (["empty", "-o", "out"], "no MIDI files (.mid) in empty"),
        (["tunes", "-o", "none/out"], "cannot make folder none/out"),
    ],
)
def test_several_files_that_cannot_be_rendered_are_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    for folder in ("tunes", "other", "full", "empty", "broken"):
        (tmp_path / folder).mkdir()
    for name in ("tunes/a.mid", "tunes/b.mid", "tunes/a-ch01.mid", "tunes/._a.mid", "other/a.mid", "broken/a.mid"):
        shutil.copyfile(TUNE, tmp_path / name)
    (tmp_path / "broken" / "b.mid").write_text("no tune")
    (tmp_path / "full" / "b.wav").write_text("mine")
    done = run("render", "digits-keys", *arguments, folder=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert said in done.stderr
    assert not (tmp_path / "out").exists()
    assert [path.read_text() for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_the_configuration_file_gives_defaults_that_options_replace(tmp_path: Path) -> None:
    file = tmp_path / "config" / "timbrel" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[play]\ndevice = "no such card"\nblock = 7\n')
    done = run("play", "gm-keys", "--null", folder=tmp_path)
    assert done.returncode == 2
    assert "7" in done.stderr
    assert "16" in done.stderr
    done = run("play", "gm-keys", "--block", "128", folder=tmp_path)
    assert done.returncode == 2
    assert "sound card" in done.stderr
    file.write_text("[play]\nblok = 64\n")
    done = run("play", "gm-keys", "--null", folder=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "unknown key play.blok; did you mean 'block'?" in done.stderr
