"""Measures of recovered sounds are those of their definitions, and of scikit-image where it has them."""

import numpy as np
import pytest
import scipy.ndimage
from timbrel.host.resynthesis.distance import SIDE, measures, similarity, spectrogram

RATE = 16000


def pictures():
    rows, columns = np.mgrid[:24, :40]
    first = 0.5 + 0.5 * np.sin(0.3 * rows) * np.cos(0.2 * columns)
    return first, np.clip(first + 0.1 * np.sin(1.7 * rows + 0.9 * columns), 0, 1), first**2


def test_similarity_is_scikit_images():
    """``skimage.metrics.structural_similarity(first, other, data_range=1.0)`` of version 0.25."""
    first, noisy, squared = pictures()
    assert similarity(first, first) == pytest.approx(1)
    assert similarity(first, noisy) == pytest.approx(0.8958619215414623, abs=1e-9)
    assert similarity(first, squared) == pytest.approx(0.7437739245363197, abs=1e-9)


def test_similarity_is_its_formula_with_filters_of_scipy():
    rng = np.random.default_rng(0)
    first, second = rng.random((30, 17)), rng.random((30, 17))

    def mean(picture):
        inside = slice(SIDE // 2, -(SIDE // 2))
        return scipy.ndimage.uniform_filter(picture, SIDE)[inside, inside]

    bias = SIDE**2 / (SIDE**2 - 1)
    x, y = mean(first), mean(second)
    variances = bias * (mean(first**2) - x**2), bias * (mean(second**2) - y**2)
    shared = bias * (mean(first * second) - x * y)
    expected = (2 * x * y + 1e-4) * (2 * shared + 9e-4) / ((x**2 + y**2 + 1e-4) * (sum(variances) + 9e-4))
    assert similarity(first, second) == pytest.approx(expected.mean(), abs=1e-9)


@pytest.mark.parametrize("shape", [(3, 40), (6, 6), (1, 1)])
def test_pictures_smaller_than_a_square_are_compared_too(shape):
    picture = np.random.default_rng(0).random(shape)
    assert similarity(picture, picture) == pytest.approx(1)
    assert similarity(picture, 1 - picture) < 0.9


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_spectrogram_has_a_sines_amplitude_at_its_place(rate):
    hz = rate / 16
    found = spectrogram(np.sin(2 * np.pi * hz * np.arange(rate) / rate).astype(np.float32), rate)
    length = 2 * (found.shape[1] - 1)
    assert 0.02 < length / rate < 0.05
    middle = found[len(found) // 2]
    assert middle.argmax() == length // 16
    assert middle.max() == pytest.approx(length / 4, rel=1e-3)


def test_the_same_is_perfect_gain_is_left_to_velocity_and_other_sounds_are_worse():
    rng = np.random.default_rng(0)
    sound = (np.sin(np.arange(RATE) / 9) * np.exp(-np.arange(RATE) / 4000)).astype(np.float32)
    noisy = (sound + 0.05 * rng.standard_normal(RATE)).astype(np.float32)
    same, soft = measures(sound, sound, RATE), measures(sound, 0.1 * sound, RATE)
    for found in (same, soft):
        assert found.spectrogram_mse == pytest.approx(0, abs=1e-9)
        assert found.ssim == pytest.approx(1)
        assert found.log_mel_db == pytest.approx(0, abs=0.01)
    assert measures(sound, 0.1 * sound, RATE, gain_counts=True).spectrogram_mse > 1e-4
    worse = measures(sound, noisy, RATE)
    assert worse.spectrogram_mse > 1e-5
    assert worse.ssim < 0.99
    assert worse.log_mel_db > 0.5
    other = measures(sound, np.roll(noisy, 4000), RATE)
    assert other.spectrogram_mse > worse.spectrogram_mse


def test_silence_has_figures_too():
    found = measures(np.zeros(4000, np.float32), np.zeros(4000, np.float32), RATE)
    assert np.isfinite(found).all()
