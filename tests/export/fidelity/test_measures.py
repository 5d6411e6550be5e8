"""Measures of notes equal those of librosa, and closed forms."""

import librosa
import numpy as np
import pytest
from timbrel.export.fidelity.measures import (
    STILL,
    brightness,
    change_db,
    course,
    decay_percent,
    envelope_db,
    late_ms,
    mel,
    nearness,
    onset_db,
    quarter_db,
    quarter_tones,
    shape_db,
    slow_change_db,
    sustain_db,
    vibrato_cents,
)
from timbrel.train.metrics.clips import attack_seconds

from .tones import RATE, tone

NOISE = (0.1 * np.random.default_rng(1).standard_normal(RATE)).astype(np.float32)
TIME = np.arange(RATE) / RATE


def test_bands_and_centroids_are_librosas():
    sound = tone(60) + 0.01 * NOISE
    measured = course(sound, RATE)
    settings = {"n_fft": 2048, "hop_length": 512, "center": True, "pad_mode": "constant"}
    power = np.abs(librosa.stft(sound, **settings)) ** 2
    bands = librosa.feature.melspectrogram(S=power, sr=RATE, n_mels=64, norm=None).T
    loud = measured.levels > -60
    told = measured.shapes + measured.levels[:, None]
    asked = 10 * np.log10(bands)
    high = loud[:, None] & (measured.shapes > -79)
    high[:, :2] = False  # librosa keeps the offset of a frame there
    away = (told - asked)[high]
    np.testing.assert_allclose(away, away.mean(), atol=1e-3)  # but for the unit
    centroid = librosa.feature.spectral_centroid(S=np.sqrt(power), sr=RATE)[0]
    np.testing.assert_allclose(measured.brightness[loud], np.log2(centroid[loud]), atol=1e-2)


def test_levels_are_those_of_sines_and_a_sines_power_lies_in_its_band():
    sine = np.sin(2 * np.pi * 1000 * TIME).astype(np.float32)
    measured = course(sine, RATE)
    np.testing.assert_allclose(measured.levels[3:-3], -3.01, atol=0.01)
    shares = 10 ** (measured.shapes[40] / 10)
    assert shares.sum() == pytest.approx(1, abs=1e-3)  # triangles of height 1 add up to 1
    assert np.argmax(shares) == np.argmax(mel(RATE)[round(1000 * 2048 / RATE)])


def test_a_gain_changes_neither_shape_nor_envelope():
    sound = tone(57)
    near = nearness(sound, 0.1 * sound, RATE)
    assert near.shape_db == pytest.approx(0, abs=0.01)
    assert near.envelope_db == pytest.approx(0, abs=0.01)
    assert near.attack_ms == 0
    assert near.brightness == pytest.approx(1, abs=1e-3)


def test_shape_is_the_difference_of_bands_whatever_the_level():
    """White noise against noise whose upper bands are 20 dB softer: half of the bands, by count."""
    spectrum = np.fft.rfft(NOISE)
    hertz = np.fft.rfftfreq(RATE, 1 / RATE)
    edge = librosa.mel_frequencies(66, fmin=0, fmax=RATE / 2)[33]
    dull = np.fft.irfft(np.where(hertz > edge, 0.1, 1) * spectrum).astype(np.float32)
    measured, other = course(NOISE, RATE), course(dull, RATE)
    kept = np.square(mel(RATE)).sum() and 10 * np.log10(edge / (RATE / 2) + 0.01 * (1 - edge / (RATE / 2)))
    # The soft noise lost nearly all power but for the low bands, above whose level these now stand.
    asked = np.sqrt((32 * kept**2 + 32 * (20 + kept) ** 2) / 64)
    assert shape_db(measured, other) == pytest.approx(asked, rel=0.05)
    assert shape_db(measured, course(np.float32(0.01) * dull, RATE)) == pytest.approx(
        shape_db(measured, other), abs=0.1
    )


def test_an_offset_that_nobody_hears_changes_neither_shape_nor_level():
    sound = (0.1 * np.random.default_rng(3).standard_normal(RATE)).astype(np.float32)
    plain, offset = course(sound, RATE), course(sound + np.float32(0.5), RATE)
    inside = slice(4, -4)  # frames across an end hear the step
    assert np.abs(plain.shapes - offset.shapes)[inside].max() < 0.01
    assert np.abs(plain.levels - offset.levels)[inside].max() < 0.01


def test_envelope_is_the_deviation_of_the_difference_in_level():
    """A fade of 20 dB against a steady tone: evenly spread differences deviate by a twelfth's root."""
    sine = 0.5 * np.sin(2 * np.pi * 440 * TIME)
    faded = sine * 10 ** (-20 * TIME / 20)
    asked, given = (course(sound.astype(np.float32), RATE) for sound in (sine, faded))
    assert envelope_db(asked, given) == pytest.approx(20 / np.sqrt(12), rel=0.03)


def test_what_lies_50_db_under_the_loudest_does_not_count():
    sine = (0.5 * np.sin(2 * np.pi * 440 * TIME)).astype(np.float32)
    sine[RATE // 2 :] *= 1e-3
    asked, given = sine, sine.copy()
    given[RATE // 2 + 2048 :] = NOISE[RATE // 2 + 2048 :]
    assert shape_db(course(asked, RATE), course(given, RATE)) < 1


def test_attacks_differ_by_what_straight_rises_differ():
    """Three decibels are reached at 71 % of a straight rise."""
    slow, fast = (0.5 * np.minimum(TIME / rise, 1) * np.sin(2 * np.pi * 500 * TIME) for rise in (0.2, 0.05))
    found = nearness(slow.astype(np.float32), fast.astype(np.float32), RATE).attack_ms
    assert found == pytest.approx(1000 * 0.15 * 10 ** (-3 / 20), abs=4)
    assert attack_seconds(slow[None].astype(np.float32), RATE)[0] > 0.13


@pytest.mark.parametrize("late", [0.0, 0.05, 0.3])
def test_a_note_is_as_late_as_it_is_heard_after_the_rise_of_the_recording(late):
    """The recording has noise before its tone: that is no part of its rise, nor is the silence."""
    rng, rise = np.random.default_rng(0), 0.1
    tone = 0.5 * np.minimum(TIME / rise, 1) * np.sin(2 * np.pi * 500 * TIME)
    noise = 0.01 * rng.standard_normal(RATE // 4)
    recording, rendition = (
        np.concatenate([np.zeros(RATE // 8), noise, tone]),
        np.concatenate([np.zeros(round(late * RATE)), tone]),
    )
    heard, begun = rise * 10 ** (-12 / 20), rise * 10 ** (-24 / 20)
    asked = 1000 * (late + heard - (heard - begun))
    assert late_ms(recording.astype(np.float32), rendition.astype(np.float32), RATE) == pytest.approx(asked, abs=6)


@pytest.mark.parametrize(("sign", "asked"), [(1, 1.0), (-1, -1.0)])
def test_brightness_is_followed_or_countered(sign, asked):
    def swung(way):
        bright = 0.5 + 0.4 * way * np.sin(2 * np.pi * 2 * TIME)
        return (0.2 * np.sin(2 * np.pi * 300 * TIME) + 0.2 * bright * np.sin(2 * np.pi * 3000 * TIME)).astype(
            np.float32
        )

    inner = slice(4, -4)  # what silence does at both ends is no movement
    first, second = (type(of)(*(part[inner] for part in of)) for of in (course(swung(w), RATE) for w in (1, sign)))
    assert brightness(first, second) == pytest.approx(asked, abs=0.15)


def test_what_stands_still_follows_nothing_and_asks_for_nothing():
    moving = course(tone(60), RATE)
    still = moving._replace(brightness=np.full_like(moving.brightness, 9.0) + STILL / 10 * np.sin(moving.levels))
    assert brightness(moving, still) == 0
    assert brightness(still, moving) is None


def test_silence_after_a_sound_is_its_envelopes_and_not_its_shapes_but_nothing_is_far():
    sine = (0.5 * np.sin(2 * np.pi * 440 * TIME)).astype(np.float32)
    ended = np.where(TIME < 0.8, sine, 0).astype(np.float32)
    far = nearness(sine, ended, RATE)
    assert far.shape_db < 3  # of the frame in which it ends
    assert far.envelope_db > 15
    assert nearness(sine, 0 * sine, RATE).shape_db > 15


def test_what_is_held_counts_alone_in_the_shape_of_its_sustain():
    """A sound whose last fifth, and whose beginning 30 dB under the rest, are others."""
    rng, time = np.random.default_rng(0), np.arange(RATE) / RATE
    asked = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    given = asked.copy()
    given[: RATE // 10] = asked[: RATE // 10] = 0.0
    given[int(0.8 * RATE) :] = rng.normal(0, 1, RATE - int(0.8 * RATE))
    given[: RATE // 20] = 0.01 * rng.normal(0, 1, RATE // 20)
    asked[: RATE // 20] = 0.01 * np.sin(2 * np.pi * 4000 * time[: RATE // 20])
    assert sustain_db(asked, given, RATE) < 0.5
    assert shape_db(course(asked, RATE), course(given, RATE)) > 3
    assert sustain_db(asked, given[::-1], RATE) > 3


def test_quarter_tones_are_24_to_an_octave_and_hold_each_bin_once():
    weights = quarter_tones(RATE)
    hertz = np.arange(len(weights)) * RATE / 8192
    assert (weights.sum(1) <= 1).all()
    for band in (0, 30, 90):
        inside = hertz[weights[:, band] > 0]
        low = 370 * 2 ** (band / 24)
        assert inside.min() >= low
        assert inside.max() < low * 2 ** (1 / 24)


def test_a_partial_beside_its_place_is_seen_by_quarter_tones_more_than_by_mel_bands():
    asked, off = tone(84.0), tone(84.5)
    assert quarter_db(asked, 0.3 * asked, RATE) < 0.01
    assert quarter_db(asked, off, RATE) > 1.3 * sustain_db(asked, off, RATE)


def test_change_per_frame_is_that_of_bands_and_little_of_what_stands_still():
    still = np.sin(2 * np.pi * 441 * TIME).astype(np.float32)
    assert change_db(NOISE, RATE) > 1.0
    held = NOISE[: round(0.8 * len(NOISE))]
    measured = course(held, RATE)
    asked = np.abs(np.diff(measured.shapes, axis=0))[:, 2:48]
    loud = measured.levels > measured.levels.max() - 20
    assert change_db(NOISE, RATE) == pytest.approx(asked[loud[1:] & loud[:-1]].mean())
    assert nearness(NOISE, 0.1 * NOISE, RATE).change == pytest.approx(1, abs=1e-3)
    assert nearness(NOISE, still, RATE).change < 0.7
    assert nearness(still, NOISE, RATE).change > 1.4


def test_slow_change_is_that_of_beats_and_not_of_a_decay_or_of_quick_changes():
    time = np.arange(3 * RATE) / RATE

    def made(beats_hz, depth_db=6.0, fall_db_second=20.0):
        partials = (np.sin(2 * np.pi * 110 * k * time + k * k) / k for k in range(1, 80))
        level = depth_db * np.sin(2 * np.pi * beats_hz * time) - fall_db_second * time
        return (sum(partials) * 10 ** (level / 20)).astype(np.float32)

    still, quick, beating = (slow_change_db(made(hertz), RATE) for hertz in (0.0, 20.0, 2.0))
    assert still < 0.1
    assert quick < 1.0
    sinc = np.sinc(2.0 * 9 * 512 / RATE)  # of the mean over nine frames
    assert beating == pytest.approx(6.0 / np.sqrt(2) * sinc, rel=0.1)
    assert slow_change_db(made(2.0)[: RATE // 8], RATE) is None
    assert nearness(made(2.0), made(2.0, depth_db=3.0), RATE).slow_change == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("hertz", [2.0, 4.0])
def test_vibrato_is_the_deviation_of_the_pitch_and_none_of_steady_notes_or_noise(hertz):
    time = np.arange(2 * RATE) / RATE
    for depth in (0.0, 20.0, 40.0):
        cents = depth * np.sin(2 * np.pi * hertz * time)
        turns = np.cumsum(440 * 2 ** (cents / 1200)) / RATE
        sound = sum(np.sin(2 * np.pi * k * turns) / k for k in range(1, 6)).astype(np.float32)
        assert vibrato_cents(sound, RATE) == pytest.approx(depth / np.sqrt(2), rel=0.25, abs=0.5)
    assert vibrato_cents(NOISE, RATE) == 0
    steady = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    assert nearness(steady, sound, RATE).vibrato is None
    assert nearness(sound, steady, RATE).vibrato == pytest.approx(0, abs=0.02)
    assert nearness(sound, sound, RATE).vibrato == 1


def test_an_attack_is_measured_alone():
    plain = tone(60, fall=0.5)
    early, late = plain.copy(), plain.copy()
    early[: round(0.04 * RATE)] = tone(60, fall=0.9)[: round(0.04 * RATE)]
    late[round(0.1 * RATE) :] = tone(60, fall=0.9)[round(0.1 * RATE) :]
    courses = {name: course(sound, RATE) for name, sound in (("plain", plain), ("early", early), ("late", late))}
    assert onset_db(courses["plain"], courses["plain"], RATE) == 0
    assert onset_db(courses["plain"], courses["early"], RATE) > 5
    assert onset_db(courses["plain"], courses["late"], RATE) < 0.1
    assert nearness(plain, early, RATE).onset_db == onset_db(courses["plain"], courses["early"], RATE)


def test_decays_are_compared_by_their_slopes():
    time = np.arange(RATE) / RATE

    def ringing(db_second):
        return (tone(60, held=9.0) * 10 ** (-db_second * time / 20)).astype(np.float32)

    courses = {fall: course(ringing(fall), RATE) for fall in (0, 3, 20, 25, 40)}
    assert decay_percent(courses[20], courses[20], RATE) == 0
    assert decay_percent(courses[20], courses[25], RATE) == pytest.approx(25, abs=1)
    assert decay_percent(courses[40], courses[20], RATE) == pytest.approx(50, abs=1)
    assert decay_percent(courses[3], courses[20], RATE) is None
    assert decay_percent(courses[20], courses[0], RATE) == pytest.approx(100, abs=2)
    short = course(ringing(20)[: RATE // 20], RATE)
    assert decay_percent(short, short, RATE) is None
