"""Layers and velocities in file names are levels, where a folder's names differ in them."""

import pytest
from timbrel.train.corpus.file_names import velocities

NOTES = ("C4", "D#4", "F#4", "A4")


def folder(how, levels):
    return {
        how.format(note=note, key=60 + 3 * place, level=level): level
        for place, note in enumerate(NOTES)
        for level in levels
    }


@pytest.mark.parametrize(
    "how",
    [
        *("{note}_v{level}.wav", "{note}v{level}.wav", "Piano_{note}_V{level:03}.wav", "p{key}_v{level}.mp3"),
        *(
            "bell-{note}-{level:03}.wav",
            "bell_{key:03}_{level:03}.wav",
            "{note} vel{level} rr1.wav",
            "{note}_{level}_2.wav",
        ),
    ],
)
def test_velocities_in_names_are_read(how):
    named = folder(how, (25, 64, 100, 127))
    assert velocities([*named]) == named


@pytest.mark.parametrize(
    ("layers", "expected"),
    [((1, 2, 3, 4), (32, 64, 95, 127)), ((0, 1), (64, 127)), ((4, 10, 15), (34, 85, 127)), (range(1, 17), None)],
)
def test_layers_are_spread_over_the_velocities(layers, expected):
    read = velocities([*folder("{note}v{level}.wav", layers)])
    wanted = expected or tuple(round(127 * layer / 16) for layer in layers)
    assert [read[f"A4v{layer}.wav"] for layer in layers] == list(wanted)
    assert len(read) == len(NOTES) * len(layers)


def test_marks_come_first_and_may_follow_the_note_at_once():
    assert velocities(["C4pp_v1.wav", "C4ff_v1.wav", "D4pp_v2.wav", "D4ff_v2.wav"]) == {
        **{"C4pp_v1.wav": 32, "C4ff_v1.wav": 112},
        **{"D4pp_v2.wav": 32, "D4ff_v2.wav": 112},
    }


def test_the_word_of_an_instrument_is_a_level_where_it_stands_again():
    marks = {"piano": 48, "mezzo-forte": 80, "fortissimo": 112}
    names = {f"piano_{note}_{mark}.flac": velocity for note in NOTES for mark, velocity in marks.items()}
    assert velocities([*names]) == names
    assert velocities([f"piano_{note}_piano.flac" for note in NOTES]) == {}


@pytest.mark.parametrize(
    "names",
    [
        [f"C4-{take:03}.wav" for take in range(1, 101)],  # takes
        [f"{note}_{length}_normal.wav" for note in NOTES for length in ("05", "10", "15")],  # lengths
        [f"{note}_100.wav" for note in NOTES],
        [f"{note}-440.wav" for note in NOTES] + [f"{note}-442.wav" for note in NOTES],
        ["song_v1.wav", "song_v2.wav", "song_v3.wav"],  # versions
        ["pİano.wav", "fortiſſimo.wav", "pianississississimo.wav"],
        ["C4_v2.wav", *(f"{note}.wav" for note in NOTES)],
        [f"{digit}_george_{take}.wav" for digit in range(10) for take in range(100)],
    ],
    ids=["takes", "lengths", "one velocity", "tunings", "versions", "odd letters", "a single name", "words"],
)
def test_other_numbers_are_no_velocities(names):
    assert velocities(names) == {}


@pytest.mark.parametrize("how", ["{note} {level} piano.wav", "piano {note} {level}.wav", "{level} {note} Piano.flac"])
def test_a_mark_that_all_names_share_is_the_instruments_name(how):
    marks = {"pp": 32, "mf": 80, "ff": 112}
    named = {how.format(note=note, level=mark): level for note in NOTES for mark, level in marks.items()}
    assert velocities(list(named)) == named
