"""Measures of continued sound, against sounds of which the answer is known."""

import numpy as np
import pytest
from timbrel.export.measures.sounds import edges_db, onset_measure, onsets, rms_db

RATE = 44100


def strokes(times, seconds=2.0, seed=0):
    """Bursts of noise that die away, each beginning on its time."""
    rng, sound = np.random.default_rng(seed), np.zeros(round(seconds * RATE), np.float32)
    for time in times:
        at, length = round(time * RATE), round(0.1 * RATE)
        sound[at : at + length] += (0.5 * rng.standard_normal(length) * np.exp(-np.arange(length) / 1000))[
            : len(sound) - at
        ]
    return sound


def test_onsets_are_found_where_noise_begins():
    times = [0.0, 0.25, 0.4, 0.9, 1.3, 1.35, 1.7]
    found = onsets(strokes(times), RATE)
    assert found == pytest.approx(times, abs=0.008)
    assert len(onsets(np.zeros(RATE, np.float32), RATE)) == 0


def test_the_measure_of_onsets_counts_hits_misses_and_extras():
    asked = strokes([0.1, 0.5, 0.9, 1.3])
    assert onset_measure(asked, strokes([0.12, 0.48, 0.9, 1.3], seed=1), RATE) == 1
    assert onset_measure(asked, strokes([0.1, 0.5, 0.9], seed=1), RATE) == pytest.approx(2 * 3 / 7)
    assert onset_measure(asked, strokes([0.1, 0.3, 0.5, 0.9, 1.3], seed=1), RATE) == pytest.approx(2 * 4 / 9)
    assert onset_measure(asked, strokes([0.15, 0.55, 0.95, 1.35], seed=1), RATE) == 0
    silent = np.zeros(RATE, np.float32)
    assert onset_measure(silent, silent, RATE) == 1


@pytest.mark.parametrize("overlap", [0, 128])
def test_clicks_where_frames_meet_are_heard_and_noise_all_over_is_not(overlap):
    hop = 2048 - overlap
    noise = 0.01 * np.random.default_rng(0).standard_normal(100 * hop).astype(np.float32)
    assert edges_db(noise, RATE, hop, overlap) == pytest.approx(0, abs=0.7)
    clicked = noise.copy()
    clicked[hop - overlap // 2 :: hop] += 1.0
    assert edges_db(clicked, RATE, hop, overlap) > 10
    inside = noise.copy()
    inside[hop // 2 :: hop] += 1.0
    assert edges_db(inside, RATE, hop, overlap) < -6


def test_levels_are_in_decibels_of_full_scale():
    assert rms_db(np.full(100, 0.1, np.float32)) == pytest.approx(-20)
    assert rms_db(np.zeros(100, np.float32)) == pytest.approx(-120)
