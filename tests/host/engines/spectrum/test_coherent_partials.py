"""Partials of the coherent voice, against sums of sinusoids: how they begin, move, meet the ends of the spectrum."""

import math

import numpy as np
import pytest
import scipy.signal
from timbrel.host.engines.spectrum.coherent_voicing import CoherentVoicing
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.events import NoteOn
from timbrel.host.units import midi_to_hz

from .coherent import FRAME, LEVEL, PURE, RATE, Knobs, amplitudes, harmonics_of, level_db, lobes, one, sound_of, turned


@pytest.mark.parametrize("on", [0, 1, 255, 256, 1000, 5003])
@pytest.mark.parametrize("key", [48, 69])
def test_the_first_samples_of_a_note_have_its_full_level_and_none_come_before(comb, key, on):
    heights = np.array([1.0, 0.5, 0.3])
    sound = sound_of(comb(heights), [key], on + RATE // 2, on=on, **PURE)[0, 0].astype(np.float64)
    assert np.all(sound[:on] == 0)
    hz = midi_to_hz(key) * np.arange(1, 4)
    found, rest_db = amplitudes(sound[on : on + RATE // 50], hz)
    assert 20 * np.log10(found / (LEVEL * heights)) == pytest.approx(np.zeros(3), abs=0.1)
    assert rest_db < -60


def test_an_attack_of_2_ms_is_2_ms(comb, make_instrument, play):
    def sound(attack):
        instrument = make_instrument(
            RATE, comb([1.0, 0.5]), envelope={"attack_seconds": attack}, play={"noise": 0.0, "pan": -1.0}
        )
        return play(instrument, [NoteOn(1003, 0, 81, 127)], 6000)[0].astype(np.float64)

    at_once, risen = sound(0.0), sound(0.002)
    end = 1003 + math.ceil(0.002 * RATE) + 1
    assert np.array_equal(risen[end:], at_once[end:])
    steady = np.abs(at_once[3000:]).max()
    assert np.abs(at_once[1003:end]).max() > 0.9 * steady
    assert np.all(risen[:1004] == 0)
    assert np.abs(risen[1004 : 1003 + 22]).max() < 0.6 * steady
    assert np.abs(risen[end - 20 : end]).max() > 0.7 * steady


def test_a_key_pressed_at_any_sample_sounds_the_same_but_for_its_phase(comb):
    heights = 0.8 ** np.arange(8)
    model, hz = comb(heights), midi_to_hz(55) * np.arange(1, 9)
    for on in np.random.default_rng(3).integers(0, 4000, 12):
        sound = sound_of(model, [55], on + 8000, on=int(on), **PURE)[0, 0, on:].astype(np.float64)
        found, rest_db = amplitudes(sound, hz)
        assert 20 * np.log10(found / (LEVEL * heights)) == pytest.approx(np.zeros(8), abs=0.05)
        assert rest_db < -60


def test_voices_on_one_pitch_begin_with_phases_of_their_own(comb):
    sounds = sound_of(comb(0.9 ** np.arange(20)), [60] * 4, RATE, **PURE)[:, 0].astype(np.float64)
    assert level_db(sounds.sum(0)) - level_db(sounds[0]) == pytest.approx(10 * np.log10(4), abs=3)


@pytest.mark.parametrize("key", [50, 60.4, 76, 88])
def test_the_level_of_a_held_note_is_steady(comb, key):
    level, _ = turned(one(comb([1.0]), key, 2 * RATE, **PURE))
    level = level[6000:-6000]  # a Hilbert transform takes long to forget where a sound was cut
    assert 20 * np.log10(level.max() / level.min()) < 0.1
    rich = one(comb(0.8 ** np.arange(12)), key, 2 * RATE, **PURE)
    period = RATE / midi_to_hz(key)
    window = np.ones(round(round(0.1 * RATE / period) * period))
    running = scipy.signal.fftconvolve(rich**2, window / len(window), mode="valid")
    assert 10 * np.log10(running.max() / running.min()) < 0.5


def test_a_latent_that_moves_makes_no_dip_and_no_phase_step(model_of):
    knobs = Knobs(latent=lambda times: np.where(times % 9000 < 4500, 0.0, 1.0))  # jumps to and fro
    model = model_of(lambda latent, key: lobes(*harmonics_of(key, [1.0 - latent[0] / 2])))
    level, phase = turned(one(model, 69, 2 * RATE, knobs, **PURE))
    assert level.min() > 0.98 * LEVEL / 2
    assert level.max() < 1.02 * LEVEL
    assert 20 * np.log10(level.max() / level.min()) > 5.9  # both ends are reached
    hz = np.diff(phase) * RATE
    assert hz == pytest.approx(np.full(len(hz), 440.0), abs=2.0)
    straight = phase[0] + np.arange(len(phase)) * 440 / RATE
    assert np.abs(phase - straight).max() < 1e-3


def test_a_free_partial_that_drifts_from_bin_to_bin_keeps_its_phase(model_of):
    knobs = Knobs(latent=lambda times: times / RATE)
    model = model_of(lambda latent, key: lobes([60 + 16 * latent[0]], [1.0]), chroma=False)
    level, phase = turned(one(model, 60, 2 * RATE, knobs, **PURE))
    assert 20 * np.log10(level / LEVEL) == pytest.approx(np.zeros(len(level)), abs=0.3)
    hz = (phase[2048:] - phase[:-2048]) / 2048 * RATE
    times = (2048 + 1024 + np.arange(len(hz))) / RATE
    # The knobs' delay, how long they rest before a frame on the mean, half a frame, less half of a hop, as the way to a
    # frame is gone with the frequency of that frame.
    late = (CoherentVoicing(model, VoicingSettings()).delay + 448 + 512 - 128) / RATE
    assert hz == pytest.approx(RATE / FRAME * (60 + 16 * (times - late)), abs=0.2)


@pytest.mark.parametrize("bins", [-1.0, 0.5, 2.0, 4.0, 7.0, 9.0])
def test_a_partial_fades_in_the_last_eight_bins_below_half_the_rate(comb, bins):
    hz = RATE / 2 - bins * RATE / 1024
    key = 69 + 12 * np.log2(hz / 5 / 440)
    sound = one(comb([0, 0, 0, 0, 1.0]), key, RATE, **PURE)[4000:]
    level = amplitudes(sound, [hz])[0][0] / LEVEL if bins > 0 else np.abs(sound).max()
    assert level == pytest.approx(min(max(bins / 8, 0), 1), abs=0.02)


@pytest.mark.parametrize("key", [100, 106, 110.4, 120])
def test_partials_beyond_half_the_rate_are_silent_and_fold_nothing_back(comb, key):
    order = np.arange(1, 13)
    sound = one(comb(np.ones(12)), key, RATE, **PURE)[4000:]
    hz = midi_to_hz(key) * order
    below = hz < RATE / 2
    found, rest_db = amplitudes(sound, hz[below])
    assert np.count_nonzero(below) < 12
    assert rest_db < -60
    away = (RATE / 2 - hz[below]) / (RATE / 1024)  # bins
    assert found == pytest.approx(LEVEL * np.clip(away / 8, 0, 1), rel=0.02, abs=0.02 * LEVEL)


def test_a_partial_bent_past_half_the_rate_fades_without_a_click(comb):
    heights = np.zeros(40)
    heights[39] = 1.0
    start = midi_to_hz(60) * 40
    knobs = Knobs(bend=lambda times: np.minimum(times / RATE, 1.0) * 12 * np.log2(1.05 * RATE / 2 / start))
    sound = one(comb(heights), 60, 3 * RATE // 2, knobs, **PURE)
    assert np.all(sound[RATE + 2048 :] == 0)
    low = scipy.signal.sosfilt(scipy.signal.butter(12, 0.5 * start, "low", fs=RATE, output="sos"), sound)
    assert level_db(low[2000:]) - level_db(sound[: RATE // 2]) < -60
