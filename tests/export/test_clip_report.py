"""A report on a run that makes whole clips: figures that are known, a collapse, copies, and a classifier's word."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from timbrel.export import evaluate as evaluating
from timbrel.export.evaluate import evaluate
from timbrel.export.families.clip import clip_report, clip_reporter, reconstruction
from timbrel.export.reports.report import ReportRequest
from timbrel.host.errors import UserError
from timbrel.train.families.clip.data import hits
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.metrics.clips import JudgedClips
from timbrel.train.run import Run, trained

from ..train.struck import RATE, hat, tom

LENGTH = 4096


def quiet(share, what):
    """No progress is shown."""


def clips(count=4):
    return np.stack([np.pad(make(seed), (0, LENGTH - 3200)) for seed in range(count // 2) for make in (tom, hat)])


# ---- figures that are known


def test_what_comes_back_as_it_was_is_no_distance_away_however_loud():
    asked = clips()
    for gain in (1.0, 0.1):
        found = reconstruction(asked, np.float32(gain) * asked, RATE)
        for figure in found.values():
            assert figure["median"] == pytest.approx(0, abs=1e-2)
            assert figure["ninth_decile"] == pytest.approx(0, abs=1e-2)


def test_a_delay_is_an_attack_that_comes_later():
    asked = clips()
    given = np.concatenate([np.zeros((4, 40), np.float32), asked[:, :-40]], 1)
    assert reconstruction(asked, given, RATE)["attack_ms"]["median"] == pytest.approx(5, abs=0.01)


def test_levels_that_swing_are_counted_in_decibels_about_the_same_energy():
    """Halves that are moved by 3 dB against each other, of a sound that is steady."""
    asked = np.sin(2 * np.pi * 500 * np.arange(LENGTH) / RATE)[None].astype(np.float32)
    gains = np.where(np.arange(LENGTH) < LENGTH // 2, 10**0.15, 1.0)  # 3 dB
    found = reconstruction(asked, (asked * gains).astype(np.float32), RATE)
    energy = 10 * np.log10((10**0.3 + 1) / 2)
    expected = np.sqrt(((3 - energy) ** 2 + energy**2) / 2)
    assert found["envelope_db"]["median"] == pytest.approx(expected, abs=0.1)


def test_deciles_are_over_clips():
    asked = clips(20)
    given = asked.copy()
    given[:5] = np.roll(given[:5], 80, 1)
    found = reconstruction(asked, given, RATE)["attack_ms"]
    assert found["median"] == pytest.approx(0, abs=0.01)
    assert found["ninth_decile"] == pytest.approx(10, abs=1.1)


# ---- a page


def test_a_report_has_figures_of_the_test_split_pictures_and_sounds(hit_run):
    run = hit_run(True)
    found = evaluate(run)
    folder = run.folder / "report"
    assert json.loads((folder / "report.json").read_text()) == found
    assert (found["split"], found["clips"], found["labels"]) == ("test", 8, ["hat", "tom"])
    page = (folder / "index.html").read_text(encoding="utf-8")
    for name in ("waveforms.png", "spectrograms.png", "loss.png", "recording-1.wav", "decoded-1.wav", "random-1.wav"):
        assert name in page
        assert (folder / name).exists()
    sound, rate = soundfile.read(folder / "decoded-1.wav")
    assert (len(sound), rate) == (LENGTH, RATE)
    network, *_ = trained(run, "best")
    reporter = clip_reporter(network, run)
    corpus, part = run.corpus(), hits(run.corpus(), "test", reporter.words)
    asked = part.take_clips(corpus, np.arange(8), LENGTH)
    by_hand = reconstruction(asked, reporter.reconstruct(asked, part.labels), RATE)
    assert found["reconstruction"]["log_mel_db"]["median"] == pytest.approx(by_hand["log_mel_db"]["median"], abs=1e-3)
    for measure, errors in found["reconstruction"].items():
        assert found["floors"][measure]["value"] == pytest.approx(errors["median"], rel=1e-3, abs=1e-3)
    assert found["floors"]["frechet"]["value"] == pytest.approx(found["generated"]["likeness"]["made"], rel=1e-3)


def request(run):
    return ReportRequest(run, None, "best", 1, quiet)


@pytest.fixture
def reported(hit_run):
    """The run of labels, and its reporter."""
    run = hit_run(True)
    return run, clip_reporter(trained(run, "best")[0], run)


def test_random_clips_follow_from_codes_and_labels_and_the_seed(reported):
    _, reporter = reported
    one, again, other, labelled = (
        reporter.generate(np.array(labels), seed)
        for labels, seed in (([0, 0], 1), ([0, 0], 1), ([0, 0], 2), ([1, 1], 1))
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, labelled)
    assert one.shape == (2, LENGTH)


def test_a_run_whose_codes_all_sound_alike_has_collapsed(reported):
    run, reporter = reported
    same = replace(reporter, generate=lambda labels, seed: np.repeat(clips(2)[:1], len(labels), 0))
    found = clip_report(request(run), same).figures
    assert found["collapsed"]
    (line,) = [line for line in found["shortcomings"] if "collapsed" in line]
    assert line in found["verdict"]
    assert "random codes lie 0.0 dB apart" in line
    assert "training.seed" in line


def test_recordings_given_as_random_clips_are_no_collapse_but_remembered(reported):
    run, reporter = reported
    part = hits(run.corpus(), "train", reporter.words)
    known = part.take_clips(run.corpus(), np.arange(8), LENGTH)
    found = clip_report(request(run), replace(reporter, generate=lambda labels, seed: known[: len(labels)])).figures
    assert not found["collapsed"]
    assert any("some are remembered" in line for line in found["shortcomings"])


def test_a_network_without_encoder_has_no_reconstruction(reported):
    run, reporter = reported
    report = clip_report(request(run), replace(reporter, reconstruct=None))
    assert report.figures["reconstruction"] is None
    assert not [sound for sound in report.sounds if sound.name.startswith("decoded")]


def test_a_corpus_none_of_whose_clips_sounds_is_refused(reported):
    run, reporter = reported

    def none(corpus, split):
        part = reporter.sample(corpus, split)
        return replace(part, clips=part.clips[:0], names=[], labels=part.labels[:0], clips_in_split=0)

    with pytest.raises(UserError, match="has no clip that sounds; add louder sounds"):
        clip_report(request(run), replace(reporter, sample=none))


# ---- a classifier's word


@pytest.fixture(scope="module")
def classifier(drum_corpus, tmp_path_factory):
    """The run of a small classifier of these sounds, after an epoch."""
    folder = tmp_path_factory.mktemp("judge") / "run"
    changes = ["training.epochs=1", "network.width=2", "frames.bands=16", "frames.clip_length=4096"]
    start(
        load_recipe("digits-classifier", [*changes, "frames.sample_rate=8000"]),
        drum_corpus.folder,
        folder,
        RunOptions("cpu"),
    )
    return Run.open(folder)


def knowing(classifier, words, answers, monkeypatch):
    """The classifier's run, as if it knew these words, and took clips for some of them in turn."""

    class Oracle:
        def judge(self, clips, rate):
            assert rate == RATE
            rows = np.eye(len(words), dtype=np.float32)[[words.index(answer) for answer in answers]]
            return JudgedClips(
                np.resize(rows, (len(clips), len(words))), np.random.default_rng(0).random((len(clips), 3))
            )

    network = classifier.recipe.network.model_copy(update={"words": words})
    judging = classifier.with_recipe(classifier.recipe.model_copy(update={"network": network}))
    known = evaluating.trained
    monkeypatch.setattr(
        evaluating, "trained", lambda run, which: (Oracle(), "", 0) if run is judging else known(run, which)
    )
    return judging


def test_clips_made_are_judged_by_a_classifiers_run(hit_run, classifier, no_pictures):
    judged = evaluate(hit_run(True), classifier=classifier)
    told = judged["generated"]["told"]
    assert 0 <= told["accuracy"] <= 1
    assert judged["floors"]["accuracy"]["value"] == told["accuracy"]
    assert judged["floors"]["accuracy"]["floors"]["chance"] == 0.5  # of two labels
    score = judged["floors"]["score"]
    assert score["value"] == pytest.approx(told["score"])
    assert score["floors"] == {"silence": pytest.approx(1), "noise": score["floors"]["noise"], "chance": 1}
    assert "another" in score["references"]
    assert told["score"] >= 1
    assert evaluate(hit_run(False), classifier=classifier)["generated"]["told"]["accuracy"] is None
    found = evaluate(hit_run(False))
    assert (found["generated"]["told"], found["labels"]) == (None, [])


@pytest.mark.parametrize("words", [["hat", "tom"], ["tom", "hat"], ["clap", "tom", "hat"]])
def test_labels_are_compared_by_their_words_whatever_order_the_classifier_has(
    hit_run, classifier, monkeypatch, no_pictures, words
):
    """It takes all of eight clips for what they were asked for, but the first."""
    run, own = hit_run(True), ["hat", "tom"]
    answers = [own[number] for number in hits(run.corpus(), "test", own).labels]
    answers[0] = own[1 - own.index(answers[0])]
    judge = knowing(classifier, words, answers, monkeypatch)
    assert evaluate(run, classifier=judge)["generated"]["told"]["accuracy"] == pytest.approx(7 / 8)


def test_a_classifier_that_cannot_judge_is_refused_in_a_line(hit_run, classifier, small_run, timbrel, monkeypatch):
    for run, given, said in (
        (hit_run(True).folder, small_run, "is no run of a classifier; train one on labelled clips"),
        (small_run, classifier.folder, "--classifier judges clips and words, and recipe"),
        (hit_run(True).folder, hit_run(False).folder, "is no run of a classifier"),
    ):
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        ended = timbrel("evaluate", run, "--classifier", given)
        assert (ended.status, ended.out) == (2, "")
        assert said in ended.err.splitlines()[-1]
        assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    judge = knowing(classifier, ["hat", "clap"], ["hat"], monkeypatch)
    with pytest.raises(UserError, match="does not know label 'tom'; train one on clips with these labels"):
        evaluate(hit_run(True), classifier=judge)
