"""The command line prints into what closes or is full, and goes from sounds to a model that passes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from timbrel import __version__

from .patience import besides_progress


def test_the_package_runs_as_a_module_and_as_a_command():
    for start in ([sys.executable, "-m", "timbrel"], [str(Path(sys.executable).with_name("timbrel"))]):
        done = subprocess.run([*start, "--version"], capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
INTO_PIPES = {
    "output": (["recipes"], (0, 1)),
    "help": (["--help"], (0, 1)),
    "a model": (["info", "gm-chroma-8"], (0, 1)),
    "a complaint": (["info", "nothing"], (2,)),
    "a sound": (["render", "gm-keys", "MIDI", "-o", "out.wav", "--tail", "0"], (0, 1)),
}


@pytest.mark.parametrize(
    ("what", "both", "buffered"),
    [
        *((what, False, []) for what in INTO_PIPES),
        ("output", True, []),
        ("a complaint", True, []),
        *((what, both, ["-u"]) for what in ("output", "a complaint") for both in (False, True)),
    ],
)
def test_what_is_printed_into_a_closed_pipe_ends_quietly(tmp_path, what, both, buffered):
    """As `timbrel recipes | head -1` may find it, and `timbrel recipes |& head -1`."""
    arguments, statuses = INTO_PIPES[what]
    song = tmp_path / "note.mid"
    song.write_bytes(bytes.fromhex("4d546864 00000006 0000 0001 0060 4d54726b 0000000c 00903c64 60803c00 00ff2f00"))
    process = subprocess.Popen(
        [sys.executable, *buffered, "-m", "timbrel", *(str(song) if part == "MIDI" else part for part in arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=BUFFERED,
        cwd=tmp_path,
    )
    process.stdout.close()
    if both:
        process.stderr.close()
    error_lines = [] if both else besides_progress(process.stderr.read())
    assert process.wait() in statuses
    assert error_lines == [] or (statuses == (2,) and len(error_lines) == 1)
    process.stderr.close()
    assert (tmp_path / "out.wav").exists() == (what == "a sound")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
@pytest.mark.parametrize("buffered", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_what_cannot_be_printed_for_want_of_room_is_one_line_and_status_1(buffered):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, *buffered, "-m", "timbrel", "recipes"], stdout=full, stderr=-1, text=True, env=BUFFERED
        )
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert "No space left on device" in ended.stderr


def test_from_sounds_to_a_model_that_passes(timbrel, tones, small, one_table, tmp_path, monkeypatch):
    """The commands one after the other, as the README has them, each saying where its work is."""
    monkeypatch.chdir(tmp_path)
    built = timbrel("corpus", "build", tones, "-o", "corpus", "--split", "0.7/0.15/0.15")
    assert (built.status, built.err) == (0, "")
    assert built.out.startswith("clips           14")
    changes = [part for change in small for part in ("--set", change)]
    trained = timbrel("train", "tuned-2", "--corpus", "corpus", "-o", "run", *changes, "--accelerator", "cpu")
    assert trained.status == 0, trained.err
    assert trained.out.startswith("run: 60 steps, validation loss ")
    assert trained.out.splitlines()[-1] == "next: timbrel evaluate run, or timbrel export run -o MODEL.onnx"
    exported = timbrel("export", "run", "-o", "bells.onnx", "--license", "CC0-1.0", "--description", "fourteen tones")
    assert exported.status == 0, exported.err
    assert exported.out.startswith("bells.onnx: 2 latents, within ")
    assert "bells.encoder.onnx: its encoder" in exported.out
    shown = timbrel("info", "bells.onnx").out
    assert all(text in shown for text in ("bells", "fourteen tones", "CC0-1.0", "tuned-2", "60 steps", "latent 1"))
    from timbrel.host.model.card import read_card

    assert read_card(timbrel("info", "bells.onnx", "--json").out, "info").name == "bells"
    passed = timbrel("verify", "bells.onnx")
    assert passed.status == 0
    assert passed.out.startswith("bells.onnx passes: off by ")
    monkeypatch.setattr("timbrel.host.model.model.ParityResult.passed", property(lambda self: False))
    failed = timbrel("verify", "bells.onnx")
    assert failed.status == 1
    assert failed.out.startswith("bells.onnx FAILS: off by ")


def test_other_seeds_and_devices_reach_the_loop(timbrel, monkeypatch, tone_corpus, tmp_path):
    from timbrel.train import launch, loop

    seen = []

    def start(recipe, corpus, folder, options, others):
        seen.append((recipe, corpus, folder, options))
        return loop.Outcome(1, 0.5, False, False)

    monkeypatch.setattr(launch, "start", start)
    arguments = ["train", "chroma-2", "--corpus", tone_corpus, "-o", tmp_path / "run"]
    timbrel(*arguments, "--set", "training.seed=9", "--devices", "3", "--accelerator", "cpu", "--tensorboard")
    recipe, corpus, folder, options = seen[0]
    assert (recipe.name, recipe.training.seed) == ("chroma-2", 9)
    assert (corpus, folder) == (tone_corpus, tmp_path / "run")
    assert (options.devices, options.accelerator, options.tensorboard) == (3, "cpu", True)
    timbrel(*arguments, "--minutes", "2.5")
    assert seen[1][0].training.minutes == 2.5
    assert seen[1][3].tensorboard is False
