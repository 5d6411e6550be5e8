"""A classifier's report counts what it takes for what; there is no model of it to play."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from timbrel.export.evaluate import evaluate
from timbrel.export.export import export
from timbrel.host.errors import UserError
from timbrel.train.corpus.store import Corpus
from timbrel.train.families import FAMILIES
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.metrics.clips import JudgedClips
from timbrel.train.run import Run
from timbrel.train.run import trained as network_of

from ..train.sounds import rewrite

WORDS = ["one", "three", "two"]


@pytest.fixture
def run(tone_corpus, tmp_path):
    """A run of a step on fourteen tones, labelled in turn."""
    folder = tmp_path / "corpus"
    shutil.copytree(tone_corpus, folder)
    relabel(folder, lambda index: ("one", "two", "three")[index % 3])
    changes = ["training.epochs=1", "network.width=2", "frames.sample_rate=44100", "frames.bands=16"]
    start(load_recipe("digits-classifier", changes), folder, tmp_path / "run", RunOptions(accelerator="cpu"))
    return Run.open(tmp_path / "run")


def relabel(folder, word_of, **changes):
    rewrite(folder, lambda clip: replace(clip, label=word_of(clip.row), **changes))


def without_digest(run):
    """The run as an earlier timbrel wrote it, which knows of no other labels and splits."""
    return Run(run.folder, run.recipe, run.info.model_copy(update={"clips_digest": None}))


def answering(monkeypatch, answer):
    """Let the network take the clips of a split for these numbers of labels, and others for other ones."""
    heard = []

    class Oracle(FAMILIES["classifier"].network):
        def judge(self, clips, rate):
            assert rate == 44100
            heard.append(np.array(clips))
            numbers = answer(len(clips)) if np.array_equal(clips, heard[0]) else (answer(len(clips)) + 1) % 3
            return JudgedClips(np.eye(3, dtype=np.float32)[numbers], np.zeros((len(clips), 2), np.float32))

    monkeypatch.setattr(FAMILIES["classifier"], "network", Oracle)


def test_the_confusion_counts_every_clip_of_the_test_split_once(run, monkeypatch):
    answering(monkeypatch, lambda count: np.zeros(count, int))
    found = evaluate(run)
    clips = run.corpus().clips("test")
    labels = [clip.label for clip in clips]
    assert found["split"] == "test"
    assert found["words"] == WORDS
    assert found["confusion"] == [[labels.count(word), 0, 0] for word in WORDS]
    assert found["accuracy"] == pytest.approx(labels.count("one") / len(labels))
    assert found["accuracies"] == [None if not labels.count(word) else float(word == "one") for word in WORDS]
    assert found["clips"] == len(labels)


def test_all_right_is_a_hundred_percent_and_the_page_shows_the_table(run, monkeypatch):
    labels = [WORDS.index(clip.label) for clip in run.corpus().clips("test")]
    answering(monkeypatch, lambda count: np.array(labels))
    found = evaluate(run)
    assert found["accuracy"] == found["floors"]["accuracy"]["value"] == 1
    assert found["floors"]["accuracy"]["floors"]["chance"] < 1
    assert found["verdict"] == f"100 % of clips are taken for what they are: 0 of {len(labels)} are not."
    page = (run.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert found["verdict"] in page
    assert "<table" in page
    assert {"index.html", "report.json", "loss.png", "loss-dark.png"} == {
        path.name for path in (run.folder / "report").iterdir()
    }
    assert any("fewer than 10 clips" in line for line in found["shortcomings"])


def test_what_is_often_wrong_is_said_to_be_worth_little(run, monkeypatch):
    answering(monkeypatch, lambda count: np.zeros(count, int))
    assert "is not worth much" in evaluate(run)["verdict"]


def test_a_corpus_of_training_clips_alone_is_measured_and_that_is_said(run):
    relabel(run.corpus().folder, lambda index: WORDS[index % 3], split="train")
    found = evaluate(without_digest(run))
    assert found["split"] == "train"
    assert "not trained on" in found["shortcomings"][0]


def test_a_corpus_whose_labels_are_others_is_refused_in_a_line(run):
    relabel(run.corpus().folder, lambda index: "kick")
    with pytest.raises(UserError, match="has no clip with a label that the run knows") as caught:
        evaluate(without_digest(run))
    assert "\n" not in str(caught.value)


def test_a_classifier_is_not_exported_and_a_line_says_so(run, tmp_path):
    with pytest.raises(UserError, match="make no sound and are not exported; timbrel evaluate") as caught:
        export(run, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.onnx").exists()


def test_the_figures_are_those_of_the_network_itself(run):
    """By hand: the clips as they lie, cut to the network's length."""
    found = evaluate(run)
    network = network_of(run, "best")[0]
    corpus = Corpus.open(run.corpus().folder)
    right = 0
    for clip in corpus.clips("test"):
        samples = np.array(corpus.samples(clip))[None]
        right += WORDS[int(network.judge(samples, 44100).posteriors.argmax())] == clip.label
    assert found["accuracy"] == pytest.approx(right / len(corpus.clips("test")))
