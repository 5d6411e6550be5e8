"""Labels that name a drum of General MIDI get its key, and every other label a free one."""

import string

import pytest
from timbrel.export.kinds.clip import key_table, kit, label_keys
from timbrel.host.model.card import Card

from ...host.clips import clip_card

TR808 = {
    **{"BD": 36, "RS": 37, "SD": 38, "CP": 39, "CH": 42, "LT": 45, "OH": 46, "MT": 47, "CY": 49, "HT": 50, "CB": 56},
    **{"HC": 62, "MC": 63, "LC": 64, "MA": 70, "CL": 75},
}


@pytest.mark.parametrize(
    ("label", "key"),
    [
        *(("kick", 36), ("Kick-01", 36), ("kicks", 36), ("bass drum", 36), ("BassDrum2", 36), ("BD0025", 36)),
        *(("snare", 38), ("SD-soft", 38), ("Snares", 38), ("side stick", 37), ("Rimshot", 37), ("hand clap", 39)),
        *(("closed hat", 42), ("HiHat_Closed", 42), ("CHH", 42), ("hh", 42), ("pedal-hihat", 44), ("PH", 44)),
        *(("open hat", 46), ("HatOpen", 46), ("hi-hat open 2", 46), ("OH75", 46), ("crash", 49), ("cymbal_a", 49)),
        *(("Ride", 51), ("ride bell", 53), ("splash cymbal", 55), ("tambourine", 54), ("tamb", 54), ("cowbell", 56)),
        *(("low tom", 45), ("Lo Tom", 45), ("MidTom", 47), ("high-tom", 50), ("tom", 45), ("floor tom", 41)),
        *(("Electric Snare", 40), ("Acoustic Bass Drum", 35), ("Low-Mid Tom", 47), ("Claves", 75), ("shaker", 70)),
    ],
)
def test_a_label_that_names_a_drum_has_its_key(label, key):
    assert label_keys(["no drum", label])[label] == key


@pytest.mark.parametrize("label", ["backside", "hattrick", "bass", "kickdrumless", "7", "", "chord", "och", "öch"])
def test_parts_of_words_are_no_drums(label):
    assert label_keys([label]) == {label: 36}


def test_the_sounds_of_a_tr_808_have_their_keys():
    assert label_keys(sorted(TR808)) == TR808


def test_labels_that_name_the_same_drum_get_its_other_keys_and_then_free_ones():
    assert label_keys(["kick 1", "kick 2", "kick 3", "hat", "closed hat"]) == {
        "kick 1": 36,
        "kick 2": 35,
        "kick 3": 37,
        "hat": 44,
        "closed hat": 42,
    }


def test_others_get_free_keys_upwards_in_their_order_and_the_lower_ones_last():
    found = label_keys([*string.ascii_uppercase[:3], "snare", "thud"])
    assert found == {"A": 36, "B": 37, "C": 39, "snare": 38, "thud": 40}
    placed = list(label_keys([f"thing {number}" for number in range(128)]).values())
    assert placed == [*range(36, 128), *range(35, -1, -1)]


def card_of(labels):
    marks = [{"latent": [float(n), 1.0], "chroma": None, "label": label} for n, label in enumerate(labels)]
    return Card.model_validate(clip_card(labels=labels, landmarks=marks))


def test_each_of_25_labels_has_a_key_of_a_kit_and_a_line_of_its_table():
    labels = [*TR808, *(f"thing {letter}" for letter in "abcdefghi")]
    card = card_of(labels)
    keys = kit(card)
    assert len({entry.key for entry in keys}) == len(labels) == 25
    assert {entry.label for entry in keys} == set(labels)
    assert [entry.key for entry in keys] == sorted(entry.key for entry in keys)
    table = key_table(keys, card).splitlines()
    assert len(table) == 26
    assert table[1].split() == ["36", "BD"]


def test_hats_choke_each_other_and_nothing_else_does():
    chokes = {entry.label: entry.choke for entry in kit(card_of(["BD", "CH", "OH", "PH"]))}
    assert chokes == {"BD": None, "CH": "hats", "OH": "hats", "PH": "hats"}
    assert {entry.choke for entry in kit(card_of(["BD", "CH"]))} == {None}


def test_labels_beyond_the_keys_that_midi_has_are_said():
    card = card_of([f"thing {number}" for number in range(130)])
    assert key_table(kit(card), card).splitlines()[-1] == "  MIDI has 128 keys, and none for 2 more labels"


def card_of_recordings(names, **changes):
    marks = [{"latent": [float(n), 1.0], "chroma": None, "label": name} for n, name in enumerate(names)]
    training = clip_card()["training"] | {"clips": len(names)}
    prior = {"prior": {"normal": [0.0, 1.0]}}
    return Card.model_validate(clip_card(**{"landmarks": marks[:256], "training": training} | prior | changes))


def test_each_recording_without_a_label_has_a_key_by_its_name():
    card = card_of_recordings(["zap", "ESnare hard", "hh_op 2", "CHat", "kick-3"])
    keys = kit(card)
    assert [(entry.key, entry.label) for entry in keys] == [
        *((36, "kick-3"), (37, "zap"), (40, "ESnare hard"), (42, "CHat"), (46, "hh_op 2")),
    ]
    assert [entry.choke for entry in keys] == [None, None, None, "hats", "hats"]
    assert key_table(keys, card).splitlines()[1].split() == ["36", "kick-3"]


@pytest.mark.parametrize(("count", "keys"), [(11, 11), (128, 128), (129, 128), (300, 128)])
def test_each_of_128_recordings_has_a_key_and_a_line_says_how_many_more_have_none(count, keys):
    card = card_of_recordings([f"thing {number}" for number in range(count)])
    assert len({entry.label for entry in kit(card)}) == len({entry.key for entry in kit(card)}) == keys
    last = key_table(kit(card), card).splitlines()[-1]
    assert last.startswith(f"  MIDI has 128 keys, and none for {count - 128} more sounds") == (count > keys)


def test_recordings_with_one_code_have_a_key_each():
    marks = [{"latent": [0.5, 0.5], "chroma": None, "label": name} for name in ("zip", "zap", "kick")]
    card = card_of_recordings(["zip", "zap", "kick"], landmarks=marks)
    assert [entry.label for entry in kit(card)] == ["kick", "zip", "zap"]


def test_drawn_codes_have_ten_keys_with_codes():
    drawn = card_of_recordings([f"code {number}" for number in range(40)], prior={"uniform": [-1.0, 1.0]})
    keys = kit(drawn)
    assert [entry.key for entry in keys] == list(range(36, 46))
    assert {entry.label for entry in keys} == {None}
    assert key_table(keys, drawn).splitlines()[1].split() == ["36", "code", "0"]
