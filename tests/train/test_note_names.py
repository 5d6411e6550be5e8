"""Names of sample files say notes in many ways; the folder's own majority decides between readings."""

import pytest
from timbrel.host.units import note_name
from timbrel.train.corpus.file_names import best_reading, number_readings, root_reading, spelling_readings

KEYS = range(55, 67)  # an octave around middle C, with all its sharps
FLATS = {"C#": "Db", "D#": "Eb", "F#": "Gb", "G#": "Ab", "A#": "Bb"}
GERMAN = ["C", "Cis", "D", "Es", "E", "F", "Fis", "G", "As", "A", "B", "H"]
DUTCH = ["C", "Cis", "D", "Dis", "E", "F", "Fis", "G", "Gis", "A", "Bes", "B"]
SYLLABLES = ["do", "do#", "re", "re#", "mi", "fa", "fa#", "sol", "sol#", "la", "la#", "si"]


def letters(key, sharp="#", natural="", octave=-1):
    name = note_name(key)[:-1]
    return f"{name.replace('#', sharp) if '#' in name else name + natural}{key // 12 + octave}"


def word(names, key):
    return f"{names[key % 12]}{key // 12 - 1}"


# Conventions by their source: names of one file for each key.
SPELLED = {
    "Sonatina Symphonic Orchestra": lambda key: f"1st-violins-piz-rr1-{letters(key).lower()}.wav",
    "University of Iowa": lambda key: (
        f"Flute.ff.{FLATS.get(note_name(key)[:-1], note_name(key)[:-1])}{key // 12 - 1}.aif"
    ),
    "Philharmonia Orchestra": lambda key: f"flute_{letters(key, 's')}_15_forte_normal.mp3",
    "Salamander Grand Piano": lambda key: f"{letters(key)}v{key % 16 + 1}.wav",
    "autosamplers' velocities": lambda key: f"Piano_{letters(key)}_V127.wav",
    "trackers": lambda key: f"bell {letters(key, natural='-')}.wav",
    "editors": lambda key: f"bell {letters(key, '# ', ' ')}.wav",
    "notes behind a word": lambda key: f"bell{letters(key)}.wav",
    "words": lambda key: f"bell_{letters(key, 'sharp')}.wav",
    "a mark behind the note": lambda key: f"bell_{letters(key)}mf.wav",
    "German": lambda key: f"Glocke {word(GERMAN, key)}.wav",
    "Dutch": lambda key: f"bel {word(DUTCH, key).lower()}.wav",
    "French and Italian": lambda key: f"cloche_{word(SYLLABLES, key)}.wav",
}
NUMBERED = {
    "key": lambda key: f"bell_{key:03}.wav",
    "key alone": lambda key: f"{key:03}.wav",
    "key and velocity": lambda key: f"basename_{key:03}_{100 + key % 3}.wav",
    "program, key and velocity": lambda key: f"gm_014_{key:03}_100.wav",
    "p and v": lambda key: f"p{key}_v79.mp3",
}


@pytest.mark.parametrize("source", SPELLED)
def test_all_keys_of_a_convention_are_read(source):
    named = {SPELLED[source](key): key for key in KEYS}
    reading = best_reading(spelling_readings(named), {})
    assert reading is not None
    assert reading.single_notes() == named


@pytest.mark.parametrize("source", NUMBERED)
def test_numbers_are_keys_in_the_place_where_they_differ_most(source):
    named = {NUMBERED[source](key): key for key in KEYS}
    reading = best_reading(number_readings(named), {})
    assert reading is not None
    assert reading.single_notes() == named
    assert spelling_readings(named) == []
    assert reading.sure == (source != "p and v")  # two digits may count takes


def read(names, heard=()):
    pitches = dict(zip(names, heard, strict=bool(heard)))
    reading = best_reading(spelling_readings(names), pitches)
    return [list(reading.notes[name]) if name in reading.notes else None for name in names] if reading else None


@pytest.mark.parametrize(
    ("names", "notes"),
    [
        (["As3", "Cs3", "Fs3", "D3"], [58, 49, 54, 50]),  # a sharp, as beside it
        (["As3", "Es3", "Cis3", "D3"], [56, 51, 49, 50]),
        (["Es3", "C3", "D3"], [51, 48, 50]),
        (["B3", "H3", "A3"], [58, 59, 57]),
        (["B3", "Bb3", "A3"], [59, 58, 57]),
        (["B3", "Ais3", "Cis3"], [59, 58, 49]),
        (["C-3", "C-4", "C-5"], [48, 60, 72]),
        (["C-1", "C0", "C1", "C#-1"], [0, 12, 24, 1]),  # a sign, beside names without
        (["C-1", "D-1", "F#1"], [24, 26, 30]),
        (["A4 C5", "B4"], [[69, 72], 71]),
        (["A 4", "take 2"], [69, None]),
        (["re\u0301 1", "re\u03014", "do4"], [None, 62, 60]),  # as macOS stores accents
    ],
)
def test_the_majority_of_a_folder_decides_between_readings(names, notes):
    assert read(names) == [note if note is None or isinstance(note, list) else [note] for note in notes]


def test_the_sound_decides_between_readings_of_as_many_names():
    names = ["As3", "C4", "D4"]
    assert read(names) == read(names, [58.2, 60, 62]) == [[58], [60], [62]]
    assert read(names, [56.2, 60, 62]) == [[56], [60], [62]]


@pytest.mark.parametrize(
    "name",
    ["kick01_e12_mp3", "Es", "track4", "bell", "C4#", "abc4", "4C", "C44", "E--4", "E-10", "öc4", "Cſ4", "Cİs4", ""],
)
def test_other_names_have_no_note(name):
    assert read([name]) is None


def test_a_root_key_that_all_files_have_says_nothing():
    assert root_reading({"a": 60, "b": 60}).notes == {}
    assert root_reading({"a": 60, "b": 61}).single_notes() == {"a": 60, "b": 61}
