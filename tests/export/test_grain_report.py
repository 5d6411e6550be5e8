"""What a report says of grains is what other hands compute, and it says the same of the same run."""

import json

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import scipy.stats
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from timbrel.export import evaluate
from timbrel.export.families import grain_report
from timbrel.export.measures import codes
from timbrel.export.measures import frames as measures
from timbrel.export.measures import grains as grain_measures
from timbrel.export.measures.grains import GrainSample, draw, sequence, stretch
from timbrel.export.reports import clip_figures as grain_figures
from timbrel.export.reports import report
from timbrel.host.errors import UserError
from timbrel.train import checkpoint
from timbrel.train.corpus.store import Corpus, writing
from timbrel.train.families import FAMILIES
from timbrel.train.families.grain.data import overlapped
from timbrel.train.families.grain.network import GrainAutoencoder
from timbrel.train.families.recipes import load_recipe
from timbrel.train.run import FORMAT, Run, RunInfo, relative_to

from .grains import LENGTH, RATE, noise

SMALL = [
    f"frames.sample_rate={RATE}",
    f"frames.frame_length={LENGTH}",
    "frames.hop_length=64",
    "network.hidden=[16]",
    "network.latents=3",
    "network.bands=16",
    "network.envelope_points=4",
]


def write_corpus(folder, splits, level=0.1):
    """A second of noise a clip, each of another colour."""
    with writing(folder, RATE) as writer:
        for i, _ in enumerate(splits):
            noise = np.random.default_rng(i).standard_normal(RATE)
            sound = level * scipy.signal.lfilter([1.0], [1.0, -0.1 * (i % 9)], noise).astype(np.float32)
            name = f"{'rain' if i % 2 else 'sea'}_{i}.wav"
            writer.append(sound, np.full(-(-RATE // 1024), np.nan, np.float32), name=name, group=str(i))
        names = [clip.name for clip in writer.clips]
        writer.finish(dict(zip(names, splits, strict=True)), name="shore")
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "shore", ["train"] * 4 + ["val", "test", "test"])


def make_run(folder, corpus_folder, recipe="grain-adversarial", *changes):
    """A run that was never trained: its network is what the seed gives."""
    opened = Corpus.open(corpus_folder)
    info = RunInfo(
        format=FORMAT,
        corpus=relative_to(corpus_folder, folder),
        corpus_name=opened.name,
        clips=len(opened.clips()),
        seconds=opened.seconds(),
        tonal=False,
        versions={},
        hardware="none",
    )
    run = Run.create(folder, load_recipe(recipe, [*SMALL, *changes]), info)
    torch.manual_seed(0)
    network = FAMILIES["grain"].network(run.recipe)
    optimizers = {"shared": torch.optim.Adam(network.parameters())}
    checkpoint.save(run.last, network, optimizers, checkpoint.Progress(step=7))
    for step in (3, 7):
        run.log({"step": step, "seconds": 1.0 * step, "total": 2.0, "mean_square": 2.0, "adjudication": 1.0 / step})
    return run


@pytest.fixture(autouse=True)
def small_work(monkeypatch):
    monkeypatch.setattr(grain_report, "TRAINING_WINDOWS", 200)
    monkeypatch.setattr(grain_report, "TEST_WINDOWS", 120)
    monkeypatch.setattr(grain_report, "HELD_WINDOWS", 150)
    monkeypatch.setattr(codes, "REPLICATES", 40)
    monkeypatch.setattr(codes, "TRIALS", 5)


# ---- codes


def test_codes_have_the_moments_that_numpy_finds_and_scipys_distance_from_the_normal_distribution():
    drawn = 5 * np.random.default_rng(0).standard_normal((300, 3)) + [0, 1, -2]
    drawn[:, 2] += 0.7 * drawn[:, 0]
    found = codes.distribution(drawn.astype(np.float32), np.arange(300) % 20, codes.prior(3, 5.0), noise_source())
    for i, dimension in enumerate(found["dimensions"]):
        assert dimension["mean"]["value"] == pytest.approx(drawn[:, i].mean(), abs=1e-3)
        assert dimension["std"]["value"] == pytest.approx(drawn[:, i].std(), rel=1e-4)
        wanted = scipy.stats.kstest(drawn[:, i] / 5, "norm").statistic
        assert dimension["kolmogorov_smirnov"]["value"] == pytest.approx(wanted, abs=1e-6)
    correlation = np.abs(np.corrcoef(drawn.T) - np.eye(3)).max()
    assert found["largest_correlation"]["value"] == pytest.approx(correlation, abs=1e-5)
    assert found["largest_mean"]["value"] == pytest.approx(np.abs(drawn.mean(0)).max(), abs=1e-3)


def noise_source():
    return np.random.default_rng(1)


def test_codes_of_windows_that_are_as_loud_have_the_deviation_of_that_loudness():
    """Where codes are levels times a normal number, half as loud is half as far apart, and as loud is the same."""
    rng = np.random.default_rng(0)
    levels = rng.uniform(0.1, 1.0, 20_000)
    drawn = levels[:, None] * rng.standard_normal((20_000, 3))
    for wanted in (levels, rng.uniform(0.1, 0.5, 5000), np.full(100, 0.999)):
        found = codes.reweighted_deviations(drawn, levels, wanted)
        assert found == pytest.approx(np.full(3, np.sqrt(np.mean(np.square(wanted)))), rel=0.05)


def test_the_energy_coefficient_of_one_latent_is_that_of_scipys_energy_distance(monkeypatch):
    values, others = np.random.default_rng(0).standard_normal((2, 400)) * [[1.0], [2.0]] + [[0.5], [0.0]]
    normal = codes.CodeDistribution(np.zeros(1), np.eye(1), prior=True)
    monkeypatch.setattr(codes.CodeDistribution, "sample", lambda self, count, rng: others[:, None])
    found = codes.distribution(values[:, None], np.arange(400) % 8, normal, noise_source())
    between = np.abs(values[:, None] - others).mean()
    wanted = scipy.stats.energy_distance(values, others) ** 2 / (2 * between)
    assert found["energy"]["value"] == pytest.approx(wanted, abs=2e-3)


def test_intervals_are_as_wide_as_clips_differ_not_as_windows_are_many(monkeypatch):
    monkeypatch.setattr(codes, "REPLICATES", 2000)
    middles = np.random.default_rng(2).standard_normal(25)
    drawn = np.repeat(middles, 40)[:, None].astype(np.float32)
    found = codes.distribution(drawn, np.repeat(np.arange(25), 40), codes.prior(1, 1.0), noise_source())
    mean = found["dimensions"][0]["mean"]
    wide = 2 * 1.96 * middles.std() / np.sqrt(25)
    assert mean["high"] - mean["low"] == pytest.approx(wide, rel=0.1)
    assert mean["low"] < middles.mean() < mean["high"]


def test_normal_codes_are_as_near_as_chance_allows_and_others_are_farther(monkeypatch):
    monkeypatch.setattr(codes, "TRIALS", 40)
    normal = codes.prior(4, 5.0)
    clips = np.arange(60)
    near = codes.distribution(normal.sample(60, np.random.default_rng(3)), clips, normal, noise_source())
    far = codes.distribution(normal.sample(60, np.random.default_rng(3)) + 5, clips, normal, noise_source())
    for name in ("kolmogorov_smirnov", "energy"):
        assert near[name]["value"] < 1.5 * near["by_chance"][name]
        assert far[name]["value"] > 2 * far["by_chance"][name]


def test_a_dead_latent_and_a_single_clip_still_have_figures():
    drawn = noise(50, 2) * np.array([1, 0], np.float32)
    found = codes.distribution(drawn, np.zeros(50, np.int64), codes.fitted(drawn), noise_source())
    json.dumps(found, allow_nan=False)
    assert found["largest_correlation"]["value"] == 0
    assert found["dimensions"][0]["mean"]["low"] == found["dimensions"][0]["mean"]["value"]


def test_the_fitted_distribution_has_the_codes_mean_and_covariance():
    drawn = (noise(500, 3) @ np.array([[2, 1, 0], [0, 1, 0], [1, 0, 0.5]])).astype(np.float32) + 4
    sample = codes.fitted(drawn).sample(200_000, noise_source())
    assert sample.mean(0) == pytest.approx(drawn.mean(0), abs=0.05)
    assert np.cov(sample.T) == pytest.approx(np.cov(drawn.T), abs=0.08)
    assert codes.fitted(drawn).deviation == pytest.approx(drawn.std(0, ddof=1), rel=1e-3)


# ---- windows


def test_held_out_windows_lie_in_the_last_tenth_of_training_clips(corpus):
    opened, frames = Corpus.open(corpus), load_recipe("grain-plain", SMALL).frames
    found = draw(opened, "held_out", frames, 1000, noise_source())
    ends = np.concatenate([opened.samples(clip)[round(0.9 * RATE) :] for clip in opened.clips("train")])
    whole = np.lib.stride_tricks.sliding_window_view(ends, LENGTH)
    assert all((whole == window).all(1).any() for window in found.samples)
    assert len(np.unique(found.clips)) == 4


def test_a_stretch_is_whole_clips_and_what_is_asked_for_and_no_more_than_there_is(corpus):
    opened, frames = Corpus.open(corpus), load_recipe("grain-plain", SMALL).frames
    clips = [opened.samples(clip) for clip in opened.clips("test")]
    assert np.array_equal(stretch(opened, "test", frames, 1.5), np.concatenate(clips)[: RATE * 3 // 2])
    assert np.array_equal(stretch(opened, "test", frames, 10.0), np.concatenate(clips))
    assert len(stretch(opened, "held_out", frames, 10.0)) == 4 * RATE // 10


@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 20))
def test_windows_in_sequence_are_slices_and_a_short_sound_is_filled_up(samples, length, hop):
    sound = noise(samples)
    cut = sequence(sound, length, hop)
    filled = np.pad(sound, (0, max(0, length - samples)))
    assert np.array_equal(cut, [filled[i : i + length] for i in range(0, len(filled) - length + 1, hop)])


# ---- the report


@pytest.mark.parametrize("recipe", ["grain-plain", "grain-adversarial", "grain-spectral", "grain-noise"])
@pytest.mark.usefixtures("no_pictures")
def test_a_report_of_every_kind_of_network_is_finite_and_names_its_prior(tmp_path, corpus, recipe):
    run = make_run(tmp_path / "run", corpus, recipe)
    found = evaluate.evaluate(run)
    assert json.loads((run.folder / "report" / "report.json").read_text()) == found
    for measure, errors in found["reconstruction"]["unfiltered"].items():
        assert found["floors"][measure]["value"] == pytest.approx(errors["value"], rel=1e-4)
    assert found["floors"]["sample_error_db"]["floors"]["silence"] == pytest.approx(0, abs=1e-9)
    adversarial = recipe in ("grain-adversarial", "grain-noise")
    assert found["codes"]["normal"]["prior"] is adversarial
    assert found["spectral_distance"]["drawn_from"] == ("prior" if adversarial else "fit")
    assert found["codes"]["normal"]["deviation"] == pytest.approx([5.0] * 3) if adversarial else True
    assert (found["split"], found["frames"], found["clips"]) == ("test", 120, 2)
    assert found["codes"]["held_out"]["clips"] == 4
    assert (found["phases"] is not None) == (recipe == "grain-spectral")
    assert (found["bands"]["unfiltered"][0]["noise_db"] is None) == (recipe == "grain-noise")
    assert len(found["latents"]["dimensions"]) == 3
    assert found["run"]["seconds"] == 7
    html = (run.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert found["verdict"] in html
    assert all(line in html for line in found["shortcomings"])
    assert list(found["sounds"]) == ["source.wav", "remade.wav", "random.wav"]
    assert [html.index(f'src="{name}"') for name in found["sounds"]] == sorted(
        html.index(f'src="{name}"') for name in [*found["sounds"], "waveforms.png"]
    )[:3]
    source, remade, _ = (soundfile.read(run.folder / "report" / name)[0] for name in found["sounds"])
    assert len(source) == 2 * RATE  # what there is of the test split
    assert 0 <= len(source) - len(remade) < LENGTH
    assert ("phases.png" in html) == (recipe == "grain-spectral")
    for name in ("loss", "waveforms", "filtered", "codes", "resynthesis", "grain_spectrum", "average_spectrum"):
        assert f'src="{name}.png"' in html


@pytest.mark.usefixtures("no_pictures")
def test_the_same_run_gives_the_same_figures(tmp_path, corpus):
    run = make_run(tmp_path / "run", corpus, "grain-noise")
    assert evaluate.evaluate(run) == evaluate.evaluate(Run.open(run.folder))


def test_every_picture_is_drawn_for_light_and_dark_screens(tmp_path, corpus):
    run = make_run(tmp_path / "run", corpus, "grain-spectral")
    evaluate.evaluate(run)
    files = {path.stem for path in (run.folder / "report").glob("*.png")}
    assert {"phases", "loss", "code_space", "correlation"} < files
    assert {name for name in files if not name.endswith("-dark")} == {
        name.removesuffix("-dark") for name in files if name.endswith("-dark")
    }


@pytest.mark.parametrize("strangers", [False, True])
def test_grains_that_overlap_are_as_loud_as_they_are_alone(strangers):
    whole = noise(256 * 40) if strangers else np.sin(0.3 * np.arange(256 * 40)).astype(np.float32)
    grains = noise(157, 256, seed=1) if strangers else sequence(whole, 256, 64)
    heard = overlapped(grains, 64, "hann", strangers)
    assert heard[256:-256].std() == pytest.approx(whole.std(), rel=0.05)
    if not strangers:
        assert heard[256:-256] == pytest.approx(whole[256 : len(heard) - 256], abs=1e-5)


@pytest.mark.parametrize(("clips", "pictured"), [(1, 1), (4, 4), (40, 6)])
def test_no_window_of_a_clip_is_pictured_twice(clips, pictured):
    of = np.repeat(np.arange(clips), 10)
    chosen = grain_report._pictured_windows(GrainSample("test", len(of), np.zeros((len(of), 4), np.float32), of))
    assert len(chosen) == len(set(of[chosen])) == pictured
    drawn = grain_figures.grain_waveforms(np.zeros((pictured, 4)), np.zeros((pictured, 4)), RATE, "waves", "").draw(
        report.LIGHT
    )
    assert len([axes for axes in drawn.axes if axes.get_visible()]) == pictured


class Perfect(GrainAutoencoder):
    """Remembers the windows that it encodes, and finds them again by their code."""

    def encode(self, *inputs):
        table = self.__dict__.setdefault("table", [])
        places = torch.arange(len(table), len(table) + len(inputs[0]), dtype=torch.float32)
        table.extend(inputs[0])
        return torch.stack([places, places % 7, places % 11], 1)

    def decode(self, latents):
        return torch.stack([self.table[int(i)] for i in latents[:, 0].round().long().clamp(0, len(self.table) - 1)])


@pytest.mark.usefixtures("no_pictures")
def test_a_perfect_network_has_no_error_and_adds_nothing(tmp_path, corpus, monkeypatch):
    monkeypatch.setattr(FAMILIES["grain"], "network", Perfect)
    found = evaluate.evaluate(make_run(tmp_path / "run", corpus))
    measured = found["reconstruction"]["unfiltered"]
    assert found["relative_error"] == pytest.approx(0.0, abs=1e-9)
    assert measured["sample_mean_square"]["value"] == 0
    assert measured["spectral_convergence_db"]["value"] == measures.PERFECT_DB
    assert found["spectral_distance"]["reconstruction"] == pytest.approx(0, abs=1e-6)
    assert found["reconstruction"]["filtered"]["log_spectral_distance_db"]["value"] > 10
    for band in found["bands"]["unfiltered"]:
        assert band["level_db"]["mean"] == pytest.approx(0, abs=1e-6)
        assert band["excess_db"]["mean"] == band["noise_db"]["mean"] == grain_measures.LEAST_DB


@pytest.mark.parametrize(
    ("splits", "held_out", "used", "words"),
    [
        (["train", "train", "val"], 0.1, "val", "the validation split"),
        (["train", "train"], 0.1, "held_out", "the ends of training clips"),
        (["train", "train"], 0.0, "train", "the training split"),
    ],
)
@pytest.mark.usefixtures("no_pictures")
def test_where_there_are_no_test_clips_the_next_best_are_taken_and_the_page_says_so(
    tmp_path, splits, held_out, used, words
):
    folder = write_corpus(tmp_path / "shore", splits)
    run = make_run(tmp_path / "run", folder, "grain-adversarial", f"frames.held_out={held_out}")
    found = evaluate.evaluate(run)
    assert found["split"] == used
    assert words in (run.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert (found["spectral_distance"]["ratio"] is None) == (used == "train")
    assert ("held_out" in found["codes"]) == (held_out > 0)


def test_a_corpus_that_fell_silent_is_refused(tmp_path):
    run = make_run(tmp_path / "run", write_corpus(tmp_path / "shore", ["train", "test"], level=0.0))
    with pytest.raises(UserError, match="no training window that sounds"):
        evaluate.evaluate(run)


@pytest.mark.usefixtures("no_pictures")
def test_losses_without_a_weight_of_their_own_are_shown_as_they_are(tmp_path, corpus):
    found = evaluate.evaluate(make_run(tmp_path / "run", corpus))["loss"]
    assert found["steps"] == [3, 7]
    assert found["terms"]["adjudication"] == pytest.approx([1 / 3, 1 / 7])
    assert found["terms"]["mean_square"] == [2.0, 2.0]


@pytest.mark.parametrize(("count", "columns"), [(3, 1), (9, 3), (30, 3)])
def test_losses_are_shown_in_three_parts_where_there_are_enough(count, columns):
    terms = {"likelihood": [-1.0 * i for i in range(count)], "adversarial": [1.0] * count, "total": [0.0] * count}
    [picture] = grain_figures.loss_parts({"steps": range(count), "terms": terms}, count - 1)
    drawn = picture.draw(report.LIGHT)
    assert len(drawn.axes) == 2 * columns
    shown = np.concatenate([axes.lines[0].get_xdata() for axes in drawn.axes[:columns]])
    assert set(shown) == set(range(count))


# ---- the verdict


@pytest.mark.usefixtures("no_pictures")
def test_always_answering_the_mean_has_a_relative_error_near_one(tmp_path, corpus, monkeypatch):
    class Mean(GrainAutoencoder):
        """Gives noise of one colour, whatever it is asked."""

        def decode(self, latents):
            return 0.1 * torch.from_numpy(noise(len(latents), LENGTH))

    monkeypatch.setattr(FAMILIES["grain"], "network", Mean)
    found = evaluate.evaluate(make_run(tmp_path / "run", corpus))
    assert found["relative_error"] > 1.0
    assert any("learned nothing" in line for line in found["shortcomings"])
