"""Attacks and distances of courses of loudness are measured as closed forms have them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from timbrel.train.metrics.clips import attack_seconds, envelope_distance_db

RATES = [8000, 11025, 16000, 44100]


def hum(rate, seconds=0.5, rise=0.0, silence=0.0, gain=0.5, hz=1000.0):
    """A tone after a silence, that rises evenly: [1, samples]."""
    time = np.arange(round(seconds * rate)) / rate - silence
    level = np.clip(time / rise, 0, 1) if rise else (time >= 0) * 1.0
    return (gain * level * np.sin(2 * np.pi * hz * time)).astype(np.float32)[None]


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_that_rises_evenly_has_risen_where_it_is_three_decibels_under_the_loudest(rate):
    """At 10^(-3/20) of its way; a window of 10 ms sees a little past it."""
    found = attack_seconds(hum(rate, rise=0.2, silence=0.05), rate)[0]
    assert found == pytest.approx(0.05 + 0.2 * 10 ** (-3 / 20), abs=0.002)


@pytest.mark.parametrize("silence", [0.0, 0.1, 0.25])
def test_a_tone_that_begins_at_once_has_risen_when_it_begins(silence):
    assert attack_seconds(hum(16000, silence=silence), 16000)[0] == pytest.approx(silence, abs=0.003)


def test_an_attack_is_the_same_at_any_gain():
    sounds = [hum(16000, rise=0.1, gain=gain) for gain in (0.001, 0.5, 8.0)]
    assert len({float(attack_seconds(sound, 16000)[0]) for sound in sounds}) == 1


@pytest.mark.parametrize("gain_db", [-6.0, 3.0, 12.0])
def test_gain_is_as_far_as_it_says(gain_db):
    sound = hum(16000, rise=0.1)
    assert envelope_distance_db(sound, sound * np.float32(10 ** (gain_db / 20)), 16000)[0] == pytest.approx(
        abs(gain_db), abs=0.4
    )


def test_a_tone_that_lacks_its_second_half_is_as_far_as_that_half_lies_above_the_lowest():
    """50 dB away half of the time."""
    asked, given = hum(16000), hum(16000)
    given[:, 4000:] = 0
    assert envelope_distance_db(asked, given, 16000)[0] == pytest.approx(50 * math.sqrt(0.5), rel=0.03)


def test_what_is_softer_than_fifty_decibels_does_not_count():
    rng = np.random.default_rng(1)
    sound = hum(16000, silence=0.2)
    noise = (1e-4 * rng.standard_normal(sound.shape)).astype(np.float32)
    assert envelope_distance_db(sound, sound + noise, 16000)[0] < 0.1


@given(
    arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 900)), elements=st.floats(-10, 10, width=32)),
    st.sampled_from(RATES),
)
def test_whatever_clips_have_numbers(clips, rate):
    seconds = attack_seconds(clips, rate)
    assert seconds.min() >= 0
    assert seconds.max() <= clips.shape[1] / rate
    apart = envelope_distance_db(clips, clips[::-1], rate)
    assert np.isfinite(apart).all()
    assert envelope_distance_db(clips, clips, rate) == pytest.approx(np.zeros(len(clips)))


def test_silence_has_risen_at_once_and_is_no_way_from_itself():
    silent = np.zeros((2, 1000), np.float32)
    assert attack_seconds(silent, 8000).tolist() == [0, 0]
    assert envelope_distance_db(silent, silent, 8000).tolist() == [0, 0]
