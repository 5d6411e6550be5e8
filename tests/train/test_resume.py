"""A run that was stopped, or killed, goes on as if nothing had happened."""

import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from lightning_fabric.strategies.ddp import DDPStrategy
from timbrel.host.errors import Failure, UserError
from timbrel.host.interrupts import SIGNALS
from timbrel.train import checkpoint, launch, training_loop
from timbrel.train.launch import resume, start
from timbrel.train.recipes.load import load_recipe
from timbrel.train.run import Run
from timbrel.train.training_loop import RunOptions

from ..patience import PATIENCE_SECONDS, until
from .looped import SMALL, grooves

CPU = RunOptions(accelerator="cpu")
# Beside a GPU, torch has threads for its gradients, and no fork has them.
START = "fork" if sys.platform == "linux" and not torch.cuda.is_available() else "spawn"


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def stop_at(monkeypatch):
    """Press Ctrl-C during the given steps, once each, or raise other signals."""

    def at(*steps, numbers=(signal.SIGINT,)):
        waiting, original = set(steps), training_loop._Loop._step

        def step(self, done):
            if self.progress.step in waiting:
                waiting.remove(self.progress.step)
                for number in numbers:
                    signal.raise_signal(number)
            return original(self, done)

        monkeypatch.setattr(training_loop._Loop, "_step", step)

    return at


def command(*arguments):
    """A process of the command line, one thread a process as in these tests."""
    return subprocess.Popen(
        [sys.executable, "-m", "timbrel", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(path, process):
    """Until the file is there."""
    until(lambda: process.poll() is not None or path.exists(), path)
    assert process.poll() is None, process.communicate()


def wait_for_lines(path, count, process):
    """Until the file has so many lines."""
    until(lambda: process.poll() is not None or path.read_text().count("\n") >= count, path)
    assert process.poll() is None, process.communicate()


def same(one, two):
    """Return whether two nested values are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return one == two


def assert_same_run(one, two):
    """Weights, optimiser and place of the last checkpoint, and the best one's weights, to the bit."""
    last = [checkpoint.load(run.last) for run in (one, two)]
    assert last[0]["progress"]["step"] == last[1]["progress"]["step"]
    assert same(last[0]["model"], last[1]["model"])
    assert same(last[0]["optimizer"], last[1]["optimizer"])
    assert last[0]["progress"]["best"] == last[1]["progress"]["best"]
    assert same(checkpoint.load(one.best)["model"], checkpoint.load(two.best)["model"])


# ---- Ctrl-C


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("tuned-8", ["frames.rows=2400", "training.steps=36"]),
        ("chroma-8", ["training.epochs=3"]),
        ("chroma-8-vae", ["training.steps=40"]),
    ],
)
def test_a_resumed_run_is_to_the_bit_one_that_never_stopped(
    tone_corpus, fewer, tmp_path, monkeypatch, stop_at, name, changes
):
    monkeypatch.setattr(
        training_loop, "VALIDATION_STEPS", 1
    )  # after every epoch, so that there is a best one to differ
    recipe = load_recipe(name, [*fewer, "loss.divergence=1e-6", *changes])
    whole = start(recipe, tone_corpus, tmp_path / "whole", CPU)
    stop_at(7, 29)  # both within an epoch
    steps = []
    outcome = start(recipe, tone_corpus, tmp_path / "parts", CPU)
    while outcome.interrupted:
        steps.append(outcome.step)
        outcome = resume(tmp_path / "parts", recipe, CPU)
    assert steps == [8, 30]
    assert outcome.step == whole.step
    assert outcome.validation == whole.validation
    assert_same_run(Run.open(tmp_path / "whole"), Run.open(tmp_path / "parts"))


def test_a_resumed_run_on_loops_drops_out_what_one_that_never_stopped_does(tmp_path, stop_at):
    corpus = grooves(tmp_path / "corpus").folder
    recipe = load_recipe("tuned-sequence", ["frames.sample_rate=8000", *SMALL, "training.steps=9"])
    assert recipe.network.dropout > 0
    start(recipe, corpus, tmp_path / "whole", CPU)
    stop_at(3)
    assert start(recipe, corpus, tmp_path / "parts", CPU).step == 4
    assert resume(tmp_path / "parts", recipe, CPU).step == 9
    assert_same_run(Run.open(tmp_path / "whole"), Run.open(tmp_path / "parts"))


def test_a_stop_where_the_loss_is_low_changes_nothing_either(tone_corpus, fewer, tmp_path, monkeypatch, stop_at):
    """The loss only rises here: a look at it on the way must not become the best that is exported."""
    monkeypatch.setattr(training_loop, "VALIDATION_STEPS", 1)
    monkeypatch.setattr(training_loop._Loop, "_learning_rate", lambda self, rate, done: -1e-3)
    recipe = load_recipe("tuned-8", [*fewer, "frames.rows=2400", "training.steps=36"])
    whole = start(recipe, tone_corpus, tmp_path / "whole", CPU)
    stop_at(0)
    assert start(recipe, tone_corpus, tmp_path / "parts", CPU).step == 1
    low = Run.open(tmp_path / "parts").logged()[-1]["total"]
    assert low < min(entry["total"] for entry in Run.open(tmp_path / "whole").logged())
    assert resume(tmp_path / "parts", recipe, CPU).step == whole.step
    assert_same_run(Run.open(tmp_path / "whole"), Run.open(tmp_path / "parts"))


def test_what_was_stopped_within_an_epoch_is_saved_there_and_can_be_exported(
    tone_corpus, fewer, one_table, tmp_path, stop_at, timbrel
):
    stop_at(5)
    outcome = start(load_recipe("tuned-8", fewer), tone_corpus, tmp_path / "run", CPU)
    run = Run.open(tmp_path / "run")
    assert (outcome.step, outcome.interrupted) == (6, True)
    assert checkpoint.progress_of(checkpoint.load(run.last)).step == 6
    assert run.logged()[-1]["step"] == 6
    assert {path.name for path in run.folder.iterdir()} <= {
        "run.json",
        "recipe.toml",
        "last.ckpt",
        "best.ckpt",
        "log.jsonl",
    }
    exported = timbrel("export", run.folder, "-o", tmp_path / "model.onnx")
    assert exported.status == 0, exported.err


def test_ctrl_c_in_the_last_step_is_an_end_and_no_interruption(tone_corpus, fewer, tmp_path, stop_at):
    stop_at(59)
    assert not start(load_recipe("tuned-8", fewer), tone_corpus, tmp_path / "run", CPU).interrupted


@pytest.mark.parametrize(
    ("numbers", "status"),
    [(["SIGINT"], 130), (["SIGTERM"], 143), (["SIGHUP"], 129), (["SIGHUP", "SIGHUP", "SIGTERM"], 143)],
    ids=["SIGINT", "SIGTERM", "SIGHUP", "a terminal that closes"],
)
def test_training_that_is_stopped_from_outside_saves_and_ends_with_the_signals_status(
    tone_corpus, fewer, tmp_path, stop_at, timbrel, numbers, status
):
    before = {
        number: signal.signal(number, signal.default_int_handler) for number in SIGNALS
    }  # as if none were ignored
    stop_at(5, numbers=[getattr(signal, name) for name in numbers])
    changes = [part for change in fewer for part in ("--set", change)]
    folder = tmp_path / "run"
    ended = timbrel("train", "tuned-8", "--corpus", tone_corpus, "-o", folder, *changes, "--accelerator", "cpu")
    for number, handler in before.items():
        signal.signal(number, handler)
    assert ended.status == status
    assert f"{folder}: 6 steps" in ended.out
    assert "stopping: measuring and saving first" in ended.out + ended.err
    assert checkpoint.progress_of(checkpoint.load(folder / "last.ckpt")).step == 6
    hint = ended.out.split("go on with: timbrel ")[1].split()
    assert hint == ["train", f"{folder}/recipe.toml", "--corpus", str(tone_corpus), "-o", str(folder), "--resume"]
    went = timbrel(*hint, "--set", "training.steps=11")
    assert went.status == 0, went.err
    assert checkpoint.progress_of(checkpoint.load(folder / "last.ckpt")).step == 11


@pytest.mark.slow
def test_a_process_that_gets_ctrl_c_saves_says_how_to_go_on_and_can_be_exported(tone_corpus, fewer, tmp_path, timbrel):
    folder = tmp_path / "run"
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
    hint = out.split("go on with: timbrel ")[1].split()
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
    left = {path.name for path in run.folder.iterdir()}
    assert left <= {"run.json", "recipe.toml", "last.ckpt", "best.ckpt", "log.jsonl", "last.partial", "best.partial"}


@pytest.mark.parametrize(("begin", "kills"), [(by_fork, 1), pytest.param(by_command, 12, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_loses_at_most_the_epoch_under_way(
    tone_corpus, fewer, tmp_path, monkeypatch, begin, kills
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    changes = [*fewer, "frames.rows=1500", "training.batch_size=1", "training.schedule=constant"]
    epoch_steps = 0
    for run in killed_runs(begin, changes, tone_corpus, tmp_path / "run", kills):
        epoch_steps = epoch_steps or run.logged()[0]["step"]
        assert epoch_steps >= training_loop.VALIDATION_STEPS  # each epoch is saved
        assert_survived(run, epoch_steps)
    step = checkpoint.progress_of(checkpoint.load(run.last)).step + epoch_steps
    recipe = load_recipe("tuned-8", [*changes, f"training.steps={step}"])
    resume(run.folder, recipe, CPU)
    start(recipe, tone_corpus, tmp_path / "whole", CPU)
    whole = Run.open(tmp_path / "whole")
    assert same(checkpoint.load(run.last)["model"], checkpoint.load(whole.last)["model"])
    assert {path.name for path in run.folder.iterdir()} == {path.name for path in whole.folder.iterdir()}


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(tone_corpus, fewer, tmp_path):
    recipe = load_recipe("tuned-8", [*fewer, "training.steps=20"])
    start(recipe, tone_corpus, tmp_path / "whole", CPU)
    start(recipe, tone_corpus, tmp_path / "killed", CPU)
    for name in ("last.ckpt", "best.ckpt", "log.jsonl"):
        (tmp_path / "killed" / name).unlink()
    assert resume(tmp_path / "killed", recipe, CPU).step == 20
    assert_same_run(Run.open(tmp_path / "whole"), Run.open(tmp_path / "killed"))


# ---- what may change


def test_a_larger_budget_goes_on_from_the_end(tone_corpus, fewer, tmp_path):
    start(load_recipe("chroma-8", fewer), tone_corpus, tmp_path / "run", CPU)
    longer = load_recipe("chroma-8", [*fewer, "training.steps=90"])
    assert resume(tmp_path / "run", longer, CPU).step == 90
    start(longer, tone_corpus, tmp_path / "whole", CPU)
    last = [checkpoint.load(tmp_path / name / "last.ckpt") for name in ("run", "whole")]
    assert same(last[0]["model"], last[1]["model"])  # its schedule is constant
    assert Run.open(tmp_path / "run").recipe == longer


def test_a_finished_run_stays_as_it_is(tone_corpus, fewer, tmp_path):
    start(load_recipe("tuned-8", fewer), tone_corpus, tmp_path / "run", CPU)
    before = checkpoint.load(tmp_path / "run" / "last.ckpt")
    for changes in ([], ["training.steps=30"]):
        outcome = resume(tmp_path / "run", load_recipe("tuned-8", [*fewer, *changes]), CPU)
        assert (outcome.step, outcome.interrupted) == (60, False)
        assert same(before["model"], checkpoint.load(tmp_path / "run" / "last.ckpt")["model"])


def test_another_recipe_is_refused(tone_corpus, fewer, tmp_path):
    start(load_recipe("tuned-8", fewer), tone_corpus, tmp_path / "run", CPU)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    training = ("training.seed=1", "training.learning_rate=1e-4")
    for change in (*training, "network.latents=3", "frames.views=2", "loss.squares=2"):
        with pytest.raises(UserError, match=r"another recipe.*give .*run/recipe\.toml") as caught:
            resume(tmp_path / "run", load_recipe("tuned-8", [*fewer, change]), CPU)
        assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_what_cannot_be_resumed_is_refused_in_a_line(tone_corpus, fewer, tmp_path):
    recipe = load_recipe("tuned-8", fewer)
    with pytest.raises(UserError, match="does not exist"):
        resume(tmp_path / "none", recipe, CPU)
    start(recipe, tone_corpus, tmp_path / "run", CPU)
    (tmp_path / "run" / "last.ckpt").write_bytes(b"no longer a checkpoint")
    with pytest.raises(UserError, match=r"last\.ckpt is damaged"):
        resume(tmp_path / "run", recipe, CPU)
    start(load_recipe("chroma-2", fewer), tone_corpus, tmp_path / "other", CPU)
    (tmp_path / "other" / "last.ckpt").replace(tmp_path / "run" / "last.ckpt")
    with pytest.raises(UserError, match="does not fit"):
        resume(tmp_path / "run", recipe, CPU)


def test_a_diverged_run_resumes_from_its_last_good_checkpoint(tone_corpus, fewer, tmp_path, monkeypatch):
    monkeypatch.setattr(training_loop, "VALIDATION_STEPS", 1)
    monkeypatch.setattr(training_loop, "SAVE_SECONDS", 0.0)
    recipe = load_recipe("tuned-8", fewer)
    original = training_loop._Loop._step

    def step(self, done):
        loss = original(self, done)
        return loss * float("nan") if self.progress.step >= 40 else loss

    with monkeypatch.context() as patch:
        patch.setattr(training_loop._Loop, "_step", step)
        with pytest.raises(Failure, match="diverged"):
            start(recipe, tone_corpus, tmp_path / "run", CPU)
    assert checkpoint.progress_of(checkpoint.load(tmp_path / "run" / "last.ckpt")).step > 0
    assert resume(tmp_path / "run", recipe, CPU).step == 60


# ---- minutes


class Clock:
    """Time that passes with every look at it."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 0.03
        return self.now


def test_a_budget_in_minutes_is_resumed_with_the_time_left(tone_corpus, fewer, tmp_path, monkeypatch, stop_at):
    clock = Clock()
    monkeypatch.setattr(training_loop, "time", clock)
    recipe = load_recipe("tuned-8", [*fewer, "training.minutes=0.2"])  # 12 s
    stop_at(50)
    first = start(recipe, tone_corpus, tmp_path / "run", CPU)
    assert first.interrupted
    passed = checkpoint.progress_of(checkpoint.load(tmp_path / "run" / "last.ckpt")).seconds
    assert 3 < passed < 9
    clock.now += 10_000  # the night between
    before = clock.now
    rates, original = [], training_loop._Loop._learning_rate
    monkeypatch.setattr(
        training_loop._Loop,
        "_learning_rate",
        lambda self, rate, done: rates.append(original(self, rate, done)) or rates[-1],
    )
    second = resume(tmp_path / "run", recipe, CPU)
    assert not second.interrupted
    assert second.step > first.step
    assert clock.now - before == pytest.approx(12 - passed, abs=0.5)
    assert checkpoint.progress_of(checkpoint.load(tmp_path / "run" / "last.ckpt")).seconds == pytest.approx(12, abs=0.5)
    assert rates[0] < 0.95 * 1e-3  # on its way down already
    assert rates[-1] == pytest.approx(training_loop.FLOOR * 1e-3, rel=0.2)


# ---- several processes


@pytest.fixture
def forked(monkeypatch):
    """Several processes are forks, which need not import torch again; what they get is pickled all the same."""
    original = launch._launch

    def handed_over(fabric, *arguments):
        return original(fabric, *pickle.loads(pickle.dumps(arguments)))

    def strategy(start_method, **options):
        assert start_method == "spawn"
        return DDPStrategy(start_method=START, **options)

    monkeypatch.setattr(launch, "_launch", handed_over)
    monkeypatch.setattr(launch, "DDPStrategy", strategy)


@pytest.mark.usefixtures("forked")
def test_two_processes_give_the_loss_of_one_within_rounding(tone_corpus, fewer, tmp_path, timbrel, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    start(load_recipe("chroma-8", fewer), tone_corpus, tmp_path / "one", CPU)
    options = [part for change in fewer for part in ("--set", change)]
    ended = timbrel(
        *("train", "chroma-8", "--corpus", tone_corpus, "-o", tmp_path / "two"),
        *("--devices", "2", "--accelerator", "cpu", *options),
    )
    assert ended.status == 0, ended.err
    assert "60 steps" in ended.out
    one, two = (Run.open(tmp_path / name) for name in ("one", "two"))
    assert [entry["step"] for entry in two.logged()] == [entry["step"] for entry in one.logged()] == [60]
    assert two.logged()[0]["total"] == pytest.approx(one.logged()[0]["total"], rel=1e-6)
    weights = [checkpoint.load(run.last)["model"] for run in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-6, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("group", [True, False])
def test_two_processes_stop_at_ctrl_c_save_and_go_on(tone_corpus, fewer, tmp_path, group):
    """From a terminal it reaches all of them, from `kill` the first alone."""
    folder = tmp_path / "run"
    changes = [part for change in [*fewer, "training.minutes=100"] for part in ("--set", change)]
    arguments = ["train", "chroma-8", "--corpus", tone_corpus, "-o", folder, "--devices", "2", "--accelerator", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "timbrel", *map(str, arguments), *changes],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(folder / "log.jsonl", process)
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, err
    assert "go on with: timbrel train" in out
    step = checkpoint.progress_of(checkpoint.load(folder / "last.ckpt")).step
    recipe = load_recipe(str(folder / "recipe.toml"), [f"training.steps={step + 3}"])
    assert resume(folder, recipe, CPU).step == step + 3


@pytest.mark.slow
def test_two_processes_say_a_diverged_loss_in_one_line(tone_corpus, fewer, tmp_path):
    changes = [part for change in [*fewer, "loss.mean_square=1e308"] for part in ("--set", change)]
    process = command(
        *("train", "chroma-8", "--corpus", tone_corpus, "-o", tmp_path / "run"),
        *("--devices", "2", "--accelerator", "cpu", *changes),
    )
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("timbrel: the loss is nan")
