"""Levels of clips are librosa's, and distances what their definition says, cell by cell."""

import math

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from timbrel.host.resynthesis.distance import (
    BANDS,
    FRAME,
    HOP,
    LOWEST_DB,
    RANGE_DB,
    distance_db,
    distances_db,
    log_mel,
    sounding_frames,
)

RATE = 16000


def noises(count, samples, seed=0):
    """Clips of noise that fades, each at a rate of its own, [count, samples]."""
    rng = np.random.default_rng(seed)
    fades = np.exp(-np.outer(rng.uniform(2, 20, count), np.arange(samples)) / samples)
    return (0.3 * fades * rng.standard_normal((count, samples))).astype(np.float32)


def wild(most):
    """Clips of whatever samples, from one of one sample on."""
    return arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, most)), elements=st.floats(-10, 10, width=32))


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("samples", [1, 255, 256, 1023, 1024, 8192, 8193])
def test_levels_are_those_of_librosa_under_the_loudest_cell(rate, samples):
    clips = noises(3, samples)
    for clip, levels in zip(clips, log_mel(clips, rate), strict=True):
        power = librosa.feature.melspectrogram(y=clip, sr=rate, n_fft=FRAME, hop_length=HOP, n_mels=BANDS)
        expected = librosa.power_to_db(power, ref=np.max, top_db=-LOWEST_DB, amin=1e-20).T
        assert levels.shape == expected.shape == (1 + samples // HOP, BANDS)
        assert levels == pytest.approx(expected, abs=0.02)


def test_many_clips_have_the_levels_of_each_alone():
    clips = noises(130, 600)
    assert log_mel(clips, RATE) == pytest.approx(
        np.concatenate([log_mel(clip[None], RATE) for clip in clips]), abs=1e-2
    )
    assert log_mel(clips[:0], RATE).shape == (0, 3, BANDS)


def test_gain_changes_no_level_and_silence_lies_at_the_lowest():
    clips = noises(4, 4000)
    assert log_mel(0.01 * clips, RATE) == pytest.approx(log_mel(clips, RATE), abs=1e-2)
    assert (log_mel(np.zeros((2, 4000), np.float32), RATE) == LOWEST_DB).all()
    assert (log_mel(np.full((1, 4000), 1e-8, np.float32), RATE) == LOWEST_DB).all()


@given(wild(3000))
def test_levels_of_whatever_clips_are_numbers_in_their_range(clips):
    levels = log_mel(clips, RATE)
    assert np.isfinite(levels).all()
    assert levels.min() >= LOWEST_DB
    assert levels.max() <= 1e-4


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
    levels = np.full((1, 4, BANDS), -10.0, np.float32)
    levels[0, 0, 0] = 0
    changed = levels.copy()
    changed[:, :, 16:32] -= 6
    assert distance_db(levels, changed)[0] == pytest.approx(6 * math.sqrt(16 / BANDS))


def test_frames_that_sound_are_kept_and_others_left_out():
    levels = np.full((2, 3, BANDS), LOWEST_DB, np.float32)
    levels[0, 1, 5], levels[1, 2, 7] = 0.0, -39.0
    kept = sounding_frames(levels)
    assert kept.shape == (2, BANDS)
    assert kept.min() == -RANGE_DB
    assert (kept[0, 5], kept[1, 7]) == (0.0, -39.0)
