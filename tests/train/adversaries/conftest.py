"""Small contests of a critic and a generator, on one thread."""

import numpy as np
import pytest
import soundfile
import torch
from timbrel.train import checkpoint
from timbrel.train.corpus.build import build
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.run import Run

from ...toy_families import Toy, put
from .networks import CPU, RATE, RECIPE, Adversaries, Contest


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
        put(monkeypatch, "adversaries", Contest, Toy(network, like="grain"))

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
