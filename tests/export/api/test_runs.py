"""Corpora, training, evaluation, export and data sets from Python: the work of the commands, with progress."""

import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import timbrel
from timbrel.export import evaluate as evaluating


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_corpus_has_the_bytes_of_the_commands(tones: Path, tmp_path: Path, timbrel: Callable[..., Any]) -> None:
    import timbrel as package

    shares: list[tuple[float, str]] = []
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    report = package.build_corpus(
        str(tones),
        tmp_path / "ours" / "tones",
        split="0.7/0.15/0.15",
        licence="CC0-1.0",
        workers=1,
        progress=lambda share, note: shares.append((share, note)),
    )
    options = ["--split", "0.7/0.15/0.15", "--licence", "CC0-1.0", "--workers", "1"]
    assert timbrel("corpus", "build", tones, "-o", tmp_path / "theirs" / "tones", *options).out == f"{report.text()}\n"
    assert report.clips > 0
    assert files_of(tmp_path / "ours") == files_of(tmp_path / "theirs")
    assert [share for share, _ in shares] == sorted(share for share, _ in shares)
    assert shares[-1] == (1.0, "done")


def test_a_recipe_trains_stops_and_goes_on(
    tone_corpus: Path, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timbrel.train import loop

    states: list[Any] = []

    def stop_early(status: Any) -> None:
        states.append(status)
        stop.requested = True

    stop = loop.Stop()
    monkeypatch.setattr(loop, "Stop", lambda **_: stop)
    monkeypatch.setattr(loop, "REPORT_SECONDS", -1.0)  # each step is reported
    run = tmp_path / "run"
    first = timbrel.train_recipe("tuned-8", tone_corpus, run, changes=small, accelerator="cpu", progress=stop_early)
    assert first is not None
    assert first.interrupted
    assert 0 < first.step < 60
    assert 0 < states[0].budget_share < 1
    assert np.isfinite(states[0].loss)
    monkeypatch.undo()
    last = timbrel.train_recipe("tuned-8", str(tone_corpus), str(run), changes=small, accelerator="cpu", resume=True)
    assert last is not None
    assert (last.step, last.interrupted) == (60, False)


def test_the_command_trains_by_the_same_function(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, timbrel: Callable[..., Any]
) -> None:
    from timbrel.train import api

    asked: dict[str, Any] = {}

    def trained(*arguments: Any, **options: Any) -> None:
        asked.update(options, arguments=arguments)

    monkeypatch.setattr(api, "train_recipe", trained)
    words = ["train", "tuned-8", "--corpus", "c", "-o", "run", "--set", "training.epochs=2", "--accelerator", "cpu"]
    assert timbrel(*words, "--pretrained", "w.pt").status == 0
    del asked["progress"], asked["say"]
    assert asked == {
        "arguments": ("tuned-8", Path("c"), Path("run")),
        "changes": ["training.epochs=2"],
        "minutes": None,
        "generator": None,
        "classifier": None,
        "grains": None,
        "pretrained": Path("w.pt"),
        "resume": False,
        "devices": 1,
        "nodes": 1,
        "accelerator": "cpu",
        "tensorboard": False,
    }


def test_an_exported_model_opens_and_each_file_has_a_line(small_run: Path, one_table: None, tmp_path: Path) -> None:
    lines: list[str] = []
    timbrel.export_model(
        str(small_run), tmp_path / "small.onnx", name="tones", license="CC0-1.0", progress=lines.append
    )
    model = timbrel.open(tmp_path / "small.onnx")
    assert (model.card["name"], model.card["license"]) == ("tones", "CC0-1.0")
    assert [line.partition(":")[0] for line in lines] == [
        str(tmp_path / "small.onnx"),
        str(tmp_path / "small.encoder.onnx"),
    ]
    assert model.render(timbrel.Note(60, 0, 0.2), seconds=0.2).any()
    with pytest.raises(timbrel.UserError, match="exists"):
        timbrel.export_model(small_run, tmp_path / "small.onnx")


def test_a_run_is_evaluated_with_progress(small_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def evaluate(opened_run: Any, **options: Any) -> dict[str, Any]:
        asked.update(options, folder=opened_run.folder)
        options["progress"](0.5, "half")
        return {"format": 2}

    monkeypatch.setattr(evaluating, "evaluate", evaluate)
    shares: list[tuple[float, str]] = []
    assert timbrel.evaluate_run(
        small_run, checkpoint="last", progress=lambda share, note: shares.append((share, note))
    ) == {"format": 2}
    del asked["progress"]
    assert asked == {"checkpoint": "last", "classifier": None, "folder": small_run}
    assert shares == [(0.5, "half")]


def test_labelled_notes_are_those_of_the_commands_shards(tmp_path: Path, timbrel: Callable[..., Any]) -> None:
    import timbrel as package

    shares: list[float] = []
    found = package.render_dataset(
        ["gm-oboe", "gm-keys"],
        70,
        seconds=0.5,
        keys=[60, 64, 67],
        velocities="40-90",
        knobs={"gain": (0.3, 0.8)},
        sample_rate=16_000,
        seed=5,
        progress=shares.append,
    )
    options = ["--notes", "70", "--seconds", "0.5", "--keys", "60,64,67", "--velocities", "40-90"]
    options += ["--knob", "gain=0.3,0.8", "--rate", "16000", "--seed", "5", "--float"]
    assert timbrel("dataset", "gm-oboe", "gm-keys", *options, "-o", tmp_path / "notes").status == 0
    with tarfile.open(tmp_path / "notes" / "notes-000000.tar") as shard:
        members: dict[str, bytes] = {}
        for member in shard:
            file = shard.extractfile(member)
            assert file is not None
            members[member.name] = file.read()
    count = 0
    for number, (sound, labels) in enumerate(found):
        samples, rate = soundfile.read(io.BytesIO(members[f"{number:09d}.wav"]), dtype="float32", always_2d=True)
        np.testing.assert_array_equal(sound, samples.T)
        assert (sound.sample_rate, rate, sound.shape) == (16_000, 16_000, (1, 8000))
        assert json.loads(members[f"{number:09d}.json"]) == labels
        count += 1
    assert count == 70
    assert shares == [0.5, 1.0]


def test_scalars_of_numpy_are_numbers(tmp_path: Path, tones: Path) -> None:
    scalars: list[tuple[Any, Any]] = [(int, True), (np.int64, np.True_)]
    plain, of_numpy = (
        timbrel.render_dataset(
            "gm-oboe", count(1), seconds=0.5, sample_rate=count(16000), seed=count(3), keys=count(60), stereo=flag
        )
        for count, flag in scalars
    )
    np.testing.assert_array_equal(next(of_numpy).sound, next(plain).sound)
    options: dict[str, dict[str, Any]] = {
        "python": {"seed": 3, "append": False},
        "numpy": {"seed": np.int64(3), "append": np.False_},
    }
    reports = [timbrel.build_corpus(tones, tmp_path / name, workers=1, **given) for name, given in options.items()]
    assert reports[0].split_clips == reports[1].split_clips


def test_a_knob_s_position_may_be_as_small_as_floats_are() -> None:
    sounds = timbrel.render_dataset("gm-oboe", 1, seconds=0.5, sample_rate=16000, knobs={"gain": 1e-7})
    assert next(sounds).labels["knobs"] == {"gain": 0.0}  # rounded there


def test_processes_do_not_run_a_script_once_more(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import timbrel\n"
        "print('begun')\n"
        "notes = timbrel.render_dataset('gm-oboe', 65, seconds=0.5, workers=2)\n"
        "print(sum(1 for note in notes))\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("begun\n65\n", "")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("timbrel.build_corpus([], 'c', workers=2, ray='auto')", "two ways to share the work"),
        ("timbrel.build_corpus([], 'c', workers=0)", "workers 0 is out of range; give at least 1"),
        ("timbrel.build_corpus([], 'c', loops=True, melodies=True)", "two kinds of corpus"),
        ("timbrel.build_corpus('nowhere', 'c')", "nowhere"),
        ("timbrel.build_corpus([], 'c')", "sounds: none is given; give sound files, folders or addresses"),
        ("timbrel.build_corpus('', 'c')", "sounds '' is no path; give a text or a pathlib.Path"),
        ("timbrel.build_corpus(SOUNDS, 'a\\0b')", "output 'a\\x00b' is no path"),
        ("timbrel.build_corpus(SOUNDS / 'a\\nb', 'c')", "a b does not exist; give sound files or folders of them"),
        ("timbrel.build_corpus(np.array(3), 'c')", "sounds array(3) is no list; give one"),
        ("timbrel.build_corpus(b'x', 'c')", "sounds b'x' is no list; give one"),
        ("timbrel.build_corpus(SOUNDS, 'c', columns='key=note')", "columns 'key=note' is no dictionary; give one"),
        ("timbrel.build_corpus(SOUNDS, 'c', columns={1: 'a'})", "columns: role 1 is no text; give one in quotes"),
        ("timbrel.build_corpus(SOUNDS, 'c', columns={'key': ['a']})", "columns['key'] ['a'] is no text"),
        ("timbrel.build_corpus(SOUNDS, 'c', columns={'key': None})", "columns['key'] None is no text"),
        ("timbrel.build_corpus(SOUNDS, 'c', append=np.array([1, 2]))", "append: array([1, 2]) is neither True nor"),
        ("timbrel.build_corpus(SOUNDS, 'c', loops='no')", "loops: 'no' is neither True nor False; give one of them"),
        ("timbrel.build_corpus(SOUNDS, 'c', melodies=1)", "melodies: 1 is neither True nor False"),
        ("timbrel.build_corpus(SOUNDS, 'c', shortest_seconds=10**400)", "is not finite; give a number"),
        ("timbrel.build_corpus(None, 'c')", "sounds None is no list"),
        ("timbrel.build_corpus(SOUNDS, None)", "output None is no path"),
        ("timbrel.build_corpus(SOUNDS, 'c', rate=44100.5)", "rate (Hz): 44100.5 is not a whole number"),
        ("timbrel.build_corpus(SOUNDS, 'c', seed=-1)", "seed -1 is out of range; give at least 0"),
        ("timbrel.build_corpus(SOUNDS, 'c', workers='2')", "workers '2' is not a whole number"),
        ("timbrel.build_corpus(SOUNDS, 'c', split=(0.8, 0.1, 0.1))", "split (0.8, 0.1, 0.1) is no text"),
        ("timbrel.build_corpus(SOUNDS, 'c', name=5)", "name 5 is no text"),
        ("timbrel.build_corpus(SOUNDS, 'c', shortest_seconds='x')", "shortest_seconds 'x' is no number"),
        ("timbrel.build_corpus(SOUNDS, 'c', progress=5)", "progress 5 is no function"),
        ("timbrel.train_recipe(5, 'c', 'r')", "recipe 5 is no path"),
        ("timbrel.train_recipe('tuned-8', 'c', 'r', changes=[5])", "changes: 5 is no text"),
        ("timbrel.train_recipe('tuned-8', 'c', 'r', changes='x')", "--set 'x' must be key=value"),
        ("timbrel.train_recipe('tuned-8', 'c', 'r', minutes='x')", "minutes 'x' is no number"),
        ("timbrel.train_recipe('tuned-8', 'c', 'r', devices=0)", "devices 0 is out of range; give at least 1"),
        ("timbrel.train_recipe('tuned-8', 'c', 'r', progress=5)", "progress 5 is no function"),
        ("timbrel.train_recipe('tuned-8', 'c', 'r', resume=np.array([1, 2]))", "resume array([1, 2]) is neither True"),
        ("timbrel.train_recipe('tuned-8', 'c', 'r', tensorboard='no')", "tensorboard 'no' is neither True nor False"),
        (
            "timbrel.train_recipe('grain-path', 'c', 'r', grains='g', changes=['frames.hop_length=5'])",
            "--set frames.hop_length=5: recipe grain-path has the frames of the run that it is built on; leave it out",
        ),
        ("timbrel.train_recipe('grain-path', 'c', 'r', grains=5)", "--grains 5 is no path"),
        ("timbrel.evaluate_run(5)", "run 5 is no path"),
        ("timbrel.evaluate_run('nowhere', checkpoint='x')", "checkpoint 'x' is unknown; give best or last"),
        ("timbrel.export_model('nowhere', 5)", "output 5 is no path"),
        ("timbrel.export_model('nowhere', 'm.onnx', weights='x')", "weights 'x' is unknown; give float16 or float32"),
        ("timbrel.export_model('nowhere', 'm.onnx', name=5)", "name 5 is no text"),
        ("timbrel.export_model('nowhere', 'm.onnx', overwrite='no')", "overwrite 'no' is neither True nor False"),
        ("timbrel.export_model('nowhere', 'm.onnx', recordings=None)", "recordings None is neither True nor False"),
        ("timbrel.export_model('gm-chroma-2', json='')", "json '' is no path"),
        (
            "timbrel.export_model('gm-chroma-2', json=Path('a' * 300 + '.json'))",
            "File name too long; give another name",
        ),
        ("timbrel.render_dataset([], 1)", "presets: none is given"),
        ("timbrel.render_dataset('gm-oboe', 1.5)", "notes 1.5 is not a whole number"),
        ("timbrel.render_dataset('gm-oboe', 1, seconds='x')", "seconds 'x' is no number"),
        ("timbrel.render_dataset('gm-oboe', 1, seed=None)", "seed None is not a whole number; give at least 0"),
        ("timbrel.render_dataset('gm-oboe', 1, sample_rate=None)", "sample_rate None is not a whole number"),
        ("timbrel.render_dataset('gm-oboe', 1, stereo='no')", "stereo 'no' is neither True nor False"),
        ("timbrel.render_dataset('gm-oboe', 1, latents=8)", "latents 8 is no text; give one in quotes"),
        ("timbrel.render_dataset('gm-oboe', 1, keys=b'<')", "keys b'<' is no list; give one"),
        ("timbrel.render_dataset('gm-oboe', 1, keys=[60, None])", "keys: None is no number; give one"),
        ("timbrel.render_dataset('gm-oboe', 1, held_seconds=float('nan'))", "held_seconds: nan is not finite"),
        ("timbrel.render_dataset('gm-oboe', 1, knobs={1: 0.5})", "knobs: name 1 is no text; give one in quotes"),
        ("timbrel.render_dataset('gm-oboe', 1, knobs={'gain': None})", "knobs['gain'] None is no list; give one"),
        ("timbrel.render_dataset('gm-oboe', 1, knobs='x')", "knobs 'x' is no dictionary"),
        ("timbrel.render_dataset('gm-oboe', 1, workers='2')", "workers '2' is not a whole number"),
        ("timbrel.render_dataset('gm-oboe', 1, progress=5)", "progress 5 is no function"),
        ("timbrel.train_recipe('tuned-9', 'c', 'r')", "did you mean"),
        ("timbrel.train_recipe('tuned-8', 'c', 'r', changes=['training.epochs=1'], minutes=1)", "two budgets"),
        ("timbrel.train_recipe('tuned-8', 'c', 'r', classifier='x')", "is no option of recipe tuned-8"),
        ("timbrel.train_recipe('tuned-8', 'c', 'r')", "c"),
        ("timbrel.evaluate_run('gm-oboe')", "gm-oboe is an instrument, no run"),
        ("timbrel.evaluate_run('nowhere')", "nowhere"),
        ("timbrel.export_model('run')", "nothing to write of run"),
        ("timbrel.export_model('nowhere', 'm.onnx')", "nowhere"),
        ("timbrel.render_dataset('gm-obo', 1)", "did you mean 'gm-oboe'?"),
        ("timbrel.render_dataset('gm-oboe', 0)", "0 is out of range"),
        ("timbrel.render_dataset('gm-oboe', 1, keys='200')", "'200' is out of range"),
        ("timbrel.render_dataset('gm-oboe', 1, knobs={'brigt': 1})", "has no knob named 'brigt'"),
        ("timbrel.render_dataset('gm-oboe', 1, workers=0)", "workers 0 is out of range"),
        ("timbrel.render_dataset('gm-oboe', 1, sample_rate=8000)", "sample_rate 8000 is unknown"),
    ],
)
def test_wrong_work_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(timbrel.UserError, match=re.escape(said)) as caught:
        eval(call, {"timbrel": timbrel, "np": np, "Path": Path, "SOUNDS": Path(__file__).parent})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
