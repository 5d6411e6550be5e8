"""Training learns, keeps its budget and schedule, and leaves what it promises."""

import math
import re
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from timbrel.host.errors import Failure, UserError
from timbrel.host.interrupts import SIGNALS
from timbrel.train import checkpoint, loop
from timbrel.train.corpus.store import Corpus
from timbrel.train.families import FAMILIES
from timbrel.train.families.chroma.data import ChromaData
from timbrel.train.families.chroma.network import ChromaAutoencoder
from timbrel.train.families.recipes import load_recipe, shipped_recipes
from timbrel.train.launch import resume, start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run
from timbrel.train.shared_random import rand_examples

from .loops import CPU, broken_total

pytestmark = pytest.mark.usefixtures("one_thread")


class Clock:
    """Time that passes with every look at it."""

    def __init__(self, tick):
        self.now, self.tick = 1000.0, tick

    def monotonic(self):
        self.now += self.tick
        return self.now


@pytest.fixture
def rates(monkeypatch):
    """The learning rate of every step, as Adam had it."""
    seen, original = [], loop._Loop._step

    def step(self, done):
        loss = original(self, done)
        (optimizer,) = self.optimizers.values()
        seen.append(optimizer.param_groups[0]["lr"])
        assert all(group["lr"] == seen[-1] for group in optimizer.param_groups)
        return loss

    monkeypatch.setattr(loop._Loop, "_step", step)
    return seen


# ---- learning


@pytest.mark.parametrize("recipe", [["tuned-8"], ["chroma-8"], ["chroma-8-vae", "loss.mean_square=1000"]])
def test_the_loss_falls_on_frames_that_were_not_trained_on(train, monkeypatch, recipe):
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 15)
    outcome, run = train(*recipe, "training.steps=150", "training.learning_rate=5e-3")
    totals = [entry["total"] for entry in run.logged()]
    assert outcome.step == 150
    assert totals[-1] < 0.85 * totals[0]
    assert outcome.validation == totals[-1]
    assert not outcome.dead
    assert not outcome.interrupted


CHROMA = [name for name in shipped_recipes() if load_recipe(name).family == "chroma"]
SOME = CHROMA[::3]


@pytest.mark.parametrize("name", [*SOME, *(pytest.param(n, marks=pytest.mark.slow) for n in CHROMA if n not in SOME)])
def test_every_recipe_trains_a_step(tone_corpus, tmp_path, name):
    """At its full size, on frames as it cuts them."""
    recipe = load_recipe(name, ["training.steps=1", "training.batch_size=8", "frames.rows=1000"])
    outcome = start(recipe, tone_corpus, tmp_path / "run", CPU)
    assert outcome.step == 1
    assert math.isfinite(outcome.validation)
    assert Run.open(tmp_path / "run").recipe == FAMILIES["chroma"].complete(recipe, Corpus.open(tone_corpus))


def test_a_run_holds_its_recipe_checkpoints_and_log_and_nothing_else(train, tone_corpus):
    outcome, run = train()
    assert {path.name for path in run.folder.iterdir()} == {
        "run.json",
        "recipe.toml",
        "last.ckpt",
        "best.ckpt",
        "log.jsonl",
    }
    assert run.info.tonal
    assert run.info.clips == 14
    assert run.info.seconds == pytest.approx(14 * 0.7, abs=0.1)
    assert run.corpus().folder.resolve() == tone_corpus.resolve()
    entry = run.logged()[-1]
    assert entry["step"] == outcome.step == 60
    assert {"seconds", "squares", "root_squares", "consistency", "uniformity", "total"} <= set(entry)


def test_the_best_checkpoint_is_that_of_the_lowest_validation_loss(train, monkeypatch):
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    _, run = train("tuned-8", "training.steps=80", "training.learning_rate=0.05", "training.schedule=constant")
    logged = {entry["step"]: entry["total"] for entry in run.logged()}
    best = checkpoint.progress_of(checkpoint.load(run.best))
    assert best.best == pytest.approx(min(logged.values()))
    assert logged[best.step] == min(logged.values())
    assert checkpoint.progress_of(checkpoint.load(run.last)).step == 80


def test_the_best_checkpoint_has_the_weights_of_its_step_also_when_it_is_written_later(train, monkeypatch):
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 8)
    monkeypatch.setattr(loop, "SAVE_SECONDS", math.inf)
    original, weights, written = loop._Loop._validate, {}, []

    def validate(self, **options):
        original(self, **options)
        weights[self.progress.step] = {name: value.clone() for name, value in self.plain.state_dict().items()}
        written.append(self.folder.best.exists())

    monkeypatch.setattr(loop._Loop, "_validate", validate)
    monkeypatch.setattr(loop._Loop, "_validation_means", lambda self: {"total": 1.0 + abs(self.progress.step - 40)})
    _, run = train("tuned-8", "training.steps=80", "training.batch_size=200")
    assert not any(written)
    best_step = min(weights, key=lambda step: abs(step - 40))
    assert best_step < 80
    content = checkpoint.load(run.best)
    assert content["progress"]["step"] == best_step
    torch.testing.assert_close(content["model"], weights[best_step], rtol=0, atol=0)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(train):
    runs = [
        train("tuned-8", "training.steps=20", f"training.seed={seed}", folder=f"run{index}")[1]
        for index, seed in enumerate((3, 3, 4))
    ]
    weights = [checkpoint.load(run.last)["model"] for run in runs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["output.weight"], weights[2]["output.weight"])


def test_an_epoch_shows_every_frame_once_in_an_order_of_its_own(train, fewer, monkeypatch):
    seen = []
    original = ChromaData.batch
    monkeypatch.setattr(
        ChromaData, "batch", lambda self, frames, rng: seen.append(frames) or original(self, frames, rng)
    )
    recipe = load_recipe("chroma-8", fewer)
    _, run = train("chroma-8", "training.epochs=2", "training.batch_size=32")
    count = len(FAMILIES["chroma"].data(run.corpus(), recipe, run.folder))
    steps = count // 32
    assert len(seen) == 2 * steps
    epochs = [np.concatenate(seen[:steps]), np.concatenate(seen[steps:])]
    for epoch in epochs:
        assert len(np.unique(epoch)) == len(epoch) == steps * 32  # what does not fill a batch waits
        assert epoch.max() < count
    assert not np.array_equal(*epochs)


def test_targets_are_the_same_frame_on_another_key(tone_corpus, small, tmp_path):
    recipe = FAMILIES["chroma"].complete(load_recipe("tuned-8", small), Corpus.open(tone_corpus))
    data = FAMILIES["chroma"].data(Corpus.open(tone_corpus), recipe, tmp_path)
    chosen = np.arange(0, len(data), 7)
    frames, chroma, targets, target_chroma = data.batch(chosen, np.random.default_rng(0))
    assert not torch.any(chroma.argmax(1) == target_chroma.argmax(1))
    for index, frame, key, target, other in zip(
        chosen, frames, chroma.argmax(1), targets, target_chroma.argmax(1), strict=True
    ):
        keys = list(data.train.pitch_classes[index])
        assert np.array_equal(frame, data.train.rows[index, keys.index(key)].astype(np.float32))
        assert np.array_equal(target, data.train.rows[index, keys.index(other)].astype(np.float32))


def test_each_step_has_chance_of_its_own_that_follows_from_the_seed(train, monkeypatch):
    drawn = []

    class Drawing(ChromaAutoencoder):
        """It tells what a step's generator draws, and what its batch was."""

        def reconstruction(self, frames, chroma, target, target_chroma, generator):
            if torch.is_grad_enabled():
                drawn.append((torch.rand(3, generator=generator).tolist(), float(target.sum())))
            return super().reconstruction(frames, chroma, target, target_chroma, generator)

    monkeypatch.setattr(FAMILIES["chroma"], "network", Drawing)
    runs = []
    for folder, seed in (("one", 1), ("again", 1), ("other", 2)):
        drawn.clear()
        train("tuned-8", "training.steps=10", f"training.seed={seed}", folder=folder)
        runs.append(list(drawn))
    assert len({tuple(noise) for noise, _ in runs[0]}) == 10
    assert runs[0] == runs[1]
    assert not {tuple(noise) for noise, _ in runs[0]} & {tuple(noise) for noise, _ in runs[2]}


def test_each_of_several_processes_has_chance_of_its_own(train, monkeypatch):
    """A step as each of two processes would take it, one after the other."""
    drawn, taken = {0: [], 1: []}, loop._Loop._step

    class Drawing(ChromaAutoencoder):
        def reconstruction(self, frames, chroma, target, target_chroma, generator):
            if torch.is_grad_enabled():
                drawn[rank].append(tuple(rand_examples(3, generator=generator).tolist()))
            return super().reconstruction(frames, chroma, target, target_chroma, generator)

    def step(self, done):
        nonlocal rank
        fabric = self.fabric
        try:
            for rank in drawn:
                part = {"global_rank": rank, "world_size": 2, "device": fabric.device, "backward": fabric.backward}
                self.fabric = SimpleNamespace(**part)
                loss = taken(self, done)
        finally:
            self.fabric = fabric
        return loss

    rank = 0
    monkeypatch.setattr(FAMILIES["chroma"], "network", Drawing)
    monkeypatch.setattr(loop._Loop, "_step", step)
    train("chroma-8", "training.steps=10")
    assert len(drawn[0]) == len(drawn[1]) == 10
    assert len({*drawn[0], *drawn[1]}) == 20


def test_a_frame_is_led_to_another_key_each_time_it_comes(tone_corpus, small, tmp_path, train, monkeypatch):
    """In an epoch of one batch the same frames come at each step: their own chance alone tells the steps apart."""
    batches, original = [], ChromaData.batch

    def batch(self, indices, rng):
        found = original(self, np.sort(indices), rng)
        batches.append(found[-1].sum(0).tolist())
        return found

    monkeypatch.setattr(ChromaData, "batch", batch)
    train("tuned-8", "training.batch_size=65536", "training.steps=8")
    steps = batches[1:]  # the first is looked at before the first step
    assert len({tuple(keys) for keys in steps}) == len(steps) == 8


# ---- schedule and budget


def test_a_constant_schedule_never_changes_the_rate(train, rates):
    train("chroma-8")
    assert rates == [5e-4] * 60


def test_a_cosine_schedule_warms_up_and_ends_near_its_floor(train, rates):
    train("tuned-8", "training.steps=200")
    top = int(np.argmax(rates))
    assert rates[0] < 0.05 * 1e-3
    assert 2 <= top <= 5  # 2 % of the steps
    assert rates[top] == pytest.approx(1e-3, rel=0.01)
    assert all(np.diff(rates[top:]) < 0)
    assert rates[100] == pytest.approx(0.505 * 1e-3, rel=0.01)
    assert rates[-1] == pytest.approx(0.01 * 1e-3, rel=0.05)


def test_a_budget_in_minutes_ends_with_the_schedule_made_for_it(train, monkeypatch, rates):
    monkeypatch.setattr(loop, "time", Clock(0.02))
    outcome, run = train("tuned-8", "training.minutes=0.1")
    progress = checkpoint.progress_of(checkpoint.load(run.last))
    assert not outcome.interrupted
    assert outcome.step > 100
    assert progress.seconds == pytest.approx(6.0, abs=0.3)
    assert rates[-1] == pytest.approx(0.01 * 1e-3, rel=0.1)
    assert max(rates) == pytest.approx(1e-3, rel=0.01)
    assert all(np.diff(rates[int(np.argmax(rates)) :]) < 0)


def test_steps_of_an_idle_core_are_those_done_over_the_share_of_a_core_that_training_got(train, monkeypatch):
    clock = Clock(0.02)
    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(loop, "thread_time", lambda: clock.now / 4)
    outcome, _ = train("tuned-8", "training.steps=9")
    assert outcome.steps == 9
    assert outcome.idle_steps == pytest.approx(36, abs=4)


def test_a_budget_in_epochs_is_that_many_passes(train, fewer):
    outcome, run = train("chroma-8", "training.epochs=3")
    recipe = load_recipe("chroma-8", fewer)
    frames = len(FAMILIES["chroma"].data(run.corpus(), recipe, run.folder))
    assert outcome.step == 3 * (frames // 32)


def test_a_batch_larger_than_the_corpus_is_the_corpus(train):
    outcome, _ = train("chroma-8", "training.batch_size=60000", "training.epochs=2")
    assert outcome.step == 2


def test_reports_say_where_it_is_and_when_it_ends(train, monkeypatch):
    monkeypatch.setattr(loop, "time", Clock(0.05))
    reports = []
    train("tuned-8", options=RunOptions("cpu", on_report=reports.append))
    assert len(reports) > 3
    assert [r.step for r in reports] == sorted({r.step for r in reports})
    assert all(r.budget_share == pytest.approx(r.step / 60) for r in reports)
    assert all(r.loss > 0 and r.examples_per_second > 0 for r in reports)
    # The clock ticks a steady number of times a step, so the time left falls straight to zero.
    ends = [r.seconds_left / (1 - r.budget_share) for r in reports if r.budget_share < 1]
    assert max(ends) < 1.5 * min(ends)


# ---- signals


def test_signal_handlers_are_as_before_when_training_ends(train, monkeypatch):
    before = [signal.getsignal(number) for number in SIGNALS]
    train("tuned-8", "training.steps=2")
    broken_total(monkeypatch, at=0, value=math.nan)
    with pytest.raises(Failure):
        train("tuned-8", "training.steps=2", folder="other")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_second_ctrl_c_ends_at_once(train, monkeypatch):
    original = loop._Loop._step

    def step(self, done):
        if self.progress.step == 20:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return original(self, done)

    monkeypatch.setattr(loop._Loop, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        train()


# ---- the log


def test_the_log_has_the_means_of_training_since_the_last_validation(train, monkeypatch):
    steps, original = [], loop._Loop._step

    def step(self, *arguments):
        loss = original(self, *arguments)
        steps.append({"total": float(loss), **{name: float(term) for name, term in self.terms.items()}})
        return loss

    monkeypatch.setattr(loop._Loop, "_step", step)
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    _, run = train("tuned-8", "training.steps=40")
    entries, first = run.logged(), 0
    assert len(entries) > 2
    for entry in entries:
        own = steps[first : entry["step"]]
        if own:
            assert entry["training"].keys() == own[0].keys() >= {"total", "mean_square"}
            for name, mean in entry["training"].items():
                assert mean == pytest.approx(np.mean([values[name] for values in own]), rel=1e-5)
        else:  # a second validation of the same step
            assert "training" not in entry
        first = entry["step"]


# ---- patience


def scores(monkeypatch, *totals):
    """Validations have these totals, in order; the last one stays."""
    left, original = list(totals), loop._Loop._validation_means

    def means(self):
        return original(self) | {"total": left.pop(0) if len(left) > 1 else left[0]}

    monkeypatch.setattr(loop._Loop, "_validation_means", means)
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)


def test_training_without_a_better_validation_ends_when_patience_does(train, monkeypatch):
    scores(monkeypatch, 5.0, 4.0, 4.5, 3.0, 3.0, 3.5, 3.2, 9.0)
    said = []
    options = RunOptions("cpu", on_message=said.append)
    outcome, run = train("tuned-8", "training.epochs=20", "training.patience=3", options=options)
    steps = [entry["step"] for entry in run.logged()]
    epoch = steps[0]
    assert (outcome.step, outcome.interrupted) == (7 * epoch, False)
    assert checkpoint.load(run.best)["progress"]["step"] == 4 * epoch
    assert [line for line in said if "patience" in line] == [
        f"step {7 * epoch}: ending before the budget, after 3 validations without a better one (training.patience)"
    ]
    again = resume(run.folder, run.recipe, CPU)
    assert (again.steps, again.interrupted) == (0, False)


def test_patience_is_kept_over_a_pause(train, monkeypatch):
    scores(monkeypatch, 5.0, 4.0, 4.5, 4.6, 4.7, 4.8)
    changes = ["training.epochs=20", "training.patience=3"]
    outcome, run = train("tuned-8", *changes, options=RunOptions("cpu", until=0.2))
    epoch = run.logged()[0]["step"]
    assert (outcome.step, outcome.interrupted) == (4 * epoch, False)
    assert resume(run.folder, run.recipe, CPU).step == 5 * epoch


def test_the_last_step_of_a_budget_is_no_validation_without_a_better_one(train, monkeypatch):
    """It is validated twice, the second time with the same result."""
    scores(monkeypatch, 5.0, 4.0, 4.0)
    said = []
    options = RunOptions("cpu", on_message=said.append)
    outcome, run = train("tuned-8", "training.epochs=2", "training.patience=1", options=options)
    epoch = run.logged()[0]["step"]
    assert outcome.step == 2 * epoch
    resume(run.folder, run.recipe, options)
    assert not [line for line in said if "patience" in line]
    longer = run.recipe.model_copy(update={"training": run.recipe.training.model_copy(update={"epochs": 9})})
    assert resume(run.folder, longer, CPU).step == 3 * epoch


def test_patience_is_refused_where_losses_compete(tone_corpus, tmp_path):
    rate = f"frames.sample_rate={Corpus.open(tone_corpus).rate}"
    recipe = load_recipe("grain-adversarial", ["training.steps=4", "training.patience=2", rate])
    with pytest.raises(UserError, match=re.escape("the losses of grain-adversarial compete")):
        start(recipe, tone_corpus, tmp_path / "run", CPU)


def test_a_paused_training_goes_on_to_the_same_weights(train):
    whole, run = train("tuned-8", "training.steps=30", folder="whole")
    paused, part = train("tuned-8", "training.steps=30", folder="part", options=RunOptions("cpu", until=1 / 3))
    assert (paused.step, paused.interrupted) == (10, False)
    assert resume(part.folder, part.recipe, CPU) == whole
    first, second = (checkpoint.load(each.last)["model"] for each in (run, part))
    assert all(torch.equal(first[name], second[name]) for name in first)


# ---- on request


def test_tensorboard_is_written_when_it_is_asked_for_and_not_otherwise(train):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, run = train("tuned-8", "training.steps=5")
    assert not (run.folder / "tensorboard").exists()
    _, run = train("tuned-8", "training.steps=5", options=RunOptions("cpu", tensorboard=True), folder="logged")
    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    logged = run.logged()[-1]
    validated = {f"val/{name}" for name in logged if name not in ("step", "seconds", "training")}
    assert set(events.Tags()["scalars"]) == validated | {f"train/{name}" for name in logged["training"]}
    for folder, means in (("val", logged), ("train", logged["training"])):
        last = events.Scalars(f"{folder}/total")[-1]
        assert (last.step, last.value) == (5, pytest.approx(means["total"], rel=1e-6))


def test_sounds_to_listen_to_appear_while_it_trains(train, monkeypatch):
    monkeypatch.setattr(loop, "PREVIEW_SECONDS", -1.0)
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    _, run = train("tuned-8", "training.steps=17")
    steps = [entry["step"] for entry in run.logged()]
    assert sorted(path.name for path in (run.folder / "preview").iterdir()) == [f"step-{s:07d}.wav" for s in steps]


def test_no_preview_appears_before_its_time(train):
    assert not (train()[1].folder / "preview").exists()
