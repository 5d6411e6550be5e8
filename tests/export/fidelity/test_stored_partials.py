"""A note of its own partials is that note, but for phases."""

import numpy as np
import pytest
from timbrel.export.fidelity.floors import can_be_stored, from_partials
from timbrel.export.fidelity.measures import nearness
from timbrel.host.model.model import Model
from timbrel.host.preset.shipped import shipped_models
from timbrel.host.units import midi_to_hz
from timbrel.train.families.recipes import load_recipe

RATE, KEY = 44100, 57


@pytest.fixture(scope="module")
def card():
    card = Model(shipped_models()["gm-partials-8"]).card
    edges = load_recipe("tuned-partials").frames.edges_hz
    return card.model_copy(update={"partials": card.partials.model_copy(update={"edges_hz": edges})})


@pytest.fixture(scope="module")
def note():
    """A tone that falls, with noise above it."""
    time = np.arange(RATE) / RATE
    turns = np.random.default_rng(0).random(30)
    hz = midi_to_hz(KEY) * np.arange(1, 31)
    tone = np.cos(2 * np.pi * (np.outer(time, hz) + turns)) @ (0.8 ** np.arange(30)) * np.exp(-2 * time)
    return (0.1 * tone + 0.002 * np.random.default_rng(1).standard_normal(RATE)).astype(np.float32)


def level_db(sound):
    return 10 * np.log10(np.mean(np.square(sound.astype(np.float64))))


def test_a_note_of_its_own_partials_is_as_long_as_it_and_has_its_shape_and_course(card, note):
    again = from_partials(note, KEY, card)
    assert again.shape == note.shape
    found = nearness(note, again, RATE)
    assert found.shape_db < 2.0
    assert found.sustain_db < 2.0
    assert found.envelope_db < 0.5
    assert found.change == pytest.approx(1.0, abs=0.2)
    for at in range(0, RATE, RATE // 5):
        part = slice(at, at + RATE // 5)
        assert level_db(again[part]) - level_db(note[part]) == pytest.approx(level_db(again) - level_db(note), abs=0.5)


def test_an_offset_changes_nothing(card, note):
    plain, lifted = (from_partials(sound, KEY, card) for sound in (note, note + 0.2))
    middle = slice(RATE // 4, -RATE // 4)  # at either end an offset begins or ends, which is heard
    assert np.abs(lifted - plain)[middle].max() < 0.01 * np.abs(plain).max()


def test_another_key_has_other_partials(card, note):
    assert nearness(note, from_partials(note, KEY + 1, card), RATE).shape_db > 5


def test_of_silence_comes_silence(card):
    assert np.abs(from_partials(np.zeros(5000, np.float32), KEY, card)).max() < 1e-6


def test_what_no_recipe_lays_out_so_is_not_taken_apart(card):
    edges = [0.0, 43.0, 1000.0, 22050.0]
    assert can_be_stored(card)
    assert not can_be_stored(card.model_copy(update={"partials": card.partials.model_copy(update={"edges_hz": edges})}))
    assert not can_be_stored(card.model_copy(update={"partials": None}))
