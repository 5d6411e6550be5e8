"""Distances of clips are what their definition says, cell by cell."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from timbrel.host.resynthesis.distance import RANGE_DB, distance_db, distances_db, sounding_frames
from timbrel.host.spectra import CLIP_BANDS, LOWEST_DB, log_mel

RATE = 16000


def noises(count, samples, seed=0):
    """Clips of noise that fades, each at a rate of its own, [count, samples]."""
    rng = np.random.default_rng(seed)
    fades = np.exp(-np.outer(rng.uniform(2, 20, count), np.arange(samples)) / samples)
    return (0.3 * fades * rng.standard_normal((count, samples))).astype(np.float32)


def wild(most):
    """Clips of whatever samples, from one of one sample on."""
    return arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, most)), elements=st.floats(-10, 10, width=32))


def test_a_distance_is_the_root_mean_square_over_cells_that_sound_in_the_clip_asked_for():
    asked, given = log_mel(noises(3, 3000), RATE), log_mel(noises(3, 3000, seed=1), RATE)
    for one, other, found in zip(asked, given, distance_db(asked, given), strict=True):
        differences = [a - b for a, b in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True) if a > -40]
        assert found == pytest.approx(math.sqrt(math.fsum(d * d for d in differences) / len(differences)), rel=1e-5)


def test_distances_of_each_from_each_are_those_of_pairs():
    asked, given = log_mel(noises(5, 3000), RATE), log_mel(noises(7, 3000, seed=1), RATE)
    expected = [[distance_db(one[None], other[None])[0] for other in given] for one in asked]
    assert distances_db(asked, given) == pytest.approx(np.array(expected), rel=1e-4)
    assert np.diag(distances_db(asked, asked)) == pytest.approx(np.zeros(5), abs=0.05)


@given(wild(2000))
def test_distances_of_whatever_clips_are_numbers_of_at_most_ninety_decibels(clips):
    levels = log_mel(clips, RATE)
    apart = distances_db(levels, levels[::-1])
    assert np.isfinite(apart).all()
    assert apart.min() >= 0
    assert apart.max() <= -LOWEST_DB + 0.01
    assert distance_db(levels, levels) == pytest.approx(np.zeros(len(levels)))


def test_gain_and_silence_after_a_clip_change_no_distance():
    asked, given = noises(3, 3000), noises(3, 3000, seed=1)
    longer = [np.pad(clips, ((0, 0), (0, 5000))) for clips in (asked, 0.1 * given)]
    expected = distance_db(log_mel(asked, RATE), log_mel(given, RATE))
    assert distance_db(*(log_mel(clips, RATE) for clips in longer)) == pytest.approx(expected, rel=0.1)


def test_an_equalizer_is_as_far_as_it_changes_levels():
    """A band that is 6 dB softer than asked, among loud ones that stay, is 6 dB away in its cells."""
    levels = np.full((1, 4, CLIP_BANDS), -10.0, np.float32)
    levels[0, 0, 0] = 0
    changed = levels.copy()
    changed[:, :, 16:32] -= 6
    assert distance_db(levels, changed)[0] == pytest.approx(6 * math.sqrt(16 / CLIP_BANDS))


def test_frames_that_sound_are_kept_and_others_left_out():
    levels = np.full((2, 3, CLIP_BANDS), LOWEST_DB, np.float32)
    levels[0, 1, 5], levels[1, 2, 7] = 0.0, -39.0
    kept = sounding_frames(levels)
    assert kept.shape == (2, CLIP_BANDS)
    assert kept.min() == -RANGE_DB
    assert (kept[0, 5], kept[1, 7]) == (0.0, -39.0)
