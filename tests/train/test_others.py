"""A run whose network is built on another run's: it gets what that one learned, finds it again, or is refused."""

import json
import shutil
import signal
from typing import Literal

import pytest
import torch
from timbrel.host.errors import UserError
from timbrel.train import checkpoint, loop
from timbrel.train.families.chroma.recipe import ChromaFrames
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import resume, start
from timbrel.train.loop import RunOptions
from timbrel.train.network import Network
from timbrel.train.recipe import Recipe, RecipeSection
from timbrel.train.run import Run, trained

from ..toy_families import Toy, put

CPU = RunOptions(accelerator="cpu")
RECIPE = """
description = "codes of frames, for a decoder that is there"
family = "inverse"
[training]
steps = 12
batch_size = 32
learning_rate = 1e-3
schedule = "constant"
l2 = 1e-3
seed = 0
[frames]
sample_rate = 44100
frame_length = 1024
hop_length = 256
octave = 4
views = 2
rows = 2400
[loss]
"""


class Loss(RecipeSection):
    pass


class Inversion(Recipe):
    family: Literal["inverse"]
    frames: ChromaFrames
    loss: Loss


class Inverse(Network):
    """Learns which codes a generator wants for frames; the generator is a part of it, and stays as it is."""

    objectives = (loop.Objective("search"),)

    def __init__(self, recipe, generator):
        super().__init__()
        self.weights = recipe.loss
        self.generator = generator
        self.encoder = torch.nn.Linear(recipe.frames.frame_length // 2 + 1, generator.settings.latents)
        self.began = self.encoder.weight.detach().clone()
        self.modes = set()

    def search(self, frames, chroma, targets, target_chroma, generator):
        if self.training:
            self.modes.add(self.generator.training)
        decoded = self.generator.decode(torch.sigmoid(self.encoder(frames)), chroma)
        return {"mean_square": (decoded - frames).square().mean()}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def made(monkeypatch):
    """The networks of the inverse family that were made, which is known for a test."""
    networks = []

    def network(recipe, generator):
        networks.append(Inverse(recipe, generator))
        return networks[-1]

    put(monkeypatch, "inverse", Inversion, Toy(network, like="chroma", reads=("generator",)))
    return networks


@pytest.fixture
def generator(small_run, tmp_path):
    """The folder of a run whose best weights are other than its last."""
    folder = tmp_path / "here" / "generator"
    shutil.copytree(small_run, folder)
    content = checkpoint.load(folder / "best.ckpt")
    content["model"]["output.bias"] += 1.0
    torch.save(content, folder / "best.ckpt")
    return folder


@pytest.fixture
def asked(tmp_path):
    """The recipe, with changes."""

    def of(*changes):
        (tmp_path / "inverse.toml").write_text(RECIPE, encoding="utf-8")
        return load_recipe(str(tmp_path / "inverse.toml"), changes)

    return of


@pytest.fixture
def train(tone_corpus, tmp_path, generator, asked):
    """Train an inverse of the generator, all of which lie in one folder: the run."""
    shutil.copytree(tone_corpus, tmp_path / "here" / "corpus")

    def run(*changes, folder="run", others=None):
        others = {"generator": generator} if others is None else others
        start(asked(*changes), tmp_path / "here" / "corpus", tmp_path / "here" / folder, CPU, others)
        return Run.open(tmp_path / "here" / folder)

    return run


def of_generator(content):
    return {name.removeprefix("generator."): v for name, v in content["model"].items() if name.startswith("generator")}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


# ---- what it gets


def test_a_network_gets_what_another_run_learned_best_and_leaves_it_as_it_is(train, generator, made, monkeypatch):
    """Its one optimiser moves all weights, with a penalty on them, and the loss depends on the generator's."""
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    run = train("training.epochs=3")
    after = checkpoint.load(run.last)
    assert same(of_generator(after), checkpoint.load(generator / "best.ckpt")["model"])
    assert not same(of_generator(after), checkpoint.load(generator / "last.ckpt")["model"])
    assert not torch.equal(after["model"]["encoder.weight"], made[-1].began)
    assert len(run.logged()) > 2
    assert made[-1].modes == {False}  # it evaluates, also after a validation


def test_first_weights_follow_from_the_seed_whatever_the_other_network_is(train, made, tone_corpus, small, tmp_path):
    train("training.steps=1")
    first = made[-1].began
    wide = load_recipe("tuned-8", [*small, "network.hidden=[80,16]", "training.steps=1"])
    start(wide, tone_corpus, tmp_path / "wide", CPU)
    train("training.steps=1", folder="again", others={"generator": tmp_path / "wide"})
    assert made[-1].generator.encoder[0].out_features == 80
    assert torch.equal(made[-1].began, first)


def test_a_trained_network_opens_with_the_others_that_it_is_built_on(train, generator):
    run = train()
    network, which, step = trained(run, "best")
    assert (which, step) == ("best", 12)
    assert same(of_generator({"model": network.state_dict()}), checkpoint.load(generator / "best.ckpt")["model"])


# ---- what is refused


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "given is none"),
        (["decoder"], "given is decoder"),
        (["generator", "decoder"], "given is generator and decoder"),
    ],
)
def test_other_runs_than_those_that_a_family_reads_are_refused(train, generator, tmp_path, given, said):
    with pytest.raises(UserError, match=f"inverse is built on generator, {said}; give the folder of a") as caught:
        train(others=dict.fromkeys(given, generator))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "here" / "run").exists()


def test_a_run_is_refused_where_nothing_reads_it(tone_corpus, small, generator, tmp_path):
    with pytest.raises(UserError, match="tuned-8 is built on no other run, given is generator; "):
        start(load_recipe("tuned-8", small), tone_corpus, tmp_path / "run", CPU, {"generator": generator})
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_none_or_was_never_trained_is_refused(train, generator, tmp_path):
    def refused(match, folder=generator):
        with pytest.raises(UserError, match=match) as caught:
            train(others={"generator": folder})
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "here" / "run").exists()

    refused("none does not exist; make one", tmp_path / "none")
    refused("is not a run", tmp_path)
    (generator / "best.ckpt").write_bytes(b"no longer a checkpoint")
    refused(r"best\.ckpt is damaged")
    (generator / "best.ckpt").unlink()
    (generator / "last.ckpt").unlink()
    refused(r"generator has no checkpoint last\.ckpt yet; train it first")


# ---- going on


def test_a_run_and_those_that_it_is_built_on_move_together_and_go_on_as_if_it_had_never_stopped(
    train, asked, generator, tmp_path, monkeypatch
):
    whole = train(folder="whole")
    original = loop._Loop._step

    def step(self, done):
        if self.progress.step == 4:
            signal.raise_signal(signal.SIGINT)
        return original(self, done)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Loop, "_step", step)
        run = train()
    assert json.loads((run.folder / "run.json").read_text())["others"] == {"generator": "../generator"}
    assert checkpoint.load(run.last)["progress"]["step"] == 5
    (tmp_path / "here").rename(tmp_path / "there")
    assert resume(tmp_path / "there" / "run", asked(), CPU).step == 12
    parts = checkpoint.load(tmp_path / "there" / "run" / "last.ckpt")
    assert same(parts["model"], checkpoint.load(tmp_path / "there" / "whole" / "last.ckpt")["model"])
    assert whole.info.others == {"generator": "../generator"}


def test_a_run_whose_other_is_gone_is_not_resumed_and_stays_as_it_is(train, asked, generator):
    run = train()
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}

    def refused(match):
        with pytest.raises(UserError, match=match) as caught:
            resume(run.folder, asked("training.steps=20"), CPU)
        assert "\n" not in str(caught.value)

    (generator / "best.ckpt").unlink()
    (generator / "last.ckpt").rename(generator / "lost.ckpt")
    refused(r"generator has no checkpoint last\.ckpt yet; train it first")
    generator.rename(generator.with_name("elsewhere"))
    refused(r"run has its generator from run .*generator, which is gone; put it")
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_a_run_of_before_is_built_on_none(small_run, tmp_path):
    shutil.copytree(small_run, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    fields = json.loads(file.read_text(encoding="utf-8"))
    assert fields.pop("others") == {}
    file.write_text(json.dumps(fields), encoding="utf-8")
    assert Run.open(tmp_path / "run").source_runs() == {}
