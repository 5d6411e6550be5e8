"""The pitch track, against closed forms."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt
from timbrel.host.units import hz_to_midi, midi_to_hz
from timbrel.train.corpus import pitch
from timbrel.train.corpus.pitch import labelled_track, pitch_track, track_at_key

RATE = 44100
EDGE = 2  # frames whose window reaches beyond the clip


def tone(note, seconds=0.5, rate=RATE, partials=8, decay_db_per_second=0.0):
    """A harmonic tone with partials of amplitude 1/k below 0.45 of the rate."""
    time = np.arange(round(seconds * rate)) / rate
    first_hz = midi_to_hz(note)
    kept = [k for k in range(1, partials + 1) if k == 1 or k * first_hz < 0.45 * rate]
    wave = sum(np.sin(2 * np.pi * k * first_hz * time + k) / k for k in kept)
    return (0.3 * wave * 10 ** (-decay_db_per_second * time / 20)).astype(np.float32)


def noise(seconds, tilt=0.0, seed=0):
    """Noise whose spectrum falls as frequency ** -tilt."""
    size = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(size))
    spectrum[1:] *= np.arange(1, len(spectrum)) ** -tilt
    wave = np.fft.irfft(spectrum, size)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


@given(note=st.floats(24, 108), partials=st.integers(1, 12))
@example(note=105.03, partials=8)
def test_a_steady_tone_is_heard_within_15_cents(note, partials):
    track = pitch_track(tone(note, partials=partials), RATE)
    assert np.abs(track[EDGE:-EDGE] - note).max() < 0.15


@pytest.mark.parametrize("length", [1, 2, 1023, 1024, 1025, 4095, 4096, 4097, 262143, 262145, 270000])
def test_there_is_one_value_for_every_1024_samples_begun(length):
    track = pitch_track(tone(60, 7)[:length], RATE)
    assert track.shape == (-(-length // 1024),)
    assert track.dtype == np.float32


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000, 192000])
def test_pitch_does_not_depend_on_the_rate(rate):
    frames = 10
    track = pitch_track(tone(69, frames * 1024 / rate, rate), rate)
    assert np.abs(track[EDGE:-EDGE] - 69).max() < 0.1


def test_a_tone_without_its_fundamental_has_the_pitch_of_its_period():
    time = np.arange(RATE) / RATE
    wave = sum(np.sin(2 * np.pi * 220 * k * time) for k in (3, 4, 5, 6)).astype(np.float32)
    assert np.abs(pitch_track(wave, RATE)[EDGE:-EDGE] - hz_to_midi(220)).max() < 0.1


def test_a_glide_is_followed_through_all_pieces_of_a_long_clip():
    time = np.arange(15 * RATE) / RATE
    notes = 48 + 2 * time
    phase = 2 * np.pi * np.cumsum(440 * 2 ** ((notes - 69) / 12)) / RATE
    track = pitch_track(np.sin(phase).astype(np.float32), RATE)
    assert len(track) > 2 * pitch._PIECE
    assert np.abs(track - notes[::1024])[EDGE:-EDGE].max() < 0.15


@pytest.mark.parametrize("tilt", [0.0, 0.5, 1.0])
def test_noise_has_no_pitch_in_19_of_20_windows(tilt):
    assert np.isfinite(pitch_track(noise(10, tilt), RATE)).mean() < 0.05


@pytest.mark.parametrize("low_hz", [300, 1000, 2500])
def test_an_octave_of_noise_has_no_pitch_in_19_of_20_windows(low_hz):
    band = butter(4, (low_hz, 2 * low_hz), "band", fs=RATE, output="sos")
    wave = sosfilt(band, np.random.default_rng(0).standard_normal(10 * RATE)).astype(np.float32)
    assert np.isfinite(pitch_track(wave, RATE)).mean() < 0.05


def test_a_decaying_tone_keeps_its_pitch_until_60_db_below_its_peak():
    track = pitch_track(tone(60, 2, decay_db_per_second=60), RATE)
    at = np.arange(len(track)) * 1024 / RATE
    assert np.abs(track[(at > 0.1) & (at < 0.8)] - 60).max() < 0.1
    assert np.isnan(track[at > 1.1]).all()


def test_silence_has_no_pitch():
    assert np.isnan(pitch_track(np.zeros(RATE, np.float32), RATE)).all()
    assert np.isnan(pitch_track(tone(60) * np.float32(1e-4), RATE)).all()


def test_a_recordings_dc_changes_nothing():
    wave = tone(57)
    assert pitch_track(wave + np.float32(0.5), RATE)[EDGE:-EDGE] == pytest.approx(
        pitch_track(wave, RATE)[EDGE:-EDGE], abs=0.01
    )
    assert np.isnan(pitch_track(np.full(RATE, 0.5, np.float32), RATE)).all()


def test_a_sound_is_heard_where_it_is():
    """A semitone step at sample 40000 is crossed by the track within a hop of there."""
    track = pitch_track(np.concatenate([tone(60, 2)[:40000], tone(61, 1)]), RATE)
    crossing = np.argmax(track > 60.5) * 1024
    assert abs(crossing - 40000) <= 1024


def test_a_glitch_shorter_than_a_note_is_not_heard():
    wave, glitch = tone(60, 2), tone(72, 2)
    wave[40000:43500] = glitch[40000:43500]
    assert np.abs(pitch_track(wave, RATE)[EDGE:-EDGE] - 60).max() < 0.1


def test_one_slipped_frame_is_repaired_and_a_melodys_leap_is_kept():
    nan = np.nan
    slipped = np.float32([60, 60, 48, 60, 60, nan, 60, 60.5, 84, nan, 60])
    leap = np.float32([60, 60, 60, 72, 72, 72, nan, nan, 48, 48, 48])
    assert pitch._without_jumps(slipped) == pytest.approx([60, 60, 60, 60, 60, nan, 60, 60.5, 60, nan, 60], nan_ok=True)
    assert pitch._without_jumps(leap) == pytest.approx(leap, nan_ok=True)


@pytest.mark.parametrize(("key", "sounding"), [(60, 60), (21, 21), (108, 108), (72, 60), (84, 60)])
def test_a_label_moves_down_by_the_octaves_that_are_heard(key, sounding):
    track = labelled_track(tone(sounding + 0.2, 1), RATE, key)
    assert set(track) == {np.float32(sounding)}


def test_a_label_never_moves_up_since_weak_odd_partials_are_partials():
    assert set(labelled_track(tone(60.2, 1), RATE, 48)) == {np.float32(48)}


@pytest.mark.parametrize("octaves", [-2, -1, 1])
def test_a_sure_key_moves_no_octave(octaves):
    """As a bell's period may lie two octaves below its note."""
    wave = np.concatenate([tone(72 + 12 * octaves, 1), np.zeros(RATE, np.float32)])
    unsteady = np.full(-(-len(wave) // 1024), np.nan, np.float32)
    key_track = track_at_key(unsteady, wave, RATE, 72)
    assert set(key_track[:30]) == {np.float32(72)}
    assert np.isnan(key_track[-30:]).all()
    assert track_at_key(np.full(9, 72 + 12 * octaves - 0.3, np.float32), wave, RATE, 72) == pytest.approx([71.7] * 9)


def test_a_low_label_is_not_mistaken_for_its_strong_octave():
    time = np.arange(RATE) / RATE
    partials = {1: 0.3, 2: 1.0, 3: 0.1, 4: 0.4}
    wave = sum(level * np.sin(2 * np.pi * k * midi_to_hz(21) * time) for k, level in partials.items())
    assert set(labelled_track((0.3 * wave).astype(np.float32), RATE, 21)) == {np.float32(21)}


@pytest.mark.parametrize(
    "wave",
    [tone(62), tone(72.6), noise(1), np.concatenate([tone(72, 0.3), noise(1)])],
    ids=["another class", "mistuned", "noise", "mostly noise"],
)
def test_a_label_is_believed_where_its_pitch_class_is_not_heard(wave):
    assert set(labelled_track(wave, RATE, 60)) == {np.float32(60)}


@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_a_labelled_clip_has_no_pitch_where_it_is_silent(offset):
    wave = np.concatenate([tone(60), np.zeros(RATE // 2, np.float32)]) + np.float32(offset)
    track = labelled_track(wave, RATE, 60)
    half = round(0.5 * RATE / 1024)
    assert (track[: half - EDGE] == 60).all()
    assert np.isnan(track[half + EDGE + 1 :]).all()
    assert np.isnan(labelled_track(np.zeros(5000, np.float32), RATE, 60)).all()


@pytest.mark.parametrize("peak_db", [0.0, -5.0])
def test_a_note_has_died_away_60_db_below_its_peak(peak_db):
    decay_db_per_second, seconds = 80.0, 1.0
    sound = tone(57, seconds, partials=1, decay_db_per_second=decay_db_per_second)
    sound *= 10 ** (peak_db / 20) / np.abs(sound).max()
    track = pitch_track(sound, RATE)
    last = np.flatnonzero(~np.isnan(track))[-1] * pitch.HOP / RATE
    half, sine_db = pitch.WINDOW / 2 / RATE, 3.0  # a window's mean level is that of its middle
    assert last == pytest.approx((60 - sine_db) / decay_db_per_second - half, abs=0.03)
