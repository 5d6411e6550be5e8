"""A critic and a generator are validated, resumed, stopped where they diverge, and trained by two processes."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from timbrel.train import checkpoint, loop
from timbrel.train.families import FAMILIES
from timbrel.train.launch import resume, start
from timbrel.train.loop import RunOptions
from timbrel.train.network import Adam
from timbrel.train.run import Run

from ..resuming import same
from . import networks
from .networks import CPU, CRITIC_BATCHES, PENALTY, RECIPE, Adversaries, adversaries, moments

# ---- validation


def test_a_penalty_on_slopes_is_validated_and_nothing_is_moved_by_that(train, monkeypatch):
    looks, original = [], loop._Loop._validate

    def validate(self, *arguments, **named):
        def state():
            slopes = {name: p.grad if p.grad is None else p.grad.clone() for name, p in self.plain.named_parameters()}
            weights = {name: value.clone() for name, value in self.plain.state_dict().items()}
            return weights, slopes, [module.training for module in self.plain.modules()]

        before = state()
        original(self, *arguments, **named)
        looks.append((before, state()))

    monkeypatch.setattr(loop._Loop, "_validate", validate)
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
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
        for (windows,) in FAMILIES["grain"].data(run.corpus(), run.recipe, run.folder).validation(4096):
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
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    whole = start(asked("training.schedule=cosine"), rains, tmp_path / "whole", CPU)
    waiting, original = {2, 8}, loop._Loop._step  # within epochs

    def step(self, done):
        if self.progress.step in waiting:
            waiting.remove(self.progress.step)
            signal.raise_signal(signal.SIGINT)
        return original(self, done)

    monkeypatch.setattr(loop._Loop, "_step", step)
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

    with pytest.raises(loop.Failure, match="training has diverged"):
        train(network=Broken)


TWO_PROCESSES = """
import importlib.util, sys
from pathlib import Path
from timbrel.train.launch import start
from timbrel.train.families import FAMILIES, FOLDERS, RECIPES
from timbrel.train.families import recipes as load
from timbrel.train.families.grain.data import GrainFamily
from timbrel.train.loop import RunOptions
spec = importlib.util.spec_from_file_location("networks", sys.argv[1])
networks = sys.modules["networks"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(networks)
class Adversaries(GrainFamily):
    network, previewed = networks.Clipped, False
FOLDERS["adversaries"] = "", ""
FAMILIES["adversaries"], RECIPES["adversaries"] = Adversaries(), networks.Contest
if __name__ == "__main__":
    corpus, recipe, folder = map(Path, sys.argv[2:])
    asked = load.load_recipe(str(recipe), ["training.steps=4"])
    start(asked, corpus, folder, RunOptions("cpu", devices=2))
"""


@pytest.mark.slow  # test_turns.py has two processes of several turns
def test_two_processes_train_adversaries_and_clip_the_slopes_that_they_have_together(rains, tmp_path):
    (tmp_path / "contest.toml").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "two.py").write_text(TWO_PROCESSES, encoding="utf-8")
    command = [
        sys.executable,
        tmp_path / "two.py",
        networks.__file__,
        rains,
        tmp_path / "contest.toml",
        tmp_path / "run",
    ]
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
