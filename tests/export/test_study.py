"""A study trains what it compares once, goes on where it was stopped, and shows all of it on one page."""

import json
import os
import re
import signal
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
import soundfile
from timbrel.export.families import grain_report
from timbrel.export.measures import codes
from timbrel.export.reports.report import FORMAT
from timbrel.export.study.grain import study
from timbrel.export.study.runs import StudyOptions, Training
from timbrel.host.errors import UserError
from timbrel.host.progress import Display
from timbrel.train import loop
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.families.recipes import load_recipe

from .undrawn import undrawn

RATE, LENGTH, STEPS = 8000, 256, 6
SMALL = [
    f"frames.sample_rate={RATE}",
    f"frames.frame_length={LENGTH}",
    "frames.hop_length=64",
    "network.hidden=[16]",
    "network.latents=3",
    "network.bands=16",
    "network.envelope_points=4",
    "training.batch_size=16",
]
RECIPES = ["grain-plain", "grain-adversarial", "grain-noise"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "shore"
    splits = ["train"] * 3 + ["test"] * 2
    with writing(folder, RATE) as writer:
        for i in range(len(splits)):
            noise = np.random.default_rng(i).standard_normal(RATE)
            sound = 0.1 * scipy.signal.lfilter([1.0], [1.0, -0.1 * i], noise).astype(np.float32)
            writer.append(sound, np.full(-(-RATE // 1024), np.nan, np.float32), name=f"rain_{i}.wav", group=str(i))
        writer.finish({f"rain_{i}.wav": split for i, split in enumerate(splits)}, name="shore")
    return folder


def shrink(patch):
    """Few windows, and pictures that are only there."""
    patch.setattr(grain_report, "TRAINING_WINDOWS", 100)
    patch.setattr(grain_report, "TEST_WINDOWS", 60)
    patch.setattr(codes, "REPLICATES", 20)
    patch.setattr(codes, "TRIALS", 2)
    undrawn(patch)


@pytest.fixture(autouse=True)
def small_work(monkeypatch):
    shrink(monkeypatch)


def asked(corpus, folder, recipes=RECIPES, changes=(), steps=STEPS):
    return StudyOptions(corpus, folder, recipes, [*SMALL, *changes], steps)


def make(given):
    with Display() as display:
        return study(given, display)


def files_of(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def one_line(error):
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory):
    """A study of three networks, made once and only looked at."""
    folder = tmp_path_factory.mktemp("studies") / "study"
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        assert make(asked(corpus, folder))
    return folder


def test_a_study_compares_every_network_by_the_figures_of_its_report(made):
    found = json.loads((made / "study.json").read_text(encoding="utf-8"))
    assert [network["name"] for network in found["networks"]] == RECIPES
    for network in found["networks"]:
        report = json.loads((made / "runs" / network["name"] / "report" / "report.json").read_text(encoding="utf-8"))
        assert network["steps"] == report["run"]["step"] == STEPS
        measured = report["reconstruction"]["unfiltered"]
        assert network["sample_mean_square"] == measured["sample_mean_square"]["value"]
        assert network["excess_above_3_khz_db"] == report["bands"]["unfiltered"][-1]["excess_db"]["mean"]
        assert network["excess_above_3_khz_filtered_db"] == report["bands"]["filtered"][-1]["excess_db"]["mean"]
        assert network["spectral_distance_ratio"] == report["spectral_distance"]["ratio"]
        assert list(network["codes"]) == ["held_out", "test"]
    distances = {network["name"]: network["spectral_distance"] for network in found["networks"]}
    assert found["best"] == min(RECIPES[1:], key=distances.__getitem__)  # the plain one has no prior


def test_all_that_the_page_refers_to_is_there(made):
    html = (made / "index.html").read_text(encoding="utf-8")
    targets = set(re.findall(r'(?:src|href|srcset)="([^"]+)"', html))
    assert all((made / target).exists() for target in targets)
    assert {f"runs/{name}/report/index.html" for name in RECIPES} < targets
    assert {f"runs/grain-adversarial/report/{name}.png" for name in ("loss", "codes", "filtered")} < targets
    assert [int(n) for n in re.findall(r"<h2>Figure (\d+)</h2>", html)] == [2, 4, 5, 6, 7, 8, 9, 10]


def test_examples_are_the_same_stretch_of_test_sound_and_the_posts_is_filtered(made, corpus):
    best = json.loads((made / "study.json").read_text(encoding="utf-8"))["best"]
    source, rate = soundfile.read(made / "example-1-source.wav")
    opened = Corpus.open(corpus)
    clips = np.concatenate([opened.samples(clip) for clip in opened.clips("test")])
    assert rate == RATE
    assert source == pytest.approx(clips, abs=1e-6)
    for name in ("grain-adversarial", best):
        again, _ = soundfile.read(made / f"example-1-{name}.wav")
        assert len(again) == len(source) // LENGTH * LENGTH
    post, _ = soundfile.read(made / "example-2-grain-adversarial-filtered.wav")
    heard, _ = soundfile.read(made / f"example-2-{best}-unfiltered.wav")
    hz, power = scipy.signal.welch(post, RATE, nperseg=1024)
    assert power[hz > 1000].max() < 1e-4 * power.max()  # 15 % of 4 kHz, and the slope of a Blackman window
    assert len(heard) == len(post) == (len(source) - LENGTH) // (LENGTH // 10) * (LENGTH // 10) + LENGTH


def test_what_is_finished_is_not_made_again(corpus, tmp_path):
    given = asked(corpus, tmp_path / "study", ["grain-plain"])
    assert make(given)
    before = files_of(tmp_path / "study" / "runs")
    assert make(given)
    assert files_of(tmp_path / "study" / "runs") == before
    assert make(asked(corpus, tmp_path / "study", ["grain-plain", "grain-spectral"]))
    after = files_of(tmp_path / "study" / "runs")
    assert before.items() < after.items()
    html = (tmp_path / "study" / "index.html").read_text(encoding="utf-8")
    assert "<h2>Figure 11</h2>" in html


def test_a_study_that_was_stopped_goes_on_where_it_was(corpus, tmp_path, monkeypatch, capsys):
    folder, step, calls = tmp_path / "study", loop._Loop._step, []

    def interrupted(self, done):
        calls.append(1)
        if len(calls) == STEPS + 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, done)

    monkeypatch.setattr(loop._Loop, "_step", interrupted)
    given = asked(corpus, folder, ["grain-plain", "grain-adversarial"])
    assert not make(given)
    assert len(calls) == STEPS + 3
    assert "run the same command again to resume" in capsys.readouterr().err
    assert not (folder / "index.html").exists()
    first = files_of(folder / "runs" / "grain-plain")
    assert make(given)
    assert len(calls) == 2 * STEPS  # not a step was trained twice
    assert files_of(folder / "runs" / "grain-plain") == first
    assert (folder / "index.html").exists()


def test_progress_rises_over_all_of_the_study_and_tells_the_time_to_its_end(corpus, tmp_path, monkeypatch):
    told, stages = [], []
    monkeypatch.setattr(Display, "stage", lambda self, name: stages.append(name))
    monkeypatch.setattr(Display, "update", lambda self, done, note="", left=None: told.append((done, note, left)))
    assert make(asked(corpus, tmp_path / "study", ["grain-plain", "grain-noise"]))
    shares = [done for done, *_ in told]
    assert stages == ["study grain"]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert all(np.isfinite(left) and left >= 0 for *_, left in told)
    assert {note.split(",")[0] for _, note, _ in told} == {"grain-plain (1 of 2)", "grain-noise (2 of 2)"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"recipes": ["grain-plian"]}, "did you mean 'grain-plain'?"),
        ({"recipes": ["tuned-8"], "changes": []}, "is of family 'chroma', this study compares 'grain'"),
        ({"recipes": ["grain-plain", "grain-plain"]}, "named twice in --recipes"),
        ({"changes": ["training.minutes=1"], "steps": None}, "has no training.steps"),
        ({"changes": ["network.latent=4"]}, "unknown key"),
        ({"changes": ["frames.sample_rate=16000"]}, "corpus"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line_and_nothing_is_made(corpus, tmp_path, changed, words):
    fields = {"recipes": ["grain-plain"], "changes": [], "steps": STEPS} | changed
    small = [] if fields["recipes"] == ["tuned-8"] else SMALL
    given = StudyOptions(corpus, tmp_path / "study", fields["recipes"], [*small, *fields["changes"]], fields["steps"])
    with pytest.raises(UserError) as error:
        make(given)
    assert words in one_line(error)
    assert not (tmp_path / "study").exists()


def test_a_classifier_that_cannot_judge_is_refused_before_any_training(corpus, made, tmp_path):
    for run, words in (
        ("runs/grain-plain", "grain-plain is no run of a classifier; train one on labelled clips"),
        ("runs", "runs is not a run"),
    ):
        with pytest.raises(UserError) as error:
            make(replace(asked(corpus, tmp_path / "study"), classifier=made / run))
        assert words in one_line(error)
        assert not (tmp_path / "study").exists()


def test_an_unknown_study_is_refused_with_the_nearest_one(timbrel, corpus, tmp_path):
    ended = timbrel("study", "grian", "--corpus", corpus, "-o", tmp_path / "study")
    assert ended.status == 2
    assert ended.err.startswith("timbrel: No such command 'grian'. Did you mean 'grain'")


def test_runs_of_other_settings_or_another_corpus_are_not_mixed(made, corpus, tmp_path):
    before = files_of(made)
    with pytest.raises(UserError) as error:
        make(asked(corpus, made, steps=STEPS + 1))
    assert "trained with other settings than are asked for" in one_line(error)
    with pytest.raises(UserError) as error:
        make(asked(tmp_path / "elsewhere", made))
    assert "was trained on corpus shore" in one_line(error)
    assert files_of(made) == before


def test_a_folder_that_holds_something_else_is_refused(corpus, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError) as error:
        make(asked(corpus, tmp_path))
    assert "is not empty" in one_line(error)


def test_reports_of_earlier_formats_and_without_a_judge_are_measured_again(tmp_path):
    training = Training(load_recipe("grain-plain", []), tmp_path, tmp_path)
    (tmp_path / "last.ckpt").touch()
    (tmp_path / "report").mkdir()
    for figures, plain, judged in (
        ({"format": 1}, False, False),  # it had no floors
        ({"format": FORMAT, "floors": {}}, True, False),
        ({"format": FORMAT, "floors": {"words": {}}}, True, True),
        ({"format": FORMAT, "floors": {}, "generated": {"told": {"score": 2.0}}}, True, True),
    ):
        (tmp_path / "report" / "report.json").write_text(json.dumps(figures))
        assert (training.report(judged=False) == figures) == plain
        assert (training.report(judged=True) == figures) == judged
