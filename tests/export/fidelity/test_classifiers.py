"""Classifiers tell sounds apart that differ, and no others; each answers about keys that it did not learn from."""

import numpy as np
import pytest
from timbrel.export.fidelity import floors
from timbrel.export.fidelity.floors import NotePair, classifier_accuracy, pair_of

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
