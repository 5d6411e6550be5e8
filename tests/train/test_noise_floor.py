"""Noise that a room adds is trimmed; all that an instrument or a voice plays is kept."""

import io

import numpy as np
import pytest
from timbrel.train.corpus.build import build
from timbrel.train.corpus.chunks import without_noise
from timbrel.train.corpus.pitch import pitch_track, track_at_key
from timbrel.train.corpus.sound_files import FloatFile
from timbrel.train.corpus.store import Corpus

from .sounds import write

RATE = 16_000
EARLY_SECONDS, LATE_SECONDS = 0.2, 0.06  # of a start or an end, into the noise and into the sound


def times(seconds):
    return np.arange(round(seconds * RATE)) / RATE


def tone(seconds=1.0, hz=440.0, attack=0.05, release=0.1):
    at = times(seconds)
    partials = sum(0.5**k * np.sin(2 * np.pi * k * hz * at) for k in range(1, 7))
    return 0.4 * partials * np.minimum(1, at / attack) * np.minimum(1, (seconds - at) / release)


def hiss(seconds, seed=0):
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def hum(seconds):
    at = times(seconds)
    return 0.05 * hiss(seconds) + sum(np.sin(2 * np.pi * 50 * k * at + k) / k for k in (1, 2, 3, 5))


def crackle(seconds):
    rng = np.random.default_rng(3)
    sound = hiss(seconds)
    for at in rng.integers(0, len(sound) - 50, round(5 * seconds)):
        sound[at : at + 50] += 30 * rng.standard_normal(50) * np.exp(-np.arange(50) / 12)
    return sound


NOISES = {"hiss": hiss, "hum": hum, "crackle": crackle}


def between(sound, noise, level_db, before=1.2, after=0.8):
    """A sound with noise around it and under it."""
    padded = np.pad(sound, (round(before * RATE), round(after * RATE)))
    under = NOISES[noise](len(padded) / RATE)
    return padded + 10 ** (level_db / 20) * under / np.median(np.abs(under)) * 0.67


def bounds(samples, shortest=0):
    """The seconds trimmed from both ends, and the noise's level."""
    whole = FloatFile.filled(io.BytesIO(), iter([samples.astype(np.float32)]))
    kept, noise = without_noise(whole, RATE, shortest)
    places = np.flatnonzero(whole[: len(whole)] == kept[:1])
    first = next(at for at in places if np.array_equal(whole[at : at + 64], kept[:64]))
    return first / RATE, (len(whole) - first - len(kept)) / RATE, noise


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("level_db", [-60, -45])
def test_noise_around_a_note_is_trimmed(noise, level_db):
    before, after, level = bounds(between(tone(), noise, level_db))
    assert 1.2 - EARLY_SECONDS < before < 1.2 + LATE_SECONDS
    assert 0.8 - EARLY_SECONDS < after < 0.8 + 2 * LATE_SECONDS  # a release dies away under the noise
    assert 20 * np.log10(level) == pytest.approx(level_db, abs=3)


def test_noise_as_loud_as_the_note_is_trimmed_by_the_partials_that_rise_above_it():
    before, after, _ = bounds(between(0.05 * tone(), "hiss", -37))
    assert 1.2 - EARLY_SECONDS < before < 1.2 + LATE_SECONDS
    assert 0.8 - EARLY_SECONDS < after < 0.8 + 2 * LATE_SECONDS


def test_minutes_of_noise_are_trimmed():
    before, _, _ = bounds(between(tone(), "hiss", -50, before=21.0))
    assert 21 - EARLY_SECONDS < before < 21 + LATE_SECONDS


def test_short_hits_are_found_in_noise_though_clicks_are_not():
    hit = hiss(0.06, seed=5) * np.exp(-times(0.06) / 0.02) * 0.3
    hat = 0.2 * hit
    bar = np.concatenate([hat, np.zeros(RATE // 2), tone(0.4), np.zeros(RATE // 2), hat])
    tick = np.concatenate([hit[:160] * 3, np.zeros(RATE // 2), tone(0.4), np.zeros(RATE // 2), hat])
    for noise, sounds in (("hiss", (hit, bar, tick)), ("crackle", (hit, bar))):
        for sound in sounds:
            before, after, _ = bounds(between(sound, noise, -65))
            assert 1.2 - EARLY_SECONDS < before <= 1.2
            assert 0.8 - EARLY_SECONDS < after <= 0.8


def breath(seconds):
    return 0.008 * hiss(seconds, seed=9)


def ringing(seconds):
    """The last partial of a string, and the room's hiss far below."""
    return 0.02 * np.sin(2 * np.pi * 110 * times(seconds)) * 10 ** (-times(seconds) / 4) + 1e-4 * hiss(seconds)


KEPT = {
    "a note alone": tone(),
    "a steady tone": tone(3.0, attack=1e-9, release=1e-9),
    "a swell": tone(3.0) * 10 ** (-2 * np.abs(1 - times(3.0) / 1.5)),
    "a slow swell": tone(3.0) * 10 ** (-0.8 * (1 - times(3.0) / 3.0)),
    "a decay": tone(4.0) * 10 ** (-1.2 * times(4.0) / 4.0),
    "a breath before a tone": np.concatenate([breath(0.2), tone() + breath(1.0) * np.linspace(1, 0, RATE)]),
    "a long breath": np.concatenate([breath(0.7), tone() + breath(1.0) * np.linspace(1, 0, RATE)]),
    "a breath before a tone that is cut": np.concatenate([breath(0.35), 2 * tone(release=1e-9) + breath(1.0)]) / 2,
    "a partial that dies away": tone(4.0, 880) * 10 ** (-6 * np.minimum(times(4.0), 1)) + ringing(4.0),
    "noise alone": 0.1 * hiss(3.0),
    "surf": 0.1 * hiss(4.0) * (0.2 + np.sin(np.pi * times(4.0) / 1.3) ** 4),
    "rain": 0.05 * hiss(4.0) + np.repeat(0.1 * (hiss(0.25, 4) > 2.2), 16)[: 4 * RATE] * hiss(4.0, 2),
    "tremolo": tone(3.0, attack=1e-9) * (1 + 0.8 * np.sin(2 * np.pi * 5 * times(3.0))),
    "digital silence inside": np.concatenate([tone(), np.zeros(RATE), tone()]),
    "a moment": tone(0.3),
    "nothing": np.zeros(RATE),
}


@pytest.mark.parametrize("name", KEPT)
def test_sounds_without_room_noise_keep_every_sample(name):
    assert bounds(KEPT[name]) == (0, 0, 0)


def test_noise_in_front_alone_is_trimmed_if_it_is_far_softer():
    clear = between(tone(release=1e-9), "hiss", -60, after=0)
    assert 1.0 < bounds(clear)[0] < 1.26
    loud = between(tone(release=1e-9), "hiss", -25, after=0)
    assert bounds(loud) == (0, 0, 0)  # it may be a texture's calm


def test_different_noise_at_both_ends_is_a_texture():
    loud = between(0.1 * tone(), "hiss", -40)
    spectrum = np.fft.rfft(loud[-RATE // 2 :])
    gains_db = np.where(np.arange(len(spectrum)) * 2 < 1000, 3, -3)  # 3 dB darker
    other = np.fft.irfft(spectrum * 10 ** (gains_db / 20), RATE // 2)
    assert bounds(loud)[0] > 1
    assert bounds(np.concatenate([loud[: -RATE // 2], other])) == (0, 0, 0)


def test_the_shortest_clip_is_kept_around_a_hit():
    hit = between(hiss(0.06, seed=5) * 0.3, "hiss", -60)
    before, after, _ = bounds(hit, shortest=RATE)
    assert len(hit) / RATE - before - after == pytest.approx(1, abs=1e-3)


def test_hum_is_no_pitch_in_a_pause_and_a_key_is_no_note_there():
    sound = between(np.concatenate([tone(), np.zeros(RATE), tone()]), "hum", -40).astype(np.float32)
    _, _, level = bounds(sound)
    pause = slice(round(2.5 * RATE) // 1024, round(2.9 * RATE) // 1024)
    assert np.isfinite(pitch_track(sound, RATE)[pause]).all()
    assert np.isnan(pitch_track(sound, RATE, level)[pause]).all()
    unpitched = np.full(len(pitch_track(sound, RATE)), np.nan, np.float32)
    assert np.isnan(track_at_key(unpitched, sound, RATE, 69, level)[pause]).all()
    held = slice(round(1.4 * RATE) // 1024, round(2.0 * RATE) // 1024)
    assert pitch_track(sound, RATE, level)[held] == pytest.approx(69, abs=0.1)


def test_a_corpus_of_notes_in_a_humming_room_has_the_seconds_of_the_notes(tmp_path):
    for number, hz in enumerate((220, 330, 440)):
        write(tmp_path / "notes" / f"{number}.wav", between(tone(hz=hz), "hum", -50), RATE, subtype="FLOAT")
    report = build([tmp_path / "notes"], tmp_path / "corpus", rate=RATE, split="1/0/0")
    assert report.seconds == pytest.approx(3.0, abs=6 * EARLY_SECONDS)
    assert report.pitched_seconds == pytest.approx(3.0, abs=0.6)
    for clip, note in zip(Corpus.open(tmp_path / "corpus").clips(), (57, 64, 69), strict=True):
        assert np.nanmedian(Corpus.open(tmp_path / "corpus").pitch(clip)) == pytest.approx(note, abs=0.2)
