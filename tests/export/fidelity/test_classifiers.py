"""Classifiers tell sounds apart that differ, and no others; each answers about keys that it did not learn from."""

import numpy as np
import pytest
from timbrel.export.fidelity import floors
from timbrel.export.fidelity.floors import NotePair, as_mp3, classifier_accuracy, pair_of
from timbrel.export.fidelity.notes import NoteSound
from timbrel.host.spectra import mel_edges_hz

from .tones import RATE, tone


def pairs(change, notes=30, keys=15, bands=64):
    """Pairs of frames that wander alike; ``change`` makes a played one of such frames."""
    rng, found = np.random.default_rng(0), []
    for number in range(notes):
        middle = -30 + 10 * rng.standard_normal(bands)
        two = [middle + np.cumsum(rng.standard_normal((60, bands)), 0) * 0.3 for _ in range(2)]
        found.append(NotePair(40 + number % keys, two[0].astype(np.float32), change(two[1]).astype(np.float32)))
    return found


@pytest.fixture
def two_parts(monkeypatch):
    """Each classifier learns from half of the keys and is asked about the others, not five times from four fifths."""
    monkeypatch.setattr(floors, "FOLDS", 2)


@pytest.mark.usefixtures("two_parts")
def test_what_is_alike_is_told_apart_by_luck_alone():
    told = classifier_accuracy(pairs(lambda levels: levels))
    assert 0.25 < told["statistics"] < 0.75
    assert 0.25 < told["network"] < 0.75


@pytest.mark.parametrize(
    "change",
    [
        lambda levels: levels + 8 * (np.arange(64) > 40),
        lambda levels: np.repeat(levels.mean(0, keepdims=True), len(levels), 0),
        lambda levels: levels + 3 * np.random.default_rng(1).standard_normal(levels.shape),
    ],
    ids=["brighter", "frozen", "restless"],
)
@pytest.mark.usefixtures("two_parts")
def test_what_differs_is_told_apart_by_one_of_them(change):
    told = classifier_accuracy(pairs(change))
    assert max(told.values()) > 0.9


def test_a_classifier_never_hears_the_keys_that_it_is_asked_about(monkeypatch):
    heard = []

    def answers(known, asked):
        heard.append(({pair.key for pair in known}, {pair.key for pair in asked}))
        return np.tile([0, 1], len(asked))

    monkeypatch.setattr(floors, "_by_statistics", answers)
    monkeypatch.setattr(floors, "_by_network", answers)
    assert classifier_accuracy(pairs(lambda levels: levels)) == {"statistics": 1.0, "network": 1.0}
    assert len(heard) == 10
    assert all(known and not known & asked for known, asked in heard)
    assert set().union(*(asked for _, asked in heard)) == set(range(40, 55))


def test_too_few_notes_are_not_asked_about():
    assert classifier_accuracy(pairs(lambda levels: levels, notes=9)) is None
    assert classifier_accuracy(pairs(lambda levels: levels, keys=4)) is None


@pytest.mark.usefixtures("two_parts")
def test_the_same_notes_give_the_same_answers(monkeypatch):
    monkeypatch.setattr(floors, "STEPS", 20)
    some = pairs(lambda levels: levels + 2 * (np.arange(64) > 50))
    assert classifier_accuracy(some) == classifier_accuracy(some)


def test_a_pair_has_the_frames_that_sound():
    sound = np.concatenate([tone(60), np.zeros(RATE, np.float32)])
    pair = pair_of(60, sound, 0.5 * sound, RATE)
    assert len(pair.recorded) < 1.1 * RATE / 512
    assert pair.played == pytest.approx(pair.recorded, abs=1e-3)


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_a_pair_ends_below_6_khz_and_hears_nothing_above(rate):
    time = np.arange(rate) / rate
    low = (0.1 * np.sin(2 * np.pi * 3000 * time)).astype(np.float32)
    high = (0.3 * np.sin(2 * np.pi * 9000 * time)).astype(np.float32)
    pair = pair_of(60, low, low + high, rate)
    band_count = pair.recorded.shape[1]
    assert mel_edges_hz(rate, 64)[band_count + 1] <= 6000 < mel_edges_hz(rate, 64)[band_count + 2]
    recorded, played = pair.recorded[4:-4], pair.played[4:-4]  # both sounds begin and end with a click
    assert played[recorded > -30] == pytest.approx(recorded[recorded > -30], abs=0.1)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_recording_as_mp3_is_as_long_in_time_and_nearly_alike(channels):
    left, right = tone(60), tone(60, fall=0.8)
    sound = NoteSound(left, np.stack([left, right]) if channels == 2 else None)
    found = as_mp3(sound, RATE)
    assert found.mono.shape == sound.mono.shape
    for number in range(3):
        recorded, decoded = sound.channel(number), found.channel(number)
        if channels == 1 or number < 2:
            error = np.square(decoded - recorded).sum() / np.square(recorded).sum()
            assert 1e-9 < error < 1e-2


def test_where_no_mp3_is_written_there_is_none(monkeypatch):
    assert as_mp3(NoteSound(tone(60, rate=22050)), 22050) is None
    monkeypatch.setattr("soundfile.available_formats", dict)
    assert as_mp3(NoteSound(tone(60)), RATE) is None
