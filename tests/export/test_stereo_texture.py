"""A texture of stereo sounds has their image, and its report says how near its sides come to theirs."""

import json

import numpy as np
import pytest
import soundfile
from timbrel.export import evaluate
from timbrel.export.evaluate import exported_patch
from timbrel.export.families import grain_report
from timbrel.export.fidelity.textures import along, mean_sides_distance
from timbrel.export.measures import codes
from timbrel.host.spectra import mel_edges_hz
from timbrel.train.corpus.build import build
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.loop import RunOptions
from timbrel.train.run import Run

RATE, CLIPS = 22050, 5
CHANGES = ["training.steps=150", "training.batch_size=32", "frames.hop_length=200", "network.hidden=[64]"]
LEVEL_DB, CORRELATION = 6.0, 0.5


def rain(index, channels):
    """Seconds of rain, [samples, channels]: the left side 6 dB louder, both correlated by a half."""
    rng = np.random.default_rng(index)
    common, left, right = (
        np.convolve(rng.standard_normal(3 * RATE), np.exp(-np.arange(30) * (0.2 + 0.1 * index)), mode="same")
        for _ in range(3)
    )
    sides = np.stack([common + left, common + right], 1) * [10 ** (LEVEL_DB / 40), 10 ** (-LEVEL_DB / 40)]
    return (0.03 * (sides if channels == 2 else sides.mean(1))).astype(np.float32)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    made = {}

    def make(channels):
        if channels not in made:
            folder = tmp_path_factory.mktemp("rains")
            for index in range(CLIPS):
                soundfile.write(folder / f"rain{index}.wav", rain(index, channels), RATE)
            build([folder], folder / "corpus", rate=RATE)
            recipe = load_recipe("grain-noise", [*CHANGES, "network.adjudicator=[16]"])
            start(recipe, folder / "corpus", folder / "run", RunOptions("cpu"))
            made[channels] = folder / "run"
        return Run.open(made[channels])

    return make


@pytest.fixture(scope="module")
def patch(run_of, tmp_path_factory):
    return exported_patch(run_of(2), tmp_path_factory.mktemp("rain"))


@pytest.fixture
def report_of(run_of, monkeypatch, tmp_path):
    monkeypatch.setattr(grain_report, "TRAINING_WINDOWS", 200)
    monkeypatch.setattr(grain_report, "TEST_WINDOWS", 120)
    monkeypatch.setattr(grain_report, "HELD_WINDOWS", 150)
    monkeypatch.setattr(codes, "REPLICATES", 40)
    monkeypatch.setattr(codes, "TRIALS", 5)

    def report(channels):
        run = run_of(channels)
        evaluate.evaluate(run)
        folder = run.folder / "report"
        return json.loads((folder / "report.json").read_text()), (folder / "index.html").read_text()

    return report


def test_its_card_has_the_levels_and_correlations_of_the_recordings(patch):
    inside = (mel_edges_hz(RATE, 32)[1:-1] > 300) & (mel_edges_hz(RATE, 32)[1:-1] < 9000)
    image = np.array(patch.model.card.image)[inside]
    assert image[:, 0] == pytest.approx(np.full(len(image), LEVEL_DB), abs=0.5)
    assert image[:, 1] == pytest.approx(np.full(len(image), CORRELATION), abs=0.06)


def test_its_first_preset_is_as_wide_as_the_recordings_and_no_wider(patch):
    assert patch.preset.grain.spread == 0
    sound = rain(CLIPS, 1)
    left, right = along(patch, sound)
    assert np.corrcoef(left, right)[0, 1] == pytest.approx(CORRELATION, abs=0.08)
    assert 20 * np.log10(left.std() / right.std()) == pytest.approx(LEVEL_DB, abs=0.5)


def test_it_plays_along_the_codes_of_a_sound(patch):
    """A dark rain, then a bright one."""
    sides = along(patch, np.concatenate([rain(0, 1), rain(CLIPS - 1, 1)]), image=0.0)
    assert sides.shape == (2, 6 * RATE)
    powers = np.square(np.abs(np.fft.rfft(np.split(sides[0], 2), axis=1)))
    dark, bright = powers[:, powers.shape[1] // 2 :].sum(1) / powers.sum(1)
    assert bright > 1.15 * dark


def test_a_report_on_stereo_sounds_has_the_distances_of_the_sides(report_of):
    figures, page = report_of(2)
    image, mono = figures["sides"]["image"], figures["sides"]["mono"]
    assert image["sides_db"] == pytest.approx(
        np.mean([image[f"{name}_db"] for name in ("left", "right", "mid", "side")])
    )
    assert image["side_db"] < 8 < 20 < mono["side_db"]
    assert image["left_db"] + image["right_db"] < mono["left_db"] + mono["right_db"]
    assert "<h3>Sides</h3>" in page
    assert f"{image['sides_db']:.1f}" in page


def test_a_report_on_mono_sounds_has_none(report_of):
    figures, page = report_of(1)
    assert figures["sides"] is None
    assert "<h3>Sides</h3>" not in page


# ---- distances of mean spectra


def test_equal_textures_have_no_distance_and_level_counts():
    sides = rain(0, 2).T
    assert mean_sides_distance(sides, sides, RATE) == pytest.approx((0, 0, 0, 0, 0), abs=1e-9)
    assert mean_sides_distance(sides, 0.5 * sides, RATE) == pytest.approx((6.02,) * 5, abs=0.01)


def test_another_moment_of_the_same_texture_is_near():
    sides = rain(0, 2).T
    assert mean_sides_distance(sides[:, : RATE + RATE // 2], sides[:, RATE + RATE // 2 :], RATE).sides_db < 1.5


def test_opposite_sides_exchange_mid_and_side():
    sides = rain(0, 2).T * np.array([[1.0], [2.0]])  # equally loud: mid over side by the correlation
    exchanged = mean_sides_distance(sides, sides * np.array([[1.0], [-1.0]]), RATE)
    assert (exchanged.left_db, exchanged.right_db) == pytest.approx((0, 0), abs=1e-9)
    expected = 10 * np.log10((1 + CORRELATION) / (1 - CORRELATION))
    assert (exchanged.mid_db, exchanged.side_db) == pytest.approx((expected, expected), abs=0.8)
