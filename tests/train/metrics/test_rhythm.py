"""Onsets and beats are where sounds were put, and where librosa finds them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.train.metrics.rhythm import (
    beat_kept,
    beat_strength,
    envelope_correlation,
    f_measure,
    onset_seconds,
    onset_strength,
)

RATE = 22050


def hits(times, seconds, seed=0, rate=RATE):
    """Noise that dies away at each time, every second one dark."""
    rng, sound = np.random.default_rng(seed), np.zeros(round(seconds * rate))
    for number, time in enumerate(times):
        hit = np.exp(-30 * np.arange(round(0.2 * rate)) / rate) * rng.standard_normal(round(0.2 * rate))
        hit = np.convolve(hit, np.ones(40) / 6, "same") if number % 2 else hit
        first = round(time * rate)
        part = sound[first : first + len(hit)]
        part += 0.2 * hit[: len(part)]
    return sound.astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_onsets_are_where_hits_were_put(rate):
    times = np.cumsum(np.random.default_rng(1).uniform(0.08, 0.4, 20)) - 0.05
    found = onset_seconds(hits(times, 6.5, rate=rate), rate)
    assert f_measure(found, times) == 1
    assert len(found) == 20


def test_a_sound_that_begins_at_once_has_its_first_onset_and_silence_has_none():
    assert onset_seconds(hits([0, 0.5], 1), RATE)[0] < 0.02
    assert len(onset_seconds(np.zeros(RATE, np.float32), RATE)) == 0


def test_librosa_finds_the_same_onsets():
    librosa = pytest.importorskip("librosa")
    times = np.arange(0.1, 7.9, 0.25) + np.random.default_rng(2).uniform(-0.05, 0.05, 32)
    sound = hits(times, 8)
    judged = librosa.onset.onset_detect(y=sound, sr=RATE, units="time", hop_length=128)
    assert f_measure(onset_seconds(sound, RATE), judged) > 0.95


@given(st.lists(st.integers(0, 60), max_size=12), st.lists(st.integers(0, 60), max_size=12))
def test_greedy_pairs_are_as_many_as_any_pairing_has(first, second):
    """Times in hundredths of a second, three and a half apart at the most; scipy finds the most pairs of a graph."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    one, other = np.sort(np.array(first) / 100), np.sort(np.array(second) / 100)
    if not first or not second:
        assert f_measure(one, other) == (1.0 if not first and not second else 0.0)
        return
    near = csr_matrix(np.abs(one[:, np.newaxis] - other) <= 0.0300001)
    pairs = np.sum(maximum_bipartite_matching(near) >= 0)
    # Differences of exactly 0.03 round either way.
    if not np.any(np.abs(np.abs(one[:, np.newaxis] - other) - 0.03) < 1e-9):
        assert f_measure(one, other) == pytest.approx(2 * pairs / (len(one) + len(other)))


def test_a_beat_is_strong_where_it_is_and_weak_where_it_is_not():
    steady = hits(np.arange(0, 8, 0.5), 8)
    loose = hits(np.sort(np.random.default_rng(4).uniform(0, 7.9, 16)), 8)
    assert beat_strength(steady, RATE, 0.5) > 0.7
    assert beat_strength(steady, RATE, 0.37) < 0.2
    assert beat_strength(loose, RATE, 0.5) < 0.3
    assert beat_kept(loose, steady, RATE, 0.5) == pytest.approx(
        max(0, beat_strength(loose, RATE, 0.5)) / beat_strength(steady, RATE, 0.5)
    )
    assert beat_kept(steady, steady, RATE, 0.5) == 1
    assert beat_strength(steady[: RATE // 2], RATE, 0.5) == 0


def test_the_beat_is_the_peak_of_the_autocorrelation_that_librosa_computes():
    librosa = pytest.importorskip("librosa")
    sound = hits(np.arange(0, 16, 0.43), 16)
    strength = onset_strength(sound, RATE)
    around = librosa.autocorrelate(strength - strength.mean())
    lags = np.arange(40, 160)
    assert lags[np.argmax(around[lags])] == pytest.approx(0.43 * 200, abs=1)
    # librosa's sums have fewer terms the longer the lag: a share of the whole is taken off.
    expected = around[86] / around[0] * len(strength) / (len(strength) - 86)
    assert beat_strength(sound, RATE, 0.43) == pytest.approx(expected, abs=0.05)


def test_envelopes_correlate_as_loudness_does_whatever_the_waves():
    times = np.arange(0.1, 3.9, 0.3)
    one, other = hits(times, 4, seed=1), hits(times, 4, seed=2)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.2
    assert envelope_correlation(one, other, RATE) > 0.9
    assert envelope_correlation(one, 0.1 * one[: 3 * RATE], RATE) == pytest.approx(1)
    assert envelope_correlation(one, hits(times + 0.15, 4), RATE) < 0
    rms = [np.sqrt((part[:88000].astype(float).reshape(-1, 220) ** 2).mean(1)) for part in (one, other)]
    assert envelope_correlation(one[:88000], other[:88000], RATE) == pytest.approx(np.corrcoef(*rms)[0, 1], abs=0.01)
    assert envelope_correlation(one, np.zeros_like(one), RATE) == 0


def test_onsets_that_are_moved_by_a_sixteenth_do_not_match():
    times = np.arange(0.2, 3.8, 0.4)
    sound = hits(times, 4)
    there = onset_seconds(sound, RATE)
    assert f_measure(there, onset_seconds(hits(times + 0.02, 4), RATE)) > 0.9
    assert f_measure(there, onset_seconds(hits(times + 0.12, 4), RATE)) < 0.15
    half = f_measure(there, onset_seconds(hits(times[::2], 4), RATE))
    assert half == pytest.approx(2 * 5 / (9 + 5), abs=0.07)
