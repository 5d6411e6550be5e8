"""The note found in a sound, on tones whose note is known."""

import math

import numpy as np
import pytest
from timbrel.host.signal import sounding_note
from timbrel.host.units import hz_to_midi, midi_to_hz


def tone(hz, rate=44_100, seconds=0.6, fall=0.7, partials=16):
    time = np.arange(round(seconds * rate)) / rate
    orders = [k for k in range(1, partials + 1) if k * hz < 0.45 * rate]
    return np.sum([fall**k * np.sin(2 * np.pi * k * hz * time + k * k) for k in orders], axis=0)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("note", range(36, 97, 6))
def test_a_harmonic_tone_has_its_note_octave_included(note, rate):
    sound = tone(midi_to_hz(note), rate, seconds=26_500 / rate)
    assert sounding_note(sound, rate) == pytest.approx(note, abs=0.25)


@pytest.mark.parametrize("cents", [-40, -20, 0, 20, 40])
def test_fractions_of_a_semitone_are_found(cents):
    assert sounding_note(tone(midi_to_hz(64 + cents / 100)), 44_100) == pytest.approx(64 + cents / 100, abs=0.11)


def test_a_weak_or_missing_fundamental_does_not_move_the_note():
    time = np.arange(30_000) / 44_100
    strong = np.sum([np.sin(2 * np.pi * k * 220 * time + k * k) for k in range(3, 12)], axis=0)
    assert sounding_note(strong, 44_100) == pytest.approx(57, abs=0.25)


@pytest.mark.parametrize("loud", [2, 3, 5])
@pytest.mark.parametrize("note", [45, 57, 69])
def test_one_partial_far_above_the_others_does_not_take_the_note_away(note, loud):
    time = np.arange(30_000) / 44_100
    partials = [
        (10 if k == loud else 1) * np.sin(2 * np.pi * k * midi_to_hz(note) * time + k * k) for k in range(1, 13)
    ]
    assert sounding_note(np.sum(partials, axis=0), 44_100) == pytest.approx(note, abs=0.25)


@pytest.mark.parametrize("note", [73, 92, 101])
def test_a_whistle_at_half_the_rate_stands_for_no_harmonics_above_it(note):
    sound = tone(midi_to_hz(note), 8000, seconds=2.5)
    assert sounding_note(sound + 3 * (-1.0) ** np.arange(len(sound)), 8000) == pytest.approx(note, abs=0.25)


@pytest.mark.parametrize("note", range(48, 85, 5))
def test_sound_of_noise_phase_has_its_note_though_no_period_repeats(note):
    rng = np.random.default_rng(note)
    length = 2**16
    hz = np.fft.rfftfreq(length, 1 / 44_100)
    lines = sum(0.7**k * np.exp(-(((hz - k * midi_to_hz(note)) / 8) ** 2)) for k in range(1, 16))
    sound = np.fft.irfft(lines * np.exp(2j * np.pi * rng.uniform(size=len(hz))))
    assert sounding_note(sound[:30_000], 44_100) == pytest.approx(note, abs=0.25)


@pytest.mark.parametrize("gain", [1e-4, 100.0])
def test_loudness_does_not_move_the_note(gain):
    sound = tone(330.0)
    assert sounding_note((gain * sound).astype(np.float32), 44_100) == sounding_note(sound, 44_100)


@pytest.mark.parametrize("length", [2205, 8191, 8192, 10_239, 10_240])
def test_a_short_sound_is_enough(length):
    """Whatever is left over of it beside whole frames."""
    assert sounding_note(tone(440.0)[:length], 44_100) == pytest.approx(69, abs=0.5)


@pytest.mark.parametrize("length", [0, 100, 20_000])
def test_silence_has_no_note(length):
    assert math.isnan(sounding_note(np.zeros(length, np.float32), 44_100))


def test_units_turn_into_each_other_and_back():
    assert midi_to_hz(69) == 440.0
    assert midi_to_hz(60) == pytest.approx(261.6256, abs=1e-4)
    assert [hz_to_midi(midi_to_hz(note)) for note in (0, 21.5, 60, 127)] == pytest.approx([0, 21.5, 60, 127])
