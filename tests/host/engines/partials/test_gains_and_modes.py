"""Gains of bands, vibrato and modes move the partials and the noise of a voice."""

import numpy as np
import pytest
from timbrel.host.units import midi_to_hz

from ..spectrum.coherent import FRAME, LEVEL, PURE, RATE, STILL, amplitudes, one, sound_of
from .voices import BANDS_HZ, BELL, EDGES, HEIGHTS, Filtered, chord_of, density_db, tonal, with_bands


def test_gains_of_bands_move_partials_and_noise_at_equal_power(partials_of):
    key, gains = 57, np.array([3.0, -9.0, 6.0, 0.0])
    hz = midi_to_hz(key) * np.arange(1, 13)
    model = with_bands(partials_of(tonal))
    plain, moved = (
        amplitudes(one(model, key, RATE, motion, **PURE)[RATE // 4 :], hz)[0]
        for motion in (STILL, Filtered(lambda _: gains))
    )
    bin_hz = RATE / 1024  # gains are those of the bins of short frames
    bins = np.rint(hz / bin_hz) * bin_hz
    asked = np.interp(bins, BANDS_HZ, 10 ** (gains / 20)) * HEIGHTS
    asked *= np.sqrt(np.sum(HEIGHTS**2) / np.sum(asked**2))
    assert moved / plain * HEIGHTS == pytest.approx(asked, rel=0.01)
    hiss = with_bands(partials_of(lambda latent, key: np.concatenate([np.zeros(12), np.full(5, 0.05)])))
    quiet, loud = (
        one(hiss, key, RATE, motion) for motion in (STILL, Filtered(lambda _: np.array([0, 0, 20.0, -20.0])))
    )
    assert density_db(loud, 2800, 3200) - density_db(loud, 9500, 15000) == pytest.approx(
        40 + density_db(quiet, 2800, 3200) - density_db(quiet, 9500, 15000), abs=1.0
    )
    assert np.mean(loud**2) == pytest.approx(np.mean(quiet**2), rel=0.1)


def test_a_vibrato_moves_all_partials_by_its_semitones(partials_of):
    hz = midi_to_hz(57.4) * np.arange(1, 9)
    model = with_bands(partials_of(tonal))
    plain, moved = (amplitudes(one(model, 57, RATE, motion), hz)[0] for motion in (STILL, Filtered(vibrato=0.4)))
    there = amplitudes(one(model, 57, RATE), hz * midi_to_hz(57) / midi_to_hz(57.4))[0]
    assert moved == pytest.approx(there, rel=0.05)
    assert (moved > 10 * plain).all()


@pytest.mark.parametrize("gain", [12.0, -20.0])
def test_low_noise_moves_with_its_band_at_equal_power(partials_of, gain):
    key, gains = 90, np.array([gain, 0.0, 0.0, 0.0])  # only of the rumble's band, far below the partials
    hz = midi_to_hz(key) * np.arange(1, 9)
    rumble = partials_of(
        lambda latent, key: np.concatenate([HEIGHTS, [1, 0, 0, 0, 0]]), edges_hz=[0.0, 80.0, *EDGES[2:]]
    )
    model = with_bands(rumble)
    plain, moved = (one(model, key, 3 * RATE, motion)[RATE // 4 :] for motion in (STILL, Filtered(lambda _: gains)))
    power = np.square(np.abs(np.fft.rfft(plain * np.hanning(len(plain)))))
    low = power[: round(400 * len(plain) / RATE)].sum() / power.sum()  # share of the rumble
    assert 0.1 < low < 0.9
    kept = 1 / np.sqrt(1 - low + low * 10 ** (gain / 10))
    ratio = amplitudes(moved, hz)[0] / amplitudes(plain, hz)[0]
    assert ratio == pytest.approx(np.full(8, kept), rel=0.12)
    assert density_db(moved, 25, 75) - density_db(plain, 25, 75) == pytest.approx(gain + 20 * np.log10(kept), abs=1.0)


def test_an_offset_that_no_band_sounds_takes_no_power_from_partials(partials_of):
    hz = midi_to_hz(90) * np.arange(1, 9)
    offset = partials_of(
        lambda latent, key: np.concatenate([HEIGHTS, [3, 0, 0, 0, 0]]), edges_hz=[0.0, 40.0, *EDGES[2:]]
    )
    rising = Filtered(lambda _: np.array([12.0, 0.0, 0.0, 0.0]))
    plain, moved = (one(with_bands(offset), 90, RATE, motion)[RATE // 4 :] for motion in (STILL, rising))
    assert amplitudes(moved, hz)[0] == pytest.approx(amplitudes(plain, hz)[0], rel=0.01)


def test_equal_gains_of_all_bands_change_nothing(partials_of):
    model = with_bands(partials_of(lambda latent, key: np.concatenate([HEIGHTS, np.full(5, 0.02)])))
    plain, moved = (one(model, 60, 9000, motion) for motion in (STILL, Filtered(lambda _: np.full(4, 7.0))))
    assert moved == pytest.approx(plain, abs=1e-5)


def test_gains_apply_to_each_voice_of_a_chord_and_at_their_time(partials_of):
    model = with_bands(partials_of(tonal))
    gains = Filtered(lambda time: np.array([0, 0, 0, 0]) if time < RATE // 2 else np.array([0, -30.0, -30.0, -30.0]))
    sound = one(model, 45, RATE, gains, **PURE)
    hz = midi_to_hz(45) * np.arange(1, 13)
    before, after = (amplitudes(sound[part], hz)[0] for part in (slice(9000, 20_000), slice(24_000, 40_000)))
    assert 20 * np.log10(before[9] / before[0] / (after[9] / after[0])) > 20
    model = with_bands(partials_of(tonal))
    dull = Filtered(lambda time: np.array([0.0, 0.0, -40.0, -40.0]))
    plain, dark = (chord_of(model, {0: [0, 4]}, 60, RATE, motion=motion).ravel() for motion in (STILL, dull))
    for key in (60, 64):
        hz = midi_to_hz(key) * np.array([1, 12])
        before, after = (amplitudes(sound[RATE // 4 :], hz)[0] for sound in (plain, dark))
        assert 20 * np.log10(before[1] / before[0] / (after[1] / after[0])) > 20


def test_modes_sound_at_their_own_frequencies_with_the_power_of_harmonics_and_noise(partials_of):
    key, row = 57, np.concatenate([HEIGHTS, [0, 0.01, 0.02, 0.005, 0]])
    model = partials_of(lambda latent, key: row)
    sound = one(model, key, 3 * RATE, Filtered(modes=BELL), **PURE)[RATE // 2 :]
    ratios, shares = np.array([0.62, 1.0, 2.07, 2.93, 4.0, 5.43]), np.array([0.9, 0, 0, 0.5, 0, 0.6])
    found, _ = amplitudes(sound, midi_to_hz(key) * np.concatenate([ratios, [2.0, 3.0], np.arange(5.0, 13.0)]))
    energy = np.diff(EDGES) * FRAME / RATE / 1.5  # of a lobe that has a band's power, relative to its squared level
    band = np.searchsorted(EDGES, midi_to_hz(key) * ratios) - 1
    shares = shares / np.maximum(np.bincount(band, shares)[band], 1.0)  # two share a band: 1 at most
    own = np.array([0, HEIGHTS[0], HEIGHTS[1], HEIGHTS[2], HEIGHTS[3], 0])
    asked = np.sqrt(own**2 + shares * energy[band] * row[12 + band] ** 2)
    assert 20 * np.log10(found[:6] / (LEVEL * asked)) == pytest.approx(np.zeros(6), abs=0.15)
    assert 20 * np.log10(found[6:8].max() / LEVEL) < -45  # these harmonics have moved
    assert found[8:] == pytest.approx(LEVEL * HEIGHTS[4:], rel=0.05)


def test_modes_of_one_recording_are_placed_for_each_key_and_in_chords(partials_of):
    model = partials_of(lambda latent, key: np.concatenate([HEIGHTS, [0, 0.01, 0.02, 0.005, 0]]))
    struck = Filtered(modes=BELL)
    together = sound_of(model, [45, 81], RATE, struck, **PURE)
    for key, (sound,) in zip((45, 81), together, strict=True):
        hz = midi_to_hz(key) * np.array([0.62, 1.0, 2.07, 2.93, 5.43])
        alone = amplitudes(one(model, key, RATE, struck, **PURE)[RATE // 4 :], hz)[0]
        assert amplitudes(sound[RATE // 4 :], hz)[0] == pytest.approx(alone, rel=0.01)
    chord = chord_of(model, {0: [0, 4]}, 60, RATE, motion=struck).ravel()[RATE // 4 :]
    for key in (60, 64):
        moved, gone = amplitudes(chord, midi_to_hz(key) * np.array([2.07, 2.0]))[0]
        assert moved > 10 * gone


def test_modes_take_their_power_from_noise(partials_of):
    model = partials_of(lambda latent, key: np.concatenate([np.zeros(12), [0, 0, 0.02, 0.02, 0]]))
    key, middle = 57, np.sqrt(400.0 * 2000.0)  # of the third band
    mode = [[middle / midi_to_hz(key), 0, 0.9]]
    plain, tonal = (one(model, key, 6 * RATE, motion)[RATE:] for motion in (STILL, Filtered(modes=mode)))
    assert np.mean(tonal**2) == pytest.approx(np.mean(plain**2), rel=0.1)
    gone = 0.9 * (1 - np.log(1000 / middle) / np.log(np.sqrt(2000 * 6000) / middle))  # noise between bands is theirs
    quieter = density_db(plain, 950, 1050) - density_db(tonal, 950, 1050)
    assert quieter == pytest.approx(-10 * np.log10(1 - gone), abs=1.0)
    assert density_db(tonal, 4000, 5000) == pytest.approx(density_db(plain, 4000, 5000), abs=1.0)


def test_gains_of_bands_are_those_of_the_decoded_key(partials_of):
    model = with_bands(partials_of(tonal))
    steep = Filtered(lambda time: np.array([0.0, -20.0, -20.0, -20.0]), decoded=60)
    there, moved = (
        amplitudes(one(model, key, RATE, steep, **PURE)[RATE // 4 :], midi_to_hz(key) * np.arange(1, 7))[0]
        for key in (60, 63)
    )
    assert moved == pytest.approx(there, rel=0.02)
