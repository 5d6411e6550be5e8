"""Training that goes wrong stops with a line, and the last good checkpoint stays."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from timbrel.host.errors import Failure, UserError
from timbrel.train import checkpoint, loop
from timbrel.train.corpus.build import build
from timbrel.train.families import FAMILIES
from timbrel.train.families.chroma.network import ChromaAutoencoder
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run

from .loops import broken_total

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_with_a_line_and_the_last_good_checkpoint_stays(train, monkeypatch, value):
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    broken_total(monkeypatch, at=20, value=value)
    with pytest.raises(Failure) as caught:
        train("tuned-8", "training.steps=100000")
    text = str(caught.value)
    assert "\n" not in text
    assert "diverged" in text
    assert "lower training.learning_rate than 0.001" in text
    assert "last.ckpt" in text
    run = Run.open(Path(text.rsplit("checkpoint is ", 1)[1]).parent)
    assert {path.name for path in run.folder.iterdir()} == {
        "run.json",
        "recipe.toml",
        "last.ckpt",
        "best.ckpt",
        "log.jsonl",
    }
    for file in (run.last, run.best):
        content = checkpoint.load(file)
        assert all(torch.isfinite(value).all() for value in content["model"].values())
        assert checkpoint.progress_of(content).step <= 20
    assert all(math.isfinite(entry["total"]) for entry in run.logged())


def test_the_best_weights_before_a_loss_that_is_no_number_are_kept(train, monkeypatch, tmp_path):
    """Also those of a moment ago, which are still to be written."""
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 8)
    monkeypatch.setattr(loop, "SAVE_SECONDS", math.inf)
    broken_total(monkeypatch, at=20, value=math.nan)
    with pytest.raises(Failure, match="diverged"):
        train("tuned-8", "training.steps=100000", "training.batch_size=200")
    run = Run.open(tmp_path / "run")
    assert not run.last.exists()
    assert 0 < checkpoint.progress_of(checkpoint.load(run.best)).step <= 20


def test_a_loss_that_is_no_number_from_the_start_points_to_no_checkpoint(train, monkeypatch):
    broken_total(monkeypatch, at=0, value=math.nan)
    with pytest.raises(Failure, match=r"diverged; train again with a lower training\.learning_rate than 0\.001$"):
        train("tuned-8", "training.steps=5")


def test_weights_that_are_no_numbers_never_replace_the_last_good_checkpoint(train, monkeypatch):
    """Between two looks at the loss, weights may fall while an epoch ends and is saved."""
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 10**6)
    monkeypatch.setattr(loop, "LONGEST_STEPS", 10**6)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    original, saved = loop._Loop._step, []

    def step(self, done):
        loss = original(self, done)
        if self.progress.step == 2 * self.epoch_steps - 1:  # the last of the second epoch
            next(self.plain.parameters()).data.fill_(math.nan)
        if self.progress.step > 2 * self.epoch_steps:
            saved.append(checkpoint.load(self.folder.last))
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(loop._Loop, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        train("tuned-8", "training.steps=100000")
    assert checkpoint.progress_of(saved[0]).step > 0
    assert all(torch.isfinite(value).all() for value in saved[0]["model"].values())


class Dead(ChromaAutoencoder):
    """Its encoder has stopped listening."""

    def distribution(self, frames, chroma):
        mean, log_variance = super().distribution(frames, chroma)
        return mean * 0 + 0.5, log_variance


class OneAlive(ChromaAutoencoder):
    """Seven of its eight latents are dead."""

    def distribution(self, frames, chroma):
        mean, log_variance = super().distribution(frames, chroma)
        return torch.cat([mean[:, :1], mean[:, 1:] * 0 + 0.5], 1), log_variance


def test_dead_latents_are_said_while_it_trains_and_are_never_best(train, monkeypatch):
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    monkeypatch.setattr(FAMILIES["chroma"], "network", Dead)
    said = []
    outcome, run = train("tuned-8", "training.epochs=4", options=RunOptions("cpu", on_message=said.append))
    assert outcome.dead
    warnings = [line for line in said if "latents have stopped varying" in line]
    assert len(warnings) >= 3
    assert warnings[0].startswith("step ")
    assert "training.seed" in warnings[0]
    assert not run.best.exists()
    assert run.last.exists()


def test_one_living_latent_is_enough_to_go_on(train, monkeypatch):
    monkeypatch.setattr(FAMILIES["chroma"], "network", OneAlive)
    said = []
    outcome, run = train("tuned-8", options=RunOptions("cpu", on_message=said.append))
    assert not outcome.dead
    assert run.best.exists()
    assert not [line for line in said if "stopped varying" in line]


def test_a_steady_sound_in_the_validation_split_is_not_taken_for_dead_latents(train, make_tone, tmp_path):
    """Its frames are all the same, and so are their codes; the training frames' are not."""
    (tmp_path / "sounds").mkdir()
    time = np.arange(30870) / 44100
    steady = sum(0.1 / k * np.sin(2 * np.pi * 44100 / 256 * k * time) for k in (1, 2, 3))  # whole periods a hop
    soundfile.write(tmp_path / "sounds" / "steady.wav", steady, 44100, subtype="FLOAT")
    for note in (60, 64, 67, 70):
        soundfile.write(tmp_path / "sounds" / f"{note}.wav", make_tone(note, brightness=note / 100), 44100)
    listed = {"train": [f"{note}.wav" for note in (60, 64, 67, 70)], "val": ["steady.wav"]}
    (tmp_path / "split.json").write_text(json.dumps(listed), encoding="utf-8")
    build([tmp_path / "sounds"], tmp_path / "corpus", split=str(tmp_path / "split.json"))
    outcome, run = train("chroma-8", corpus=tmp_path / "corpus")
    assert not outcome.dead
    assert run.best.exists()


def test_a_corpus_without_validation_clips_is_watched_on_its_training_frames(train, tones, tmp_path):
    build([tones], tmp_path / "corpus", split="1/0/0")
    outcome, run = train("tuned-8", corpus=tmp_path / "corpus")
    assert math.isfinite(outcome.validation)
    assert run.best.exists()


def test_a_corpus_at_another_rate_is_refused_with_both_ways_out(train, tones, tmp_path):
    build([tones], tmp_path / "corpus", rate=22050)
    with pytest.raises(UserError, match=r"at 22050 Hz.*--rate 44100.*frames\.sample_rate=22050"):
        train(corpus=tmp_path / "corpus")
    assert not (tmp_path / "run").exists()
    outcome, _ = train("tuned-8", "frames.sample_rate=22050", corpus=tmp_path / "corpus")
    assert outcome.step == 60


def test_a_corpus_whose_clips_are_shorter_than_a_frame_is_refused_and_leaves_nothing(train, tones, tmp_path):
    with pytest.raises(UserError, match="no training frame that sounds"):
        train("chroma-8", "frames.frame_length=32768")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [RunOptions("abacus"), RunOptions("cuda"), RunOptions("cpu", devices=0)])
def test_an_accelerator_that_is_not_there_is_refused_and_leaves_nothing(train, tmp_path, options):
    if options.accelerator == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    asked = f"--accelerator {options.accelerator}"
    asked += ": torch finds none" if options.accelerator == "cuda" else f" --devices {options.devices}: "
    with pytest.raises(UserError, match=asked):
        train(options=options)
    assert not (tmp_path / "run").exists()


def test_a_run_that_exists_is_never_overwritten(train):
    _, run = train()
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    with pytest.raises(UserError, match="exists and is not empty"):
        train("chroma-2")
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before


def test_a_full_disk_stops_with_a_line_and_the_last_good_checkpoint_stays(train, monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "VALIDATION_STEPS", 1)
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    saved, original = [], torch.save

    def save(content, file):
        if len(saved) > 4:
            raise OSError(28, "No space left on device")
        saved.append(content["progress"]["step"])
        original(content, file)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(Failure, match="No space left on device"):
        train("tuned-8", "training.steps=1000")
    assert checkpoint.progress_of(checkpoint.load(tmp_path / "run" / "last.ckpt")).step in saved
    assert not list((tmp_path / "run").glob("*.partial"))
