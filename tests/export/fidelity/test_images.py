"""An image has the levels and correlations of a recording's sides; distances of sides tell a rendition's from them."""

import numpy as np
import pytest
from timbrel.export.fidelity.images import corpus_image, differences_of_sides, mean_image, sides_distance
from timbrel.host.model import image as image_module
from timbrel.host.model.image import measured_image
from timbrel.host.spectra import mel_edges_hz
from timbrel.train.corpus.store import Corpus, writing

from .tones import RATE, note_corpus


def noise(correlation=1.0, level_db=0.0, seconds=2.0):
    """Sides with this correlation, the left one louder by this level, [2, samples]."""
    first, second = 0.1 * np.random.default_rng(0).standard_normal((2, round(seconds * RATE)))
    other = correlation * first + np.sqrt(1 - correlation**2) * second
    return np.stack([10 ** (level_db / 20) * first, other]).astype(np.float32)


@pytest.mark.parametrize(("correlation", "level"), [(1.0, 0.0), (0.5, 0.0), (0.0, 9.0), (-0.8, -6.0)])
def test_an_image_is_the_sides_level_and_correlation_in_each_band(correlation, level):
    image = measured_image(noise(correlation, level), RATE)
    assert image.shape == (32, 2)
    assert image[1:, 0] == pytest.approx(np.full(31, level), abs=1.0)
    assert image[4:, 1] == pytest.approx(np.full(28, correlation), abs=0.15)


def test_a_silent_side_has_a_finite_image():
    image = measured_image(noise() * np.array([[1.0], [0.0]], np.float32), RATE)
    assert np.isfinite(image).all()
    assert image[:, 0].max() <= 60


def test_bands_silent_on_both_sides_are_in_the_middle():
    assert measured_image(np.zeros((2, RATE), np.float32), RATE) == pytest.approx(np.tile([0.0, 1.0], (32, 1)))


def test_equal_sides_have_no_distance_and_level_does_not_count():
    sides = noise(0.3, 3.0)
    assert sides_distance(sides, 0.25 * sides, RATE) == pytest.approx((0, 0, 0, 0, 0), abs=0.01)


def test_mono_is_far_in_the_side_alone_where_sides_are_equally_loud():
    sides = noise(0.0)
    mono = np.tile(sides[:1], (2, 1))
    found = sides_distance(sides, mono, RATE)
    assert found.side_db > 30  # silent: the floor
    assert found.mid_db == pytest.approx(3.0, abs=2.5)
    assert found.left_db < 3
    assert found.sides_db == pytest.approx(np.mean(found[:4]))


def test_swapped_sides_are_far_on_both():
    sides = noise(1.0, 12.0)
    found = sides_distance(sides, sides[::-1], RATE)
    assert found.left_db == pytest.approx(12, abs=1)
    assert found.right_db == pytest.approx(12, abs=1)


@pytest.mark.parametrize(("correlation", "level"), [(0.0, 9.0), (0.5, 0.0), (-0.5, 0.0)])
def test_differences_of_sides_are_their_levels_and_the_mid_s_over_the_side_s(correlation, level):
    sounding = np.concatenate([noise(correlation, level), np.zeros((2, RATE), np.float32)], axis=1)
    differences = differences_of_sides(sounding, RATE)
    assert len(differences) < 1.1 * 2 * RATE / 1024  # of the frames that sound
    left_over_right, mid_over_side = np.split(differences.mean(0), 2)
    assert mel_edges_hz(RATE, 32)[len(left_over_right) + 1] <= 6000 < mel_edges_hz(RATE, 32)[len(left_over_right) + 2]
    assert left_over_right[4:].mean() == pytest.approx(level, abs=0.5)
    assert mid_over_side[4:].mean() == pytest.approx(10 * np.log10((1 + correlation) / (1 - correlation)), abs=0.7)


def test_a_mono_corpus_has_no_image(tmp_path):
    corpus = note_corpus(tmp_path / "c", [("train", 60, {}), ("train", 62, {})])
    assert corpus_image(corpus) is None
    assert mean_image(corpus) is None


def stereo_corpus(folder, *clips):
    """A corpus of clips, sides [2, samples] each."""
    with writing(folder, RATE) as writer:
        for number, sides in enumerate(clips):
            track = np.full(-(-sides.shape[1] // 1024), np.nan, np.float32)
            writer.append(sides.mean(0), track, name=f"{number}", group=f"{number}", sides=sides)
        writer.finish({f"{number}": "train" for number in range(len(clips))}, name="sides")
    return Corpus.open(folder)


def test_a_textures_image_is_that_of_its_mean_spectra_to_which_loud_sounds_contribute_more(tmp_path):
    """Three sounds in the middle and a loud one without correlation: the median of notes is the middle."""
    middle = [np.tile(noise(0.0)[:1], (2, 1)) for _ in range(3)]
    corpus = stereo_corpus(tmp_path / "c", *middle, 10 * noise(0.0))
    correlations, medians = (np.array(image(corpus))[4:, 1] for image in (mean_image, corpus_image))
    assert correlations == pytest.approx(np.full(28, 0.0), abs=0.15)
    assert medians == pytest.approx(np.ones(28))


def test_a_long_sound_is_measured_in_pieces(monkeypatch):
    sides = noise(0.3, 3.0)
    whole = measured_image(sides, RATE)
    monkeypatch.setattr(image_module, "TOGETHER", 3)
    assert measured_image(sides, RATE) == pytest.approx(whole, abs=1e-6)
