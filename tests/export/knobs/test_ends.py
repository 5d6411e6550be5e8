"""Knobs without a descriptor get the names of the sounds at their ends, where these lie apart."""

import numpy as np
import pytest
from timbrel.export.graphs import EncodedFrames
from timbrel.export.knobs.ends import named_by_ends
from timbrel.host.kinds.card_fields import Latent

FRAMES = 600


def latents(*names):
    return [
        Latent(name=name, low=0, high=1, default=0.5, mean=0.5, std=0.3, moves="moved", unnamed="unsure")
        for name in names
    ]


def codes(*columns, labels=("",) * FRAMES, **notes):
    return EncodedFrames(np.stack(columns, 1).astype(np.float32), list(labels), **notes)


@pytest.fixture
def noise():
    return np.random.default_rng(0).normal(size=FRAMES)


LABELS = [("Flute", "Church Organ 2", "Oboe")[frame % 3] for frame in range(FRAMES)]
PLACES = np.array([{"Flute": -2.0, "Church Organ 2": 2.0, "Oboe": 0.0}[label] for label in LABELS])


def test_a_knob_has_the_names_of_the_labels_at_its_ends_and_says_how_many_codes_lie_there(noise):
    [latent] = named_by_ends(latents("latent 0"), codes(PLACES + 0.1 * noise, labels=LABELS))
    assert latent.name == "flute … church organ"
    assert latent.moves == "75% of flute in its lowest quarter, 75% of church organ in its highest; moved"
    assert latent.unnamed == ""


def test_labels_that_lie_everywhere_name_no_knob_and_the_reason_stays(noise):
    assert named_by_ends(latents("latent 0"), codes(noise, labels=LABELS)) == latents("latent 0")


def test_a_knob_with_a_descriptor_and_one_that_stands_still_keep_their_names(noise):
    given = latents("brightness", "latent 1")
    assert named_by_ends(given, codes(PLACES, np.zeros(FRAMES), labels=LABELS)) == given


def test_no_two_knobs_have_the_same_ends_even_in_another_order(noise):
    columns = (PLACES + 0.1 * noise, -PLACES - 0.1 * noise)
    named = named_by_ends(latents("latent 0", "latent 1"), codes(*columns, labels=LABELS))
    assert [latent.name for latent in named] == ["flute … church organ", "latent 1"]


def test_the_knobs_of_one_instrument_are_named_by_key_and_velocity_in_the_direction_of_the_knob(noise):
    notes, velocities = np.linspace(40, 80, FRAMES), np.tile((64.0, 112.0), FRAMES // 2)
    columns = (-notes + noise, velocities / 10 + noise, 0.1 * notes + 10 * noise)
    one = codes(*columns, labels=["Piano"] * FRAMES, notes=notes, velocities=velocities)
    named = named_by_ends(latents("latent 0", "latent 1", "latent 2"), one)
    assert [latent.name for latent in named] == ["high … low", "soft … loud", "latent 2"]
    assert named[0].moves == "correlates with the key by -1.00; moved"


def test_names_of_recordings_without_a_label_are_no_instruments():
    notes, labels = np.linspace(60, 62, FRAMES), np.repeat(("one", "two", "three"), FRAMES // 3)
    named = codes(notes, labels=labels, notes=notes, instruments=[""] * FRAMES)
    assert [latent.name for latent in named_by_ends(latents("latent 0"), named)] == ["low … high"]


def test_the_knobs_of_a_kit_have_the_names_of_recordings():
    places = np.array([0.0, 3.0, 1.0, 2.0, 1.5])
    [latent] = named_by_ends(latents("latent 0"), codes(places, labels=["kick", "crash", "snare", "clap", "hat"]))
    assert latent.name == "kick … crash"


def test_drawn_codes_of_a_word_are_of_one_word():
    labels = [f"{('one', '2')[frame % 2]} no. {frame // 2 + 1}" for frame in range(FRAMES)]
    places = np.arange(FRAMES, dtype=float)
    assert named_by_ends(latents("latent 0"), codes(places, labels=labels)) == latents("latent 0")


@pytest.mark.parametrize(
    ("label", "word"),
    [
        ("String Ensemble 1", "string ensemble"),
        ("sea_4-204618-a.flac", "sea"),
        ("snare_v1", "snare"),
        ("hand_clap.wav", "hand clap"),
        ("hip-hop/plain 107.67bpm", "hip-hop/plain"),
        ("7", "7"),
        ("808 kick", "808 kick"),
    ],
)
def test_an_end_has_the_words_of_a_name_without_its_number(label, word):
    labels = [label] * 8 + ["other"] * 8
    [latent] = named_by_ends(latents("latent 0"), codes(np.arange(16.0), labels=labels))
    assert latent.name == f"{word} … other"
