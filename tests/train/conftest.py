"""Small training runs on one thread."""

import pytest
import torch
from timbrel.train.corpus import chunks
from timbrel.train.corpus.build import build
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.run import Run

from .loops import CPU
from .sounds import sine, write


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def fewer(small):
    """Changes that make any recipe train in a moment, on as few frames as a recipe may ask for."""
    return [*small, "frames.rows=1000"]


@pytest.fixture
def train(tone_corpus, fewer, tmp_path):
    """Train a small recipe on the tones: the outcome and the run."""

    def run(name="tuned-8", *changes, options=CPU, folder="run", corpus=tone_corpus):
        outcome = start(load_recipe(name, [*fewer, *changes]), corpus, tmp_path / folder, options)
        return outcome, Run.open(tmp_path / folder)

    return run


@pytest.fixture
def sounds(tmp_path):
    """Ten short tones, C4 to A4, and a place for a corpus beside them."""
    for note in range(60, 70):
        write(tmp_path / "sounds" / f"tone_{note}.wav", sine(440 * 2 ** ((note - 69) / 12), seconds=0.3))
    return tmp_path / "sounds"


@pytest.fixture
def two_a_chunk(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_FILES", 2)


@pytest.fixture
def three_a_chunk(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_FILES", 3)


@pytest.fixture
def corpus(sounds, tmp_path):
    build([sounds], tmp_path / "corpus")
    return tmp_path / "corpus"
