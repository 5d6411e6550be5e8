"""Loudness and standing still are measured as they were put into sounds."""

import numpy as np
import pytest
from timbrel.train.metrics.streams import constant_share, loudness_range, repeating_share, share_in_range

RATE, FRAME = 44100, 2048


def noise(frames, seed=0, level=0.1):
    return (level * np.random.default_rng(seed).standard_normal(frames * FRAME)).astype(np.float32)


def drums(frames):
    """A hit every three frames and a half, each of another colour."""
    rng, sound = np.random.default_rng(2), np.zeros(frames * FRAME)
    for start in range(0, len(sound), 7 * FRAME // 2):
        hit = rng.standard_normal(3 * FRAME) * np.exp(-np.arange(3 * FRAME) / rng.uniform(400, 2000))
        part = sound[start : start + 3 * FRAME]
        part += np.convolve(hit, rng.standard_normal(8), "same")[: len(part)]
    return (0.1 * sound).astype(np.float32)


def test_the_range_of_loudness_is_that_of_the_clips():
    time = np.arange(4 * FRAME) * 8 / FRAME
    sine = np.sin(2 * np.pi * time).astype(np.float32)
    lowest, highest = loudness_range([0.1 * sine, 0.5 * sine], FRAME)
    assert (lowest, highest) == pytest.approx((-23.01, -9.03), abs=0.01)
    course = np.concatenate([sine * gain for gain in (0.05, 0.2, 0.3, 0.9)])
    assert share_in_range(course, FRAME, lowest, highest) == 0.5


def test_a_frame_for_ever_repeats_and_drums_tones_and_noise_do_not():
    time = np.arange(64 * FRAME) / RATE
    assert repeating_share(np.tile(noise(1), 64), FRAME) == 1
    assert repeating_share(np.tile(drums(1), 64) + noise(64, level=1e-4), FRAME) == 1
    for other in (drums(64), noise(64), np.sin(2 * np.pi * 441 * time), np.zeros(64 * FRAME)):
        assert repeating_share(other.astype(np.float32), FRAME) == 0
    tone = np.sin(2 * np.pi * 16 * np.arange(64 * FRAME) / FRAME)  # sixteen periods a frame: alike at eighths too
    assert repeating_share(tone.astype(np.float32), FRAME) == 0
    half = np.concatenate([drums(32), np.tile(noise(1), 32)])
    assert repeating_share(half, FRAME) == 0.5


def test_nothing_varies_in_silence_tones_and_a_frame_for_ever():
    time = np.arange(64 * FRAME) / RATE
    for still in (np.zeros(64 * FRAME), np.sin(2 * np.pi * 300 * time), np.tile(noise(1), 64), np.ones(64 * FRAME)):
        assert constant_share(still.astype(np.float32), RATE, FRAME) > 0.85
    for moving in (drums(64), noise(64)):
        assert constant_share(moving, RATE, FRAME) == 0
    half = np.concatenate([drums(64), np.tile(noise(1), 64)])
    assert constant_share(half, RATE, FRAME) == pytest.approx(0.5, abs=0.07)
