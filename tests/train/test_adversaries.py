"""A critic and a generator train in the loop: optimisers and batches of their own, slopes in a loss, no encoder."""

import itertools
import os
import signal
import subprocess
import sys
from typing import ClassVar, Literal

import numpy as np
import pytest
import soundfile
import torch
from timbrel.host.errors import UserError
from timbrel.train import checkpoint, training_loop
from timbrel.train.corpus.build import build
from timbrel.train.families import table
from timbrel.train.families.grain.batches import GrainData, check_grains, grain_data
from timbrel.train.families.grain.recipe import GrainFrames
from timbrel.train.families.table import Family
from timbrel.train.launch import resume, start
from timbrel.train.network import Adam, Network, Objective
from timbrel.train.recipes import load
from timbrel.train.recipes.base import Recipe, RecipeSection
from timbrel.train.recipes.load import load_recipe
from timbrel.train.run import Run
from timbrel.train.training_loop import RunOptions

CPU = RunOptions(accelerator="cpu")
RATE, LENGTH, BATCH, NOISE = 22050, 64, 16, 3
CRITIC_BATCHES = 5  # Gulrajani et al., Improved Training of Wasserstein GANs, 2017
PENALTY = 10.0  # as there

RECIPE = f"""
description = "a critic and a generator"
family = "adversaries"
[training]
steps = 12
batch_size = {BATCH}
learning_rate = 1e-3
schedule = "constant"
l2 = 0.0
seed = 0
[frames]
sample_rate = {RATE}
frame_length = {LENGTH}
hop_length = 16
align = false
held_out = 0.0
[loss]
"""


class Loss(RecipeSection):
    penalty: float = PENALTY


class Contest(Recipe):
    family: Literal["adversaries"]
    frames: GrainFrames
    loss: Loss


class Adversaries(Network):
    """A Wasserstein critic with a penalty on its slopes, and a generator of windows."""

    objectives = (
        Objective("criticism", optimiser="critic", batches=CRITIC_BATCHES, differentiates=True),
        Objective("persuasion", optimiser="generator"),
    )
    optimisers: ClassVar = {
        "critic": Adam(modules=("critic",), learning_rate=3e-3, betas=(0.0, 0.9)),
        "generator": Adam(modules=("generator",), betas=(0.5, 0.9)),
    }

    def __init__(self, recipe):
        super().__init__()
        self.weights = recipe.loss
        self.critic = torch.nn.Sequential(torch.nn.Linear(LENGTH, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
        self.generator = torch.nn.Sequential(torch.nn.Linear(NOISE, 8), torch.nn.Tanh(), torch.nn.Linear(8, LENGTH))

    def generated(self, count, generator):
        return self.generator(torch.randn(count, NOISE, generator=generator))

    def criticism(self, windows, generator):
        false = self.generated(len(windows), generator).detach()
        share = torch.rand(len(windows), 1, generator=generator)
        between = (share * windows + (1 - share) * false).requires_grad_()
        (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
        return {
            "distance": self.critic(false).mean() - self.critic(windows).mean(),
            "penalty": (slope.norm(dim=1) - 1).square().mean(),
        }

    def persuasion(self, windows, generator):
        return {"persuasion": -self.critic(self.generated(len(windows), generator)).mean()}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def contest(monkeypatch):
    """Make families of networks known for a test."""

    def of(network=Adversaries):
        row = Family(network, check_grains, grain_data, lambda *_: [np.zeros(1, np.float32)])
        monkeypatch.setitem(table.FAMILIES, "adversaries", row)
        monkeypatch.setitem(load.KINDS_OF_RECIPE, "adversaries", Contest)

    return of


@pytest.fixture(scope="module")
def rains(tmp_path_factory):
    """A corpus of four quarters of a second of noise."""
    folder = tmp_path_factory.mktemp("adversaries")
    (folder / "sounds").mkdir()
    for index in range(4):
        noise = 0.1 * np.random.default_rng(index).standard_normal(RATE // 4)
        soundfile.write(folder / "sounds" / f"rain{index}.wav", noise, RATE)
    build([folder / "sounds"], folder / "corpus", rate=RATE, split="0.5/0.25/0.25")
    return folder / "corpus"


@pytest.fixture
def asked(tmp_path):
    """The recipe, with changes."""

    def of(*changes):
        (tmp_path / "contest.toml").write_text(RECIPE, encoding="utf-8")
        return load_recipe(str(tmp_path / "contest.toml"), changes)

    return of


@pytest.fixture
def train(rains, tmp_path, contest, asked):
    """Train adversaries: the run, and the content of its last checkpoint."""

    def run(*changes, network=Adversaries, folder="run", options=CPU):
        contest(network)
        start(asked(*changes), rains, tmp_path / folder, options)
        run = Run.open(tmp_path / folder)
        return run, checkpoint.load(run.last)

    return run


def adversaries(turns=Adversaries.objectives, **optimisers):
    """The same networks with other turns and settings."""

    class Others(Adversaries):
        pass

    Others.objectives, Others.optimisers = turns, {**Adversaries.optimisers, **optimisers}
    return Others


def at_first(run, network=Adversaries):
    """Weights before training."""
    torch.manual_seed(run.recipe.training.seed)
    return network(run.recipe).state_dict()


def same(one, two):
    """Return whether two nested values are equal to the bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(same(a, b) for a, b in zip(one, two, strict=True))
    return one == two


def moments(content, name, which):
    """Adam's means of an optimiser's gradients, or of their squares, as one vector."""
    return torch.cat([state[which].flatten() for state in content["optimizer"][name]["state"].values()]).double()


# ---- optimisers


CRITICISM, PERSUASION = Adversaries.objectives
ONCE = Objective("criticism", optimiser="critic", differentiates=True)


@pytest.mark.parametrize(("turn", "name"), [(ONCE, "critic"), (PERSUASION, "generator")])
def test_a_turn_moves_its_optimisers_modules_alone_though_its_loss_depends_on_others(train, turn, name):
    run, content = train(network=adversaries(turns=(turn,)))
    before = at_first(run)
    moved = {part for part, value in content["model"].items() if not torch.equal(before[part], value)}
    assert {f"{name}.0.weight", f"{name}.0.bias", f"{name}.2.weight"} <= moved
    assert all(part.startswith(name) for part in moved)
    assert [other for other, state in content["optimizer"].items() if state["state"]] == [name]


def test_each_optimiser_steps_once_for_each_batch_of_its_turns(train):
    _, content = train("training.steps=3")
    steps = {name: {float(s["step"]) for s in state["state"].values()} for name, state in content["optimizer"].items()}
    assert steps == {"critic": {3.0 * CRITIC_BATCHES}, "generator": {3.0}}


@pytest.mark.parametrize(("turn", "name", "rate"), [(ONCE, "critic", 3e-3), (PERSUASION, "generator", 1e-3)])
def test_an_optimiser_has_its_own_rate_or_the_recipes(train, turn, name, rate):
    """Adam's first step is the rate long in each weight whose slope is not tiny."""
    run, content = train("training.steps=1", network=adversaries(turns=(turn,)))
    before = at_first(run)
    moved = torch.cat([(v - before[n]).abs().flatten() for n, v in content["model"].items() if n.startswith(name)])
    assert moved.max().item() == pytest.approx(rate, rel=1e-2)
    assert moved.median().item() == pytest.approx(rate, rel=1e-2)


@pytest.mark.parametrize(
    ("turn", "name", "first", "second"), [(ONCE, "critic", 0.0, 0.9), (PERSUASION, "generator", 0.5, 0.9)]
)
def test_an_optimiser_has_its_own_betas(train, turn, name, first, second):
    """After a step the means are (1 - beta) of the slope and of its square, so the slope falls out of their ratio."""
    _, content = train("training.steps=1", network=adversaries(turns=(turn,)))
    mean, square = moments(content, name, "exp_avg"), moments(content, name, "exp_avg_sq")
    some = square > square.median()
    expected = torch.full_like(mean[some], (1 - first) ** 2 / (1 - second))
    torch.testing.assert_close(mean[some] ** 2 / square[some], expected, rtol=1e-4, atol=0)


def test_a_schedule_lowers_every_optimisers_own_rate_alike(train, monkeypatch):
    seen, original = [], training_loop._Loop._step

    def step(self, done):
        loss = original(self, done)
        seen.append([{g["lr"] for g in self.optimizers[name].param_groups} for name in ("critic", "generator")])
        return loss

    monkeypatch.setattr(training_loop._Loop, "_step", step)
    train("training.steps=50", "training.schedule=cosine")
    critic, generator = (np.array([next(iter(rates)) for rates in name]) for name in zip(*seen, strict=True))
    assert all(len(rates) == 1 for rates in itertools.chain(*seen))
    assert critic == pytest.approx(3 * generator)
    assert generator.max() == pytest.approx(1e-3, rel=0.05)
    assert generator[-1] < 0.05 * 1e-3


def test_clipped_slopes_point_where_they_did_and_are_as_long_as_is_allowed(train):
    """Of all that an optimiser moves together: its first mean is (1 - beta) of the slopes."""
    slopes = {}
    for norm in (None, 1e-3, 1e9):
        network = adversaries(
            turns=(PERSUASION,), generator=Adam(modules=("generator",), betas=(0.5, 0.9), largest_norm=norm)
        )
        _, content = train("training.steps=1", network=network, folder=f"run{norm}")
        slopes[norm] = moments(content, "generator", "exp_avg") / 0.5
    assert slopes[None].norm() > 2e-3
    assert torch.equal(slopes[1e9], slopes[None])
    torch.testing.assert_close(slopes[1e-3], slopes[None] * (1e-3 / slopes[None].norm()), rtol=1e-3, atol=0)


# ---- batches


@pytest.fixture
def seen(monkeypatch):
    """Which frames each batch was of, and which windows and numbers each turn of training got."""
    frames, turns, original = [], [], GrainData.batch
    monkeypatch.setattr(
        GrainData, "batch", lambda self, chosen, rng: frames.append(chosen) or original(self, chosen, rng)
    )

    class Watched(Adversaries):
        def forward(self, turn, windows, generator):
            if self.training:
                drawn = torch.rand(4, generator=torch.Generator().set_state(generator.get_state()))
                turns.append((turn, windows.clone(), drawn))
            return super().forward(turn, windows, generator)

    return frames, turns, Watched


def test_each_batch_of_a_step_has_windows_and_chance_of_its_own(train, seen):
    _, turns, network = seen
    train("training.steps=4", network=network)
    names = ["criticism"] * CRITIC_BATCHES + ["persuasion"]
    assert [name for name, *_ in turns] == names * 4
    assert all(len(windows) == BATCH for _, windows, _ in turns)
    assert len({windows.numpy().tobytes() for _, windows, _ in turns}) == len(turns)
    assert len({drawn.numpy().tobytes() for *_, drawn in turns}) == len(turns)


def test_turns_that_share_a_batch_get_the_same_and_others_their_own(train, seen):
    frames, turns, network = seen
    network.objectives = (ONCE, Objective("criticism", "critic", 2, True), PERSUASION)
    train("training.steps=2", network=network)
    for step in (turns[:4], turns[4:]):
        (one, _), *own, (last, _) = [(windows, drawn) for _, windows, drawn in step]
        assert torch.equal(one, last)
        assert len({windows.numpy().tobytes() for windows, _ in [(one, None), *own]}) == 3
    assert len(frames) == 2 * 3


def test_a_step_without_a_shared_batch_takes_none_for_it(train, seen):
    frames, turns, network = seen
    network.objectives = (CRITICISM, Objective("persuasion", "generator", 2))
    train("training.steps=2", network=network)
    assert len(frames) == len(turns) == 2 * (CRITIC_BATCHES + 2)


def test_an_epoch_of_own_batches_shows_every_frame_once(train, seen):
    frames, _, network = seen
    run, _ = train("training.epochs=2", network=network)
    count = len(grain_data(run.corpus(), run.recipe, run.folder, tonal=False))
    steps = count // ((CRITIC_BATCHES + 1) * BATCH)
    assert steps > 3
    assert len(frames) == 2 * steps * (CRITIC_BATCHES + 1)
    epochs = [np.concatenate(part) for part in (frames[: len(frames) // 2], frames[len(frames) // 2 :])]
    for epoch in epochs:
        assert len(np.unique(epoch)) == len(epoch) == steps * (CRITIC_BATCHES + 1) * BATCH
        assert epoch.max() < count
    assert not np.array_equal(*epochs)


def test_batches_are_smaller_where_a_corpus_has_too_few_frames_for_them(train, seen):
    frames, _, network = seen
    run, _ = train("training.epochs=1", "training.batch_size=60000", network=network)
    count = len(grain_data(run.corpus(), run.recipe, run.folder, tonal=False))
    assert [len(chosen) for chosen in frames] == [count // (CRITIC_BATCHES + 1)] * (CRITIC_BATCHES + 1)


def test_a_corpus_with_fewer_frames_than_a_step_has_batches_is_refused(train):
    turns = (Objective("criticism", "critic", 10**6, True), PERSUASION)
    with pytest.raises(UserError, match=r"corpus has \d+ training frames, and a step takes 1000001 batches") as caught:
        train(network=adversaries(turns=turns))
    assert "\n" not in str(caught.value)


def test_examples_a_second_are_those_of_all_batches(train, monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            self.now += 0.2
            return self.now

    reports, clock = [], Clock()
    monkeypatch.setattr(training_loop, "time", clock)
    train("training.steps=30", options=RunOptions("cpu", on_report=lambda report: reports.append((clock.now, report))))
    assert len(reports) > 5
    for (began, first), (ended, second) in itertools.pairwise(reports):
        examples = (second.step - first.step) * BATCH * (CRITIC_BATCHES + 1)
        assert second.examples_per_second == pytest.approx(examples / (ended - began), rel=0.5)


# ---- validation


def test_a_penalty_on_slopes_is_validated_and_nothing_is_moved_by_that(train, monkeypatch):
    looks, original = [], training_loop._Loop._validate

    def validate(self, *arguments, **named):
        def state():
            slopes = {name: p.grad if p.grad is None else p.grad.clone() for name, p in self.plain.named_parameters()}
            weights = {name: value.clone() for name, value in self.plain.state_dict().items()}
            return weights, slopes, [module.training for module in self.plain.modules()]

        before = state()
        original(self, *arguments, **named)
        looks.append((before, state()))

    monkeypatch.setattr(training_loop._Loop, "_validate", validate)
    monkeypatch.setattr(training_loop, "VALIDATION_STEPS", 1)
    run, _ = train("training.epochs=2")
    assert len(looks) == 3  # after each epoch, and at the end
    assert any(slope is not None for (_, slopes, _), _ in looks for slope in slopes.values())
    for before, after in looks:
        assert same(before, after)
        assert all(before[2])
    for line in run.logged():
        assert line["total"] == pytest.approx(line["distance"] + PENALTY * line["penalty"], rel=1e-5)


def test_the_penalty_that_is_logged_is_that_of_the_critics_slopes(train):
    """The slope of this critic at a window, written out: W1' ((1 - tanh²) · w2)."""
    run, content = train()
    network = Adversaries(run.recipe)
    network.load_state_dict(content["model"])
    total, count, generator = 0.0, 0, torch.Generator()
    with torch.no_grad():
        for (windows,) in grain_data(run.corpus(), run.recipe, run.folder, tonal=False).validation(4096):
            generator.manual_seed(0)
            false = network.generated(len(windows), generator)
            share = torch.rand(len(windows), 1, generator=generator)
            first, tanh, last = network.critic
            slope = ((1 - tanh(first(share * windows + (1 - share) * false)) ** 2) * last.weight) @ first.weight
            total += float((slope.norm(dim=1) - 1).square().sum())
            count += len(windows)
    assert run.logged()[-1]["penalty"] == pytest.approx(total / count, rel=1e-4)


def test_a_network_without_an_encoder_is_never_called_dead(rains, tmp_path, contest, asked):
    """Though all that it generates is the same: nobody can say so of a critic's windows."""

    class Steady(Adversaries):
        def generated(self, count, generator):
            return super().generated(count, generator) * 0

    contest(Steady)
    said = []
    outcome = start(asked(), rains, tmp_path / "run", RunOptions("cpu", on_message=said.append))
    assert not outcome.dead
    assert Run.open(tmp_path / "run").best.exists()
    assert not [line for line in said if "stopped varying" in line]


# ---- going on


def test_a_resumed_run_of_several_optimisers_is_to_the_bit_one_that_never_stopped(
    rains, tmp_path, contest, asked, monkeypatch
):
    contest()
    monkeypatch.setattr(training_loop, "VALIDATION_STEPS", 1)
    whole = start(asked("training.schedule=cosine"), rains, tmp_path / "whole", CPU)
    waiting, original = {2, 8}, training_loop._Loop._step  # within epochs

    def step(self, done):
        if self.progress.step in waiting:
            waiting.remove(self.progress.step)
            signal.raise_signal(signal.SIGINT)
        return original(self, done)

    monkeypatch.setattr(training_loop._Loop, "_step", step)
    outcome = start(asked("training.schedule=cosine"), rains, tmp_path / "parts", CPU)
    steps = []
    while outcome.interrupted:
        steps.append(outcome.step)
        outcome = resume(tmp_path / "parts", asked("training.schedule=cosine"), CPU)
    assert steps == [3, 9]
    assert outcome == whole
    for file in ("last.ckpt", "best.ckpt"):
        one, two = (checkpoint.load(tmp_path / name / file) for name in ("whole", "parts"))
        for content in (one, two):
            content["progress"].pop("seconds")
        assert same(one, two)


def test_a_diverged_contest_is_said_in_a_line_also_where_slopes_are_clipped(train):
    class Broken(adversaries(critic=Adam(modules=("critic",), learning_rate=1.0, largest_norm=1.0))):
        def criticism(self, windows, generator):
            return {name: term * float("nan") for name, term in super().criticism(windows, generator).items()}

    with pytest.raises(training_loop.Failure, match="training has diverged"):
        train(network=Broken)


TWO_PROCESSES = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("adversaries", sys.argv[1])
adversaries = sys.modules["adversaries"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(adversaries)
row = adversaries.Family(adversaries.Clipped, adversaries.check_grains, adversaries.grain_data, None)
adversaries.table.FAMILIES["adversaries"] = row
adversaries.load.KINDS_OF_RECIPE["adversaries"] = adversaries.Contest
if __name__ == "__main__":
    corpus, recipe, folder = map(Path, sys.argv[2:])
    asked = adversaries.load_recipe(str(recipe), ["training.steps=4"])
    adversaries.start(asked, corpus, folder, adversaries.RunOptions("cpu", devices=2))
"""


class Clipped(Adversaries):
    """What two processes train."""

    optimisers: ClassVar = {
        "critic": Adam(modules=("critic",), betas=(0.0, 0.9), largest_norm=1e-3),
        "generator": Adam(modules=("generator",), betas=(0.0, 0.9), largest_norm=1e-3),
    }


@pytest.mark.slow  # test_turns.py has two processes of several turns
def test_two_processes_train_adversaries_and_clip_the_slopes_that_they_have_together(rains, tmp_path):
    (tmp_path / "contest.toml").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "two.py").write_text(TWO_PROCESSES, encoding="utf-8")
    command = [sys.executable, tmp_path / "two.py", __file__, rains, tmp_path / "contest.toml", tmp_path / "run"]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    content = checkpoint.load(tmp_path / "run" / "last.ckpt")
    assert content["progress"]["step"] == 4
    # Beta is 0, so the mean is the last step's slopes.
    for name, steps in (("critic", 4 * CRITIC_BATCHES), ("generator", 4)):
        assert {float(s["step"]) for s in content["optimizer"][name]["state"].values()} == {steps}
        assert moments(content, name, "exp_avg").norm().item() == pytest.approx(1e-3, rel=1e-3)
