"""An image has the levels and correlations of a recording's sides; distances of sides tell a rendition's from them."""

import numpy as np
import pytest
from timbrel.export.fidelity.images import corpus_image, measured_image, sides_distance

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


def test_a_mono_corpus_has_no_image(tmp_path):
    assert corpus_image(note_corpus(tmp_path / "c", [("train", 60, {}), ("train", 62, {})])) is None
