"""Steps that a GPU replays as a CUDA graph give the weights of plain ones, as `cuda_graph` emulates it.

`tests/bench/gpu_weights.py` compares a GPU's own.
"""

import re

import pytest
import torch
from timbrel.host.errors import Failure, UserError
from timbrel.train import checkpoint, loop, repeated_step
from timbrel.train.families.gan.data import LogisticGANFamily
from timbrel.train.families.gan.wavegan import phase_shuffled
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import resume, start
from timbrel.train.loop import RunOptions
from timbrel.train.network import uniformity
from timbrel.train.run import Run
from timbrel.train.shared_random import RepeatingGenerator, rand_examples, randint, randn_examples

from . import cuda_graph
from .loops import CPU

pytestmark = pytest.mark.usefixtures("one_thread")

FRAMES = ("frames.frame_length=1024", "frames.hop_length=256", "network.hidden=[64,32,16]", "frames.rows=1000")
CLIPS = ("frames.sample_rate=44100", "frames.frame_length=8192", "frames.hop_length=4096", "network.model_size=1")
RECIPES = {
    "chroma-8": FRAMES,
    "chroma-8-vae": FRAMES,  # draws noise
    "tuned-8": FRAMES,  # draws codes, pitch classes and directions
    "tuned-partials": ("frames.rows=1000",),
    "clip-wavegan": (*CLIPS, "training.batch_size=4", "training.learning_rate=1e-3"),
}
STEPS = 8
GRAPHS = "training.cuda_graphs=true"


@pytest.fixture
def replays(monkeypatch):
    """Let runs repeat their steps, on graphs of the processor: the number of replays of each graph."""
    cuda_graph.emulate(monkeypatch)
    monkeypatch.setattr(loop, "replays", lambda fabric: True)
    counts, replay = {}, cuda_graph.CUDAGraph.replay

    def counted(graph):
        counts[graph] = counts.get(graph, 0) + 1
        replay(graph)

    monkeypatch.setattr(cuda_graph.CUDAGraph, "replay", counted)
    return counts


def recipe_of(name, *changes, steps=STEPS):
    fixed = ("training.batch_size=32", "training.schedule=cosine", f"training.steps={steps}")
    return load_recipe(name, [*fixed, *RECIPES[name], *changes])


def trained(name, corpus, folder, *changes, options=CPU):
    start(recipe_of(name, *changes), corpus, folder, options)
    return state_of(folder)


def state_of(folder):
    content = checkpoint.load(Run.open(folder).last)
    return content["model"], content["optimizer"]


def assert_same(repeated, plain, **tolerances):
    torch.testing.assert_close(repeated[0], plain[0], **tolerances)
    torch.testing.assert_close(repeated[1], plain[1], **tolerances)


@pytest.mark.parametrize("name", RECIPES)
def test_replayed_steps_give_the_weights_of_plain_ones(tone_corpus, tmp_path, replays, name):
    """But for the learning rate's rounding to single precision."""
    plain = trained(name, tone_corpus, tmp_path / "plain")
    assert not replays
    repeated = trained(name, tone_corpus, tmp_path / "repeated", GRAPHS)
    assert list(replays.values()) == [STEPS - repeated_step.WARM_UP_STEPS]
    assert_same(repeated, plain, rtol=1e-4, atol=1e-6)


def test_a_resumed_run_captures_again_and_gives_the_weights_of_a_whole_one(tone_corpus, tmp_path, replays):
    whole = trained("clip-wavegan", tone_corpus, tmp_path / "whole", GRAPHS, "training.schedule=constant")
    parts = recipe_of("clip-wavegan", GRAPHS, "training.schedule=constant", steps=4)
    start(parts, tone_corpus, tmp_path / "parts", CPU)
    resume(tmp_path / "parts", recipe_of("clip-wavegan", GRAPHS, "training.schedule=constant"), CPU)
    assert list(replays.values()) == [5, 1, 1]
    assert_same(state_of(tmp_path / "parts"), whole, rtol=1e-4, atol=1e-6)


def test_checkpoints_of_replayed_runs_hold_numbers_as_others_do(tone_corpus, tmp_path, replays):
    _, optimizer = trained("chroma-8", tone_corpus, tmp_path / "run", GRAPHS)
    assert replays
    for group in optimizer["param_groups"]:
        assert isinstance(group["lr"], float)
        assert group["capturable"] is False


def test_the_mean_of_a_generators_weights_follows_replayed_steps(tone_corpus, tmp_path, replays):
    changes = ("network.average=0.9",)
    plain = trained("clip-wavegan", tone_corpus, tmp_path / "plain", *changes)
    repeated = trained("clip-wavegan", tone_corpus, tmp_path / "repeated", *changes, GRAPHS)
    assert plain[0]["moves"] == STEPS
    assert_same(repeated, plain, rtol=1e-4, atol=1e-6)


# ---- without a GPU, and where steps differ


def test_a_processor_says_that_it_replays_nothing_and_trains_as_ever(tone_corpus, tmp_path):
    messages = []
    options = RunOptions(accelerator="cpu", on_message=messages.append)
    plain = trained("chroma-8", tone_corpus, tmp_path / "plain", options=options)
    assert not [message for message in messages if "cuda_graphs" in message]
    repeated = trained("chroma-8", tone_corpus, tmp_path / "repeated", GRAPHS, options=options)
    assert messages.count("training.cuda_graphs is for training on one GPU, and has no effect here") == 1
    assert_same(repeated, plain, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["tuned-wavegan", "clip-dcgan", "grain-plain", "sequence-noisy"])
def test_recipes_whose_steps_differ_are_refused(tone_corpus, tmp_path, name):
    recipe = load_recipe(name, ["frames.sample_rate=44100", GRAPHS])
    message = "steps that differ in their operations, which no CUDA graph repeats; leave training.cuda_graphs out"
    with pytest.raises(UserError, match=re.escape(message)):
        start(recipe, tone_corpus, tmp_path / "run", CPU)
    assert not (tmp_path / "run").exists()


def test_a_step_that_cannot_be_captured_ends_with_one_line(tone_corpus, tmp_path, replays, monkeypatch):
    """The logistic critic counts its steps on the device, and reads the count."""
    monkeypatch.setattr(LogisticGANFamily, "repeats_steps", True)
    terms = [f"loss.{term}=0" for term in ("classification", "recognition", "sameness")]
    changes = ["network.labels=false", *terms, "training.batch_size=4", "training.steps=5", GRAPHS]
    message = "operation not permitted when stream is capturing: aten._local_scalar_dense.default); train without"
    with pytest.raises(Failure, match=re.escape(message)):
        start(load_recipe("tuned-wavegan", [*CLIPS, *changes]), tone_corpus, tmp_path / "run", CPU)


# ---- random numbers


def draws(generator):
    return [
        rand_examples(3, 2, generator=generator),
        randint(-2, 3, generator=generator),
        randn_examples(5, 4, generator=generator),
        uniformity(torch.linspace(0, 1, 12).reshape(6, 2), generator),
    ]


def test_a_repeated_step_gets_a_seeds_own_numbers_in_the_same_tensors():
    repeating = RepeatingGenerator(torch.device("cpu"))
    first = None
    for seed in range(3):
        repeating.restart(torch.Generator().manual_seed(seed))
        drawn = draws(repeating)
        torch.testing.assert_close(drawn, draws(torch.Generator().manual_seed(seed)), rtol=0, atol=0)
        first = first or [number.data_ptr() for number in drawn[:3]]
        assert [number.data_ptr() for number in drawn[:3]] == first


def test_a_step_that_draws_other_numbers_than_the_first_fails():
    repeating = RepeatingGenerator(torch.device("cpu"))
    for shape in ((3, 2), (3, 3)):
        repeating.restart(torch.Generator())
        if shape == (3, 2):
            rand_examples(*shape, generator=repeating)
    with pytest.raises(AssertionError, match="other numbers than the first"):
        rand_examples(*shape, generator=repeating)


@pytest.mark.parametrize("largest", [1, 2, 5])
def test_phases_are_shuffled_alike_in_repeated_steps(largest):
    signal, repeating = torch.randn(2, 3, 16), RepeatingGenerator(torch.device("cpu"))
    for seed in range(24):  # all shifts
        repeating.restart(torch.Generator().manual_seed(seed))
        expected = phase_shuffled(signal, largest, torch.Generator().manual_seed(seed))
        assert torch.equal(phase_shuffled(signal, largest, repeating), expected)
