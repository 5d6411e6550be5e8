"""Mel bands and centroids are librosa's, levels and envelopes plain sums."""

import math
import warnings

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from timbrel.host import spectra
from timbrel.host.spectra import (
    CLIP_BANDS,
    CLIP_FRAME,
    CLIP_HOP,
    LOWEST_DB,
    centred_frames,
    centroids,
    clip_mel_filters,
    envelope_db,
    log_mel,
    mel_edges_hz,
    mel_filters,
    mel_frames,
    mel_triangles,
    step_levels_db,
    step_levels_to_end_db,
)

RATE = 16000
RATES = [8000, 11025, 16000, 44100]


def noises(count, samples, seed=0):
    """Clips of noise that fades, each at a rate of its own, [count, samples]."""
    rng = np.random.default_rng(seed)
    fades = np.exp(-np.outer(rng.uniform(2, 20, count), np.arange(samples)) / samples)
    return (0.3 * fades * rng.standard_normal((count, samples))).astype(np.float32)


def wild(most):
    """Clips of whatever samples, from one of one sample on."""
    return arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, most)), elements=st.floats(-10, 10, width=32))


@given(st.integers(4000, 200_000), st.sampled_from([256, 1002, 1024, 4096]), st.integers(8, 128))
def test_bands_and_filters_are_librosas_to_the_bit(rate, frame_length, band_count):
    """Models hold them: another bit would change their files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some bands contain no bin
        area = librosa.filters.mel(sr=rate, n_fft=frame_length, n_mels=band_count)
        height = librosa.filters.mel(sr=rate, n_fft=frame_length, n_mels=band_count, norm=None, dtype=np.float64)
    assert mel_filters(rate, frame_length, band_count).tobytes() == area.tobytes()
    assert mel_triangles(rate, frame_length, band_count).tobytes() == height.tobytes()
    edges = librosa.mel_frequencies(band_count + 2, fmin=0.0, fmax=rate / 2)
    assert mel_edges_hz(rate, band_count).tobytes() == edges.tobytes()


@given(st.integers(4000, 200_000))
def test_filters_of_clips_are_the_same_but_for_rounding(rate):
    expected = mel_filters(rate, CLIP_FRAME, CLIP_BANDS).T
    assert clip_mel_filters(rate) == pytest.approx(expected, rel=1e-6, abs=1e-6 * float(expected.max()))


@pytest.mark.parametrize("hop", [3, 8])
def test_frames_are_centred_on_each_hop_from_the_first_sample_on(hop):
    sound = np.arange(1, 18, dtype=np.float32)
    frames = centred_frames(np.stack([sound, -sound]), 8, hop)
    assert frames.shape == (2, 1 + 17 // hop, 8)
    for index, frame in enumerate(frames[0]):
        places = range(index * hop - 4, index * hop + 4)
        assert frame.tolist() == [sound[place] if 0 <= place < 17 else 0 for place in places]
    assert (frames[1] == -frames[0]).all()


def test_centroids_are_librosas_and_silence_has_0():
    magnitudes = np.abs(np.fft.rfft(noises(5, 1024)))
    magnitudes[2] = 0
    positions = np.fft.rfftfreq(1024, 1 / RATE)
    expected = librosa.feature.spectral_centroid(S=magnitudes.T, sr=RATE)[0]
    assert centroids(magnitudes, positions) == pytest.approx(expected)
    assert centroids(magnitudes, positions)[2] == 0


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("samples", [1, 255, 256, 1023, 1024, 8192, 8193])
def test_levels_are_those_of_librosa_under_the_loudest_cell(rate, samples):
    clips = noises(3, samples)
    for clip, levels in zip(clips, log_mel(clips, rate), strict=True):
        power = librosa.feature.melspectrogram(
            y=clip, sr=rate, n_fft=CLIP_FRAME, hop_length=CLIP_HOP, n_mels=CLIP_BANDS
        )
        expected = librosa.power_to_db(power, ref=np.max, top_db=-LOWEST_DB, amin=1e-20).T
        assert levels.shape == expected.shape == (1 + samples // CLIP_HOP, CLIP_BANDS)
        assert levels == pytest.approx(expected, abs=0.02)


def test_many_clips_have_the_levels_of_each_alone():
    clips = noises(130, 600)
    assert log_mel(clips, RATE) == pytest.approx(
        np.concatenate([log_mel(clip[None], RATE) for clip in clips]), abs=1e-2
    )
    assert log_mel(clips[:0], RATE).shape == (0, 3, CLIP_BANDS)


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


def test_steps_have_the_levels_of_sines_and_a_part_of_a_step_counts_only_to_the_end():
    sine = 0.5 * np.sin(2 * np.pi * np.arange(4 * 2048 + 1024) * 8 / 2048)
    level = 20 * math.log10(0.5) - 3.01
    assert step_levels_db(sine, 2048) == pytest.approx([level] * 4, abs=0.01)
    assert step_levels_to_end_db(sine, 2048) == pytest.approx([level] * 5, abs=0.01)
    assert step_levels_db(np.zeros(2048), 2048) == -100
    assert step_levels_to_end_db(np.zeros(2049), 2048) == pytest.approx([-120] * 2)


def test_levels_are_those_of_librosa_s_mel_spectrogram_in_decibels_of_full_scale():
    sound = noises(1, RATE // 2)[0]
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
    sound = noises(1, RATE // 2)[0]
    whole = mel_frames(sound, RATE, 100)
    monkeypatch.setattr(spectra, "FRAMES_TOGETHER", 7)
    assert mel_frames(sound, RATE, 100) == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("rate", RATES)
def test_an_envelope_is_the_root_mean_square_around_each_millisecond(rate):
    clip = np.random.default_rng(0).standard_normal((2, 300)).astype(np.float32)
    width = round(0.01 * rate)
    for row, levels in zip(clip, envelope_db(clip, rate), strict=True):
        for moment, level in enumerate(levels):
            first = int(moment * rate / 1000 + 1e-9) - width // 2
            inside = [float(row[i]) ** 2 for i in range(max(0, first), min(len(row), first + width))]
            assert level == pytest.approx(10 * math.log10(math.fsum(inside) / width), abs=1e-3)


@pytest.mark.parametrize("hz", [45.0, 60.0, 200.0, 3000.0])
def test_the_wave_of_a_low_tone_is_not_taken_for_its_loudness(hz):
    steady = envelope_db(0.5 * np.sin(2 * np.pi * hz * np.arange(44100) / 44100)[None], 44100)[0, 20:-20]
    assert np.ptp(steady) < 1.5
