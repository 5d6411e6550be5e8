"""A run that was stopped goes on as if nothing had happened, and what cannot go on is refused in a line."""

import shlex
import shutil
import signal

import pytest
from timbrel.host.errors import Failure, UserError
from timbrel.host.interrupts import SIGNALS
from timbrel.train import checkpoint, loop
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import resume, start
from timbrel.train.run import Run

from .looped import SMALL, grooves
from .loops import CPU
from .resuming import assert_same_run, same

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def stop_at(monkeypatch):
    """Press Ctrl-C during the given steps, once each, or raise other signals."""

    def at(*steps, numbers=(signal.SIGINT,)):
        waiting, original = set(steps), loop._Loop._step

        def step(self, done):
            if self.progress.step in waiting:
                waiting.remove(self.progress.step)
                for number in numbers:
                    signal.raise_signal(number)
            return original(self, done)

        monkeypatch.setattr(loop._Loop, "_step", step)

    return at


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
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)  # after every epoch, so that there is a best one to differ
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
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    monkeypatch.setattr(loop._Loop, "_learning_rate", lambda self, rate, done: -1e-3)
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
    folder = tmp_path / "a run"
    ended = timbrel("train", "tuned-8", "--corpus", tone_corpus, "-o", folder, *changes, "--accelerator", "cpu")
    for number, handler in before.items():
        signal.signal(number, handler)
    assert ended.status == status
    assert f"{folder}: 6 steps" in ended.out
    assert "stopping: measuring and saving first" in ended.out + ended.err
    assert checkpoint.progress_of(checkpoint.load(folder / "last.ckpt")).step == 6
    hint = shlex.split(ended.out.split("go on with: timbrel ")[1])
    assert hint == ["train", f"{folder}/recipe.toml", "--corpus", str(tone_corpus), "-o", str(folder), "--resume"]
    went = timbrel(*hint, "--set", "training.steps=11")
    assert went.status == 0, went.err
    assert checkpoint.progress_of(checkpoint.load(folder / "last.ckpt")).step == 11


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
    log = Run.open(tmp_path / "run").logged()
    outcome = resume(tmp_path / "run", load_recipe("tuned-8", fewer), CPU)
    assert (outcome.step, outcome.interrupted) == (60, False)
    assert same(before["model"], checkpoint.load(tmp_path / "run" / "last.ckpt")["model"])
    assert Run.open(tmp_path / "run").logged() == log


@pytest.mark.parametrize("budget", ["steps=59", "epochs=1", "minutes=1e-6"])
def test_a_budget_below_what_is_done_is_refused_and_the_recipe_stays(tone_corpus, fewer, tmp_path, budget):
    start(load_recipe("tuned-8", fewer), tone_corpus, tmp_path / "run", CPU)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    smaller = load_recipe("tuned-8", [*fewer, f"training.{budget}"])
    with pytest.raises(
        UserError, match=rf"training\.{budget[:5]}.* is less than the .* that run .* has done"
    ) as caught:
        resume(tmp_path / "run", smaller, CPU)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_another_recipe_is_refused(tone_corpus, fewer, tmp_path):
    start(load_recipe("tuned-8", fewer), tone_corpus, tmp_path / "run", CPU)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    training = ("training.seed=1", "training.learning_rate=1e-4")
    for change in (*training, "network.latents=3", "frames.views=2", "loss.squares=2"):
        with pytest.raises(UserError, match=r"another recipe.*give .*run/recipe\.toml") as caught:
            resume(tmp_path / "run", load_recipe("tuned-8", [*fewer, change]), CPU)
        assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_another_corpus_is_refused(tone_corpus, fewer, tmp_path, timbrel):
    shutil.copytree(tone_corpus, tmp_path / "tones")
    recipe = load_recipe("tuned-8", [*fewer, "training.steps=3"])
    start(recipe, tmp_path / "tones", tmp_path / "run", CPU)
    (tmp_path / "link").symlink_to(tmp_path / "tones")
    options = ["-o", tmp_path / "run", "--resume", "--set", "training.steps=4", "--accelerator", "cpu"]
    for other in (tone_corpus, tmp_path / "none"):
        ended = timbrel("train", tmp_path / "run" / "recipe.toml", "--corpus", other, *options)
        assert ended.status == 2
        assert f"was trained on corpus {Run.open(tmp_path / 'run').info.corpus_name}, not on {other}" in ended.err
    assert Run.open(tmp_path / "run").recipe.training.steps == 3
    ended = timbrel("train", tmp_path / "run" / "recipe.toml", "--corpus", tmp_path / "link", *options)
    assert ended.status == 0, ended.err


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
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    recipe = load_recipe("tuned-8", fewer)
    original = loop._Loop._step

    def step(self, done):
        loss = original(self, done)
        return loss * float("nan") if self.progress.step >= 40 else loss

    with monkeypatch.context() as patch:
        patch.setattr(loop._Loop, "_step", step)
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
    monkeypatch.setattr(loop, "time", clock)
    recipe = load_recipe("tuned-8", [*fewer, "training.minutes=0.2"])  # 12 s
    stop_at(50)
    first = start(recipe, tone_corpus, tmp_path / "run", CPU)
    assert first.interrupted
    passed = checkpoint.progress_of(checkpoint.load(tmp_path / "run" / "last.ckpt")).seconds
    assert 3 < passed < 9
    clock.now += 10_000  # the night between
    before = clock.now
    rates, original = [], loop._Loop._learning_rate
    monkeypatch.setattr(
        loop._Loop,
        "_learning_rate",
        lambda self, rate, done: rates.append(original(self, rate, done)) or rates[-1],
    )
    second = resume(tmp_path / "run", recipe, CPU)
    assert not second.interrupted
    assert second.step > first.step
    assert clock.now - before == pytest.approx(12 - passed, abs=0.5)
    assert checkpoint.progress_of(checkpoint.load(tmp_path / "run" / "last.ckpt")).seconds == pytest.approx(12, abs=0.5)
    assert rates[0] < 0.95 * 1e-3  # on its way down already
    assert rates[-1] == pytest.approx(loop.FLOOR * 1e-3, rel=0.2)
