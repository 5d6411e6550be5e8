"""Each optimiser of a critic and a generator moves its own modules, at its own rate."""

import itertools

import numpy as np
import pytest
import torch
from timbrel.train import loop
from timbrel.train.network import Adam

from .networks import CRITIC_BATCHES, ONCE, PERSUASION, Adversaries, adversaries, moments


def at_first(run, network=Adversaries):
    """Weights before training."""
    torch.manual_seed(run.recipe.training.seed)
    return network(run.recipe).state_dict()


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
    seen, original = [], loop._Loop._step

    def step(self, done):
        loss = original(self, done)
        seen.append([{g["lr"] for g in self.optimizers[name].param_groups} for name in ("critic", "generator")])
        return loss

    monkeypatch.setattr(loop._Loop, "_step", step)
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
