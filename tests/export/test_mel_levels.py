"""Sets of sounds are as alike as their levels in mel bands are spread."""

import numpy as np
import pytest
from timbrel.export.measures.sounds import MEL_BANDS, mel_levels
from timbrel.train.metrics.clips import frechet

RATE, BINS = 44100, 2049


def test_levels_are_those_under_the_maximum_whatever_the_gain():
    rng = np.random.default_rng(0)
    frames = rng.random((5, BINS), dtype=np.float32)
    levels = mel_levels(frames, RATE)
    assert levels.shape == (5, MEL_BANDS)
    assert mel_levels(1e-3 * frames, RATE) == pytest.approx(levels, abs=1e-3)
    assert mel_levels(np.ones((1, BINS), np.float32), RATE) == pytest.approx(np.zeros((1, MEL_BANDS)), abs=1e-9)


def test_levels_end_sixty_decibels_under_the_maximum_and_silence_lies_there():
    one = np.zeros((2, BINS), np.float32)
    one[0, 100] = 1.0
    levels = mel_levels(one, RATE)
    assert levels.min() == -60.0
    assert levels[0].max() > -30.0
    assert (levels[1] == -60.0).all()


def test_frames_too_short_for_the_narrowest_bands_have_levels_too():
    assert np.isfinite(mel_levels(np.ones((3, 129), np.float32), RATE)).all()


def test_a_shift_of_all_levels_counts_by_its_square_and_a_spread_by_its_difference():
    """The closed form of Gaussians that differ in mean, or in the deviation of independent dimensions."""
    rng = np.random.default_rng(1)
    first = rng.standard_normal((200_000, 3))
    assert frechet(first, first + 2.0) == pytest.approx(3 * 4.0, rel=1e-9)
    assert frechet(first, 3.0 * first) == pytest.approx(3 * 4.0, rel=0.01)
