"""Distances between grains are those that other hands compute."""

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from timbrel.export.measures import grains as grain_measures
from timbrel.export.measures.grains import filtered
from timbrel.train.metrics.clips import frechet

from .grains import LENGTH, RATE, noise


@given(st.integers(0, 2**31), st.lists(st.sampled_from([2, 5]), min_size=1, max_size=8))
def test_distances_are_those_of_the_book_over_all_and_over_clips(seed, clips):
    clips = np.array(clips)
    asked, got = noise(2, len(clips), 64, seed=seed)
    window = scipy.signal.get_window("hann", 64)

    def naive(a, b):
        before, after = (np.abs(np.fft.rfft(x * window, 2048)) for x in (a, b))
        return {
            "sample_mean_square": np.mean((a - b) ** 2),
            "sample_error_db": 20 * np.log10(np.linalg.norm(a - b) / np.linalg.norm(a)),
            "spectral_convergence_db": 20 * np.log10(np.linalg.norm(before - after) / np.linalg.norm(before)),
        }

    found = grain_measures.reconstruction(asked, got, clips, RATE)
    each = [naive(asked[clips == clip], got[clips == clip]) for clip in np.unique(clips)]
    for name, value in naive(asked, got).items():
        values = [clip[name] for clip in each]
        wanted = {"value": value, "mean": np.mean(values), "deviation": np.std(values)}
        assert found[name] == pytest.approx(wanted, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("rate", [4000, 6000, 6400, RATE])
def test_grains_at_half_level_are_six_db_off_in_every_spectral_way(rate):
    asked = noise(20, LENGTH)
    found = grain_measures.reconstruction(asked, asked / 2, np.zeros(20, np.int64), rate)
    assert found["spectral_convergence_db"]["value"] == pytest.approx(-6.0206, abs=1e-3)
    assert found["sample_error_db"]["value"] == pytest.approx(-6.0206, abs=1e-3)
    assert found["log_spectral_distance_db"]["value"] == pytest.approx(6.0206, abs=1e-3)
    for band in grain_measures.bands(asked, asked / 2, np.zeros(20, np.int64), rate, True):
        assert band["level_db"]["mean"] == pytest.approx(-6.0206, abs=1e-3)
        assert band["excess_db"]["mean"] == grain_measures.LEAST_DB


@pytest.mark.parametrize("length", [16, 250, 1002, 5000])
@pytest.mark.parametrize("rate", [8000, 22050, 192000])
def test_white_noise_has_its_power_in_every_mel_band_and_silence_the_least(length, rate):
    level = grain_measures.log_mel(0.1 * noise(300, length), rate)
    assert level.shape == (300, 40)
    assert 10 * np.log10(np.mean(10 ** (level / 10), 0)) == pytest.approx(-20, abs=1.5)
    assert np.all(grain_measures.log_mel(np.zeros((2, length), np.float32), rate) == -100)


def band_at(found, low):
    return next(band for band in found if band["low_hz"] == low)


def test_noise_in_one_band_is_found_there_and_nowhere_else():
    asked, more = noise(400, 1002), noise(400, 1002, seed=1)
    spectra = np.fft.rfft(more)
    hz = np.fft.rfftfreq(1002, 1 / 22050)
    spectra[:, (hz < 3500) | (hz > 5500)] = 0
    given_ = asked + np.fft.irfft(spectra, 1002).astype(np.float32)
    found = grain_measures.bands(asked, given_, np.arange(400) % 4, 22050, True)
    assert [band["low_hz"] for band in found] == [0, 500, 1000, 3000, 6000, 3000]
    assert found[-1]["high_hz"] == 11025
    share = 2000 / 3000  # of the band from 3 to 6 kHz
    middle = band_at(found, 3000)
    assert middle["level_db"]["mean"] == pytest.approx(10 * np.log10(1 + share), abs=0.3)
    assert middle["excess_db"]["mean"] == pytest.approx(10 * np.log10(share), abs=0.5)
    assert middle["noise_db"]["mean"] == pytest.approx(10 * np.log10(share), abs=0.5)
    for low in (0, 500, 1000, 6000):
        assert band_at(found, low)["excess_db"]["mean"] < -30
        assert band_at(found, low)["noise_db"]["mean"] < -30


def test_a_filtered_copy_is_no_noise_and_fresh_noise_of_the_same_spectrum_adds_next_to_nothing():
    asked = noise(600, LENGTH)
    clips = np.arange(600) % 2
    copy = np.fft.irfft(np.fft.rfft(asked) * np.linspace(1, 0.2, LENGTH // 2 + 1), LENGTH).astype(np.float32)
    for band in grain_measures.bands(asked, copy, clips, RATE, True):
        assert band["noise_db"]["mean"] < -25
    for band in grain_measures.bands(asked, noise(600, LENGTH, seed=5), clips, RATE, True):
        assert band["level_db"]["mean"] == pytest.approx(0, abs=0.4)
        assert band["noise_db"]["mean"] == pytest.approx(0, abs=0.4)
        assert band["excess_db"]["mean"] < -10


def test_the_noise_of_a_band_is_what_scipys_coherence_leaves():
    sound = noise(256 * 200)
    other = 0.5 * sound + 0.5 * noise(256 * 200, seed=3)
    _, coherence = scipy.signal.coherence(sound, other, RATE, nperseg=256, noverlap=0, detrend=False)
    wanted = 10 * np.log10(np.mean((1 - coherence) * 0.5))  # of white noise of half the power
    cut = [x.reshape(200, 256) for x in (sound, other)]
    found = grain_measures.bands(*cut, np.zeros(200, np.int64), RATE, True)
    assert band_at(found, 1000)["noise_db"]["mean"] == pytest.approx(wanted, abs=0.4)


def test_networks_that_follow_no_waveform_have_no_figure_for_noise():
    asked = noise(20, LENGTH)
    assert all(b["noise_db"] is None for b in grain_measures.bands(asked, asked, np.zeros(20, int), RATE, False))


@given(st.integers(0, 2**31), st.integers(2, 6), st.sampled_from([0, 1]))
def test_the_frechet_distance_is_that_of_scipys_root_of_the_product(seed, dimensions, singular):
    rng = np.random.default_rng(seed)
    first, second = (rng.standard_normal((40, dimensions)) @ rng.standard_normal((dimensions,) * 2) for _ in range(2))
    if singular:
        first[:, 0] = first[:, 1]
    second = second + rng.standard_normal(dimensions)
    a, b = (np.cov(x.T) for x in (first, second))
    half = scipy.linalg.sqrtm(a + 1e-9 * np.eye(dimensions)).real
    root = scipy.linalg.sqrtm(half @ b @ half).real
    wanted = np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(a + b - 2 * root)
    assert frechet(first, second) == pytest.approx(wanted, rel=1e-2, abs=1e-3)
    assert frechet(first, first) == pytest.approx(0, abs=1e-6 * np.trace(a) + 1e-9)


def test_filtering_leaves_fifteen_percent_of_the_bins():
    left = np.abs(np.fft.rfft(filtered(noise(3, 1002))))
    assert np.all(left[:, 75:] < 1e-3)
    assert left[:, :75].mean() == pytest.approx(np.abs(np.fft.rfft(noise(3, 1002)))[:, :75].mean(), rel=1e-3)
