"""Networks of several turns train in the loop, also in two processes; long epochs are saved within."""

import numpy as np
import pytest
import soundfile
import torch
from timbrel.train import checkpoint, loop
from timbrel.train.corpus.build import build
from timbrel.train.families import FAMILIES
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.network import Objective
from timbrel.train.run import Run

RATE = 22050
SMALL = ["training.batch_size=16", "network.hidden=[16]", "network.adjudicator=[8]", "frames.hop_length=50"]


@pytest.fixture(scope="module")
def rains(tmp_path_factory):
    folder = tmp_path_factory.mktemp("turns")
    (folder / "sounds").mkdir()
    for index in range(4):
        noise = 0.1 * np.random.default_rng(index).standard_normal(2 * RATE)
        soundfile.write(folder / "sounds" / f"rain{index}.wav", noise, RATE)
    build([folder / "sounds"], folder / "corpus", rate=RATE, split="0.5/0.25/0.25")
    return folder / "corpus"


@pytest.fixture
def train(rains, tmp_path):
    def run(*changes, options=None, name="grain-adversarial", folder="run"):
        recipe = load_recipe(name, [*SMALL, *changes])
        outcome = start(recipe, rains, tmp_path / folder, options or RunOptions("cpu"))
        return outcome, Run.open(tmp_path / folder)

    return run


def test_long_epochs_are_validated_and_saved_within(train, monkeypatch):
    """An epoch of these windows has some eighty steps."""
    monkeypatch.setattr(loop, "LONGEST_STEPS", 10)
    saved, save = [], checkpoint.save
    monkeypatch.setattr(
        checkpoint,
        "save",
        lambda path, network, optimizers, progress: (
            saved.append((path.name, progress.step)),
            save(path, network, optimizers, progress),
        ),
    )
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    _, run = train("training.steps=35")
    assert [line["step"] for line in run.logged()] == [10, 20, 30, 35]
    assert [step for name, step in saved if name == "last.ckpt"] == [10, 20, 30, 35]


class _Worse(FAMILIES["grain"].network):
    """Each validation finds it worse than the one before."""

    def __init__(self, recipe):
        super().__init__(recipe)
        self.looks = 0

    def reconstruction(self, windows, generator):
        self.looks += not self.training
        return {name: term + self.looks for name, term in super().reconstruction(windows, generator).items()}


class _WorseAlone(_Worse):
    """The same without its adversary's turns."""

    def __init__(self, recipe):
        super().__init__(recipe)
        self.objectives = (Objective("reconstruction"),)


@pytest.mark.parametrize(("network", "best"), [(_Worse, 30), (_WorseAlone, 10)])
def test_the_best_of_adversaries_is_their_newest_and_of_others_the_least_loss(train, monkeypatch, network, best):
    monkeypatch.setattr(loop, "LONGEST_STEPS", 10)
    monkeypatch.setattr(FAMILIES["grain"], "network", network)
    _, run = train("training.steps=30")
    totals = [line["total"] for line in run.logged()]
    assert totals == sorted(totals)
    assert checkpoint.progress_of(checkpoint.load(run.best)).step == best


def test_every_turn_moves_weights_and_the_terms_of_all_are_logged(train):
    _, run = train("training.steps=20")
    torch.manual_seed(0)
    before = FAMILIES["grain"].network(run.recipe).state_dict()
    after = checkpoint.load(run.last)["model"]
    for part in ("encoder", "decoder", "adjudicator"):
        assert any(not torch.equal(before[name], after[name]) for name in after if name.startswith(part)), part
    assert {"mean_square", "adjudication", "adversarial", "total"} <= set(run.logged()[-1])


@pytest.mark.slow
def test_two_processes_train_networks_of_several_turns(train):
    """In each turn only some weights have a part, which must not leave the processes waiting for each other."""
    outcome, run = train("training.steps=6", options=RunOptions("cpu", devices=2))
    assert outcome.step == 6
    assert np.isfinite(run.logged()[-1]["total"])
