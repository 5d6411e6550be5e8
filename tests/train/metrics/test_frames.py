"""Frames of sounds are compared with those of recordings as plain loops over all of them would."""

import numpy as np
import pytest
from timbrel.host.spectra import mel_frames
from timbrel.train.metrics import clips as module
from timbrel.train.metrics.clips import KnownFrames

RATE = 16000


def noises(count, seconds=0.5):
    rng = np.random.default_rng(3)
    shapes = [np.convolve(rng.standard_normal(round(seconds * RATE)), rng.standard_normal(9)) for _ in range(count)]
    return [(0.05 * shape).astype(np.float32) for shape in shapes]


def test_the_threshold_and_distances_are_those_of_plain_loops(monkeypatch):
    monkeypatch.setattr(module, "CELLS", 100)
    clips = noises(4)
    known = KnownFrames(clips, RATE, 800)
    frames = [mel_frames(clip, RATE, 800).astype(np.float64) for clip in clips]

    def nearest(frame, others):
        return min(np.sqrt(np.mean((frame - row) ** 2)) for other in others for row in other)

    left_out = [
        nearest(frame, frames[:number] + frames[number + 1 :]) for number, own in enumerate(frames) for frame in own
    ]
    assert known.threshold_db == pytest.approx(np.quantile(left_out, 0.99), rel=1e-3)
    sound = noises(5)[4]
    expected = [nearest(frame, frames) for frame in mel_frames(sound, RATE, 800).astype(np.float64)]
    assert known.distances_db(sound) == pytest.approx(expected, rel=1e-3)


def test_sounds_of_the_kind_are_within_and_others_are_not():
    rng, time = np.random.default_rng(0), np.arange(RATE) / RATE
    clips = [(0.1 * rng.standard_normal(RATE)).astype(np.float32) for _ in range(4)]
    known = KnownFrames(clips, RATE, 512)
    assert known.share_within((0.1 * rng.standard_normal(RATE)).astype(np.float32)) > 0.9
    assert known.share_within((0.1 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)) < 0.1
    assert known.share_within(clips[2]) == 1
