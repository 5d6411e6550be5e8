"""Frames of sounds are compared with those of recordings as plain loops over all of them would."""

import numpy as np
import pytest
from timbrel.train.metrics import clips as module
from timbrel.train.metrics.clips import KnownFrames, mel_frames

RATE = 16000


def noises(count, seconds=0.5):
    rng = np.random.default_rng(3)
    shapes = [np.convolve(rng.standard_normal(round(seconds * RATE)), rng.standard_normal(9)) for _ in range(count)]
    return [(0.05 * shape).astype(np.float32) for shape in shapes]


def test_levels_are_those_of_librosa_s_mel_spectrogram_in_decibels_of_full_scale():
    librosa = pytest.importorskip("librosa")
    sound = noises(1)[0]
    power = librosa.feature.melspectrogram(
        y=sound, sr=RATE, n_fft=1024, hop_length=300, n_mels=64, center=True, pad_mode="constant"
    )
    weights = librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=64).max(1)[:, np.newaxis]
    expected = 10 * np.log10(np.maximum(power / weights * (2 / 512) ** 2, 1e-8)).T
    assert mel_frames(sound, RATE, 300) == pytest.approx(expected, abs=0.02)


def test_a_sine_of_full_scale_is_0_db_and_silence_the_lowest():
    time = np.arange(RATE) / RATE
    levels = mel_frames(np.sin(2 * np.pi * 1000 * time).astype(np.float32), RATE, 512)
    assert levels[8:-8].max(1) == pytest.approx(0, abs=2.5)
    assert mel_frames(np.zeros(4000, np.float32), RATE, 512) == pytest.approx(-80)


def test_a_long_sound_s_frames_are_those_of_its_parts(monkeypatch):
    sound = noises(1)[0]
    whole = mel_frames(sound, RATE, 100)
    monkeypatch.setattr(module, "BATCH_SPECTRA", 7)
    assert mel_frames(sound, RATE, 100) == pytest.approx(whole, abs=1e-4)


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
