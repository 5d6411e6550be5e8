"""GANs train in the loop: labels from the corpus, mean weights, checkpoints that are kept, the best by distance."""

import numpy as np
import pytest
import torch
from timbrel.host.errors import UserError
from timbrel.train import checkpoint, loop
from timbrel.train.corpus.store import writing
from timbrel.train.families import FAMILIES
from timbrel.train.families.gan import wavegan
from timbrel.train.families.recipes import load_recipe, shipped_recipes
from timbrel.train.launch import resume, start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run, trained

from .sounds import sine

CPU = RunOptions(accelerator="cpu")
RATE = 16000
TINY = {
    "gan": ["network.model_size=1", "network.latents=4", "training.batch_size=2"],
    "dcgan": ["network.channels=[2,2]", "frames.frame_length=4096", "frames.hop_length=4096", "network.latents=4"],
}
TINY["halves"] = TINY["dcgan"]
TINY["logistic-gan"] = [*TINY["gan"], f"frames.sample_rate={RATE}", "network.spectral_size=1"]
CLIPS = [name for name in shipped_recipes() if load_recipe(name).family in TINY]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A corpus of 28 tones with two labels, four of them for validation."""
    path = tmp_path_factory.mktemp("contest") / "corpus"
    with writing(path, RATE) as writer:
        for number in range(28):
            sound = sine(200 + 40 * number, 0.3 + 0.01 * number, RATE)
            track = np.full(-(-len(sound) // 1024), np.nan, np.float32)
            writer.append(sound, track, name=f"{number}", group=f"{number}", label="ab"[number % 2])
        writer.finish({c.name: "val" if i % 7 == 0 else "train" for i, c in enumerate(writer.clips)}, name="digits")
    return path


@pytest.fixture
def contest(digits, tmp_path):
    """Train a recipe that is made small; gives the run."""

    def run(*changes, name="clip-wavegan", folder="run", options=CPU, again=False):
        recipe = load_recipe(name, [*TINY[load_recipe(name).family], "training.steps=4", *changes])
        if again:
            resume(tmp_path / folder, recipe, options)
        else:
            start(recipe, digits, tmp_path / folder, options)
        return Run.open(tmp_path / folder)

    return run


@pytest.fixture
def often(monkeypatch):
    """Validate after every step."""
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    monkeypatch.setattr(loop, "LONGEST_STEPS", 1)


@pytest.mark.parametrize("name", CLIPS)
def test_every_recipe_of_clips_takes_a_step_and_is_opened_again(contest, name):
    run = contest("training.steps=1", name=name)
    network, which, step = trained(run, "best")
    assert (which, step) == ("best", 1)
    (line,) = run.logged()
    training = line.pop("training")
    assert all(np.isfinite(value) for means in (line, training) for value in means.values())
    assert {"estimate", "diversity", "frechet"} <= set(line) or run.recipe.family == "halves"
    assert not network.training


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("clip-wavegan", ["network.labels=true", "network.average=0.9"]),
        ("tuned-wavegan", ["network.augmentation=true"]),
        ("clip-dcgan", ["training.batch_size=4"]),
        ("clip-dcgan-halves", ["training.batch_size=4"]),
    ],
)
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(contest, name, changes, monkeypatch):
    monkeypatch.setattr(wavegan, "PENALTY_STEPS", 3)  # one before the stop, one after
    whole = contest(*changes, name=name)
    contest(*changes, "training.steps=2", name=name, folder="parts")
    parts = contest(*changes, name=name, folder="parts", again=True)
    one, two = (checkpoint.load(run.last) for run in (whole, parts))
    assert all(torch.equal(one["model"][part], two["model"][part]) for part in one["model"])
    assert one["optimizer"].keys() == two["optimizer"].keys()


def test_labels_are_the_corpus_s_and_stand_in_the_run(contest, digits):
    run = contest("network.labels=true")
    assert run.recipe.network.words == ["a", "b"]
    network, *_ = trained(run, "last")
    assert network.words == 2
    with pytest.raises(UserError, match="another recipe"):
        contest(again=True)  # without labels


def test_the_checkpoints_of_the_last_validations_are_kept_and_can_be_gone_back_to(contest, often):
    run = contest("training.keep=2", "training.steps=5")
    names = [path.name for path in sorted(run.kept_checkpoints.iterdir())]
    assert names == ["step-000000004.ckpt", "step-000000005.ckpt"]
    network = FAMILIES["gan"].network(run.recipe)
    assert checkpoint.restore(run.kept_checkpoints / names[0], network).step == 4
    assert not any("keep" in line for line in (load_recipe("chroma-8").to_toml(), load_recipe("texture-10").to_toml()))


def test_recipes_of_other_families_keep_none(contest):
    assert contest().kept_checkpoints.is_dir()
    assert load_recipe("chroma-8").training.keep is None


def test_the_best_is_the_one_that_lies_nearest_to_the_recordings(contest, often, monkeypatch):
    distances = iter([5.0, 3.0, 4.0, 3.5, 9.0])
    figures = ({"estimate": 1.0, "diversity": 1.0, "frechet": distance} for distance in distances)
    monkeypatch.setattr(FAMILIES["gan"], "health", lambda *_: next(figures))
    run = contest()
    assert [line["frechet"] for line in run.logged()] == [5.0, 3.0, 4.0, 3.5]  # the last step's stands once
    best = {"step": 2, "seconds": 0, "best": 3.0, "stale": 0, "epoch_steps": 2}
    assert checkpoint.load(run.best)["progress"] | {"seconds": 0} == best


def test_clips_and_health_are_said_a_line_each(contest, often):
    said = []
    contest(options=RunOptions("cpu", on_message=said.append))
    assert said[0].startswith("clips of 16384 samples (1.02 s): 24 recordings; 24 are shorter")
    assert said[1].startswith("step 1: the critic tells real from made by ")
    assert len(said) == 1 + 5
    assert not any("\n" in line for line in said)


def test_mean_weights_follow_each_step_once(contest):
    run = contest("network.average=0.9")
    model = checkpoint.load(run.last)["model"]
    assert float(model["moves"]) == 4
    moving, mean = ({k: v for k, v in model.items() if k.startswith(p)} for p in ("generator.", "averaged."))
    assert len(moving) == len(mean) > 0
    assert any(not torch.equal(a, b) for a, b in zip(moving.values(), mean.values(), strict=True))
