"""Processes that are interrupted or killed while they train lose an epoch at most, and the run goes on."""

import multiprocessing
import random
import shlex
import signal
import time

import pytest
import torch
from timbrel.host.errors import UserError
from timbrel.train import checkpoint, loop
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import resume, start
from timbrel.train.run import Run

from ..patience import PATIENCE_SECONDS, until
from .loops import CPU
from .resuming import START, assert_same_run, command, same, wait_for

pytestmark = pytest.mark.usefixtures("one_thread")


def wait_for_lines(path, count, process):
    """Until the file has so many lines."""
    until(lambda: process.poll() is not None or path.read_text().count("\n") >= count, path)
    assert process.poll() is None, process.communicate()


@pytest.mark.slow
def test_a_process_that_gets_ctrl_c_saves_says_how_to_go_on_and_can_be_exported(tone_corpus, fewer, tmp_path, timbrel):
    folder = tmp_path / "a run"
    changes = [part for change in [*fewer, "training.steps=1000000"] for part in ("--set", change)]
    process = command("train", "tuned-8", "--corpus", tone_corpus, "-o", folder, *changes, "--accelerator", "cpu")
    wait_for(folder / "log.jsonl", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    step = checkpoint.progress_of(checkpoint.load(folder / "last.ckpt")).step
    assert f"{folder}: {step} steps" in out
    exported = timbrel("export", folder, "-o", tmp_path / "model.onnx")
    assert exported.status == 0, exported.err
    hint = shlex.split(out.split("go on with: timbrel ")[1])
    assert hint == ["train", f"{folder}/recipe.toml", "--corpus", str(tone_corpus), "-o", str(folder), "--resume"]
    ended = timbrel(*hint, "--set", f"training.steps={step + 5}")
    assert ended.status == 0, ended.err
    assert checkpoint.progress_of(checkpoint.load(folder / "last.ckpt")).step == step + 5


# ---- kill -9


def by_command(changes, corpus, folder):
    """A process of the command line that begins the run of the folder, or goes on with it."""
    options = ["--accelerator", "cpu", *(["--resume"] if folder.exists() else [])]
    options += [part for change in changes for part in ("--set", change)]
    return command("train", "tuned-8", "--corpus", corpus, "-o", folder, *options)


def by_fork(changes, corpus, folder):
    """The same in a process that need not import torch again."""
    recipe = load_recipe("tuned-8", changes)
    begin, arguments = (resume, (folder, recipe)) if folder.exists() else (start, (recipe, corpus, folder))
    process = multiprocessing.get_context(START).Process(target=begin, args=(*arguments, CPU), daemon=True)
    process.start()
    process.poll, process.communicate = lambda: process.exitcode, process.join
    return process


def killed_runs(begin, changes, corpus, folder, kills):
    """Train in processes that are killed after a while; yields the run after each."""
    randomness, log = random.Random(5), folder / "log.jsonl"
    for kill in range(kills):
        logged = log.read_text().count("\n") if kill else 0
        process = begin([*changes, "training.steps=100000"], corpus, folder)
        wait_for(log, process)
        wait_for_lines(log, logged + 2, process)
        time.sleep(0.4 * randomness.random())  # within an epoch or so, wherever it is
        process.kill()
        process.communicate()
        yield Run.open(folder)


def assert_survived(run, epoch_steps):
    """At most the epoch under way is lost: a line is logged at each epoch's end, just before it is saved."""
    content = checkpoint.load(run.last)
    step = checkpoint.progress_of(content).step
    assert step % epoch_steps == 0
    assert step >= run.logged()[-1]["step"] - epoch_steps
    assert all(torch.isfinite(value).all() for value in content["model"].values())
    left = files(run)
    kept = {"run.json", "recipe.toml", "last.ckpt", "best.ckpt", "log.jsonl"}
    assert left <= {*kept, "last.partial", "best.partial", ".writing"}


def test_a_run_is_trained_by_one_process_at_a_time_and_by_another_once_that_is_killed(
    tone_corpus, fewer, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    folder = tmp_path / "run"
    process = by_fork([*fewer, "training.steps=100000"], tone_corpus, folder)
    wait_for(folder / "last.ckpt", process)
    recipe = load_recipe(str(folder / "recipe.toml"))
    with pytest.raises(UserError, match=r"another timbrel is writing into .*run; wait until it ends"):
        resume(folder, recipe, CPU)
    process.kill()
    process.communicate()
    step = checkpoint.progress_of(checkpoint.load(folder / "last.ckpt")).step
    longer = load_recipe("tuned-8", [*fewer, f"training.steps={step + 3}"])
    assert resume(folder, longer, CPU).step == step + 3
    assert ".writing" not in files(Run.open(folder))


def files(run):
    """Names in a run's folder but its previews, which come by the clock."""
    return {path.name for path in run.folder.iterdir()} - {"preview"}


@pytest.mark.parametrize(("begin", "kills"), [(by_fork, 1), pytest.param(by_command, 12, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_loses_at_most_the_epoch_under_way(
    tone_corpus, fewer, tmp_path, monkeypatch, begin, kills
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    changes = [*fewer, "frames.rows=1500", "training.batch_size=1", "training.schedule=constant"]
    epoch_steps = 0
    for run in killed_runs(begin, changes, tone_corpus, tmp_path / "run", kills):
        epoch_steps = epoch_steps or run.logged()[0]["step"]
        assert epoch_steps >= loop.VALIDATION_STEPS  # each epoch is saved
        assert_survived(run, epoch_steps)
    step = checkpoint.progress_of(checkpoint.load(run.last)).step + epoch_steps
    recipe = load_recipe("tuned-8", [*changes, f"training.steps={step}"])
    resume(run.folder, recipe, CPU)
    start(recipe, tone_corpus, tmp_path / "whole", CPU)
    whole = Run.open(tmp_path / "whole")
    assert same(checkpoint.load(run.last)["model"], checkpoint.load(whole.last)["model"])
    assert files(run) == files(whole)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(tone_corpus, fewer, tmp_path):
    recipe = load_recipe("tuned-8", [*fewer, "training.steps=20"])
    start(recipe, tone_corpus, tmp_path / "whole", CPU)
    start(recipe, tone_corpus, tmp_path / "killed", CPU)
    for name in ("last.ckpt", "best.ckpt", "log.jsonl"):
        (tmp_path / "killed" / name).unlink()
    assert resume(tmp_path / "killed", recipe, CPU).step == 20
    assert_same_run(Run.open(tmp_path / "whole"), Run.open(tmp_path / "killed"))
