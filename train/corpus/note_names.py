"""Note names in file names: the conventions of sample libraries, samplers and trackers.

Several conventions may read the names of a folder: ``As3`` is A sharp beside ``Cs3``, and A flat beside ``Es3``. The
convention that reads most names counts; of equal ones, the one whose notes agree with the sounds.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from ...host.units import PITCH_CLASSES
from .file_names import ACCIDENTALS
from .pitch import DETUNED

KEYS = range(21, 109)  # of a piano: other numbers are takes

_NATURALS = {letter.lower(): PITCH_CLASSES.index(letter) for letter in "CDEFGAB"}
_SIGNS = ACCIDENTALS | {"sharp": 1, "flat": -1}  # words, where # is awkward, as in web addresses
_SIGNED = {
    letter + sign: step + shift
    for letter, step in _NATURALS.items()
    for sign, shift in _SIGNS.items()
    if sign != "s" or letter not in "eb"  # E sharp is F; Es is German
}
_TRACKER = {f"{letter}-": step for letter, step in _NATURALS.items()} | {
    f"{letter}#": step + 1 for letter, step in _NATURALS.items()
}
_DUTCH = {
    **_NATURALS,
    **{f"{letter}is": step + 1 for letter, step in _NATURALS.items()},
    **{f"{letter}es": step - 1 for letter, step in _NATURALS.items()},
    **{"es": 3, "as": 8},
}
_GERMAN = {name: step for name, step in _DUTCH.items() if name != "bis"} | {"b": 10, "h": 11, "his": 12}
_SYLLABLES = {"do": 0, "ut": 0, "re": 2, "ré": 2, "mi": 4, "fa": 5, "sol": 7, "la": 9, "si": 11, "ti": 11}
_SOLFEGE = {name + sign: step + shift for name, step in _SYLLABLES.items() for sign, shift in ACCIDENTALS.items()}

# A note is a word, or a capital after a small letter begins it: "bellC4".
_START = r"(?:(?<![^\W_])|(?-i:(?<=[a-z])(?=[A-Z])))"
# A layer, a round robin or a dynamic mark may follow at once: "C4v3", "C4rr1", "C4mf".
_END = r"(?=(?:(?:v|vl|vel|rr)\d{1,3}|p{1,3}|m[pf]|f{1,3})?(?![^\W_]))(?![#♯♭])"
_NUMBER = re.compile(r"(?<![0-9.])[0-9]{1,3}(?![0-9.])")


@dataclass(frozen=True)
class Spelling:
    """A convention: ``semitones`` above C by name; ``octave`` is a pattern, ``example`` middle C's octave."""

    example: str
    source: str
    semitones: Mapping[str, int]
    octave: str = "(-[12]|[0-9])"  # the lowest MIDI note is C-1, or C-2

    @property
    def pattern(self) -> re.Pattern[str]:
        names = "|".join(map(re.escape, sorted(self.semitones, key=len, reverse=True)))
        return re.compile(f"{_START}({names}){self.octave}{_END}", re.IGNORECASE)


SPELLINGS = (
    Spelling("C#4", "libraries: Sonatina, Salamander, University of Iowa; Cs4: Philharmonia Orchestra", _SIGNED),
    Spelling("C-4", "trackers: ProTracker, OpenMPT, Renoise", _TRACKER, "([0-9])"),
    Spelling("C 4", "people who type names", _SIGNED, " ([0-9])"),
    Spelling("Cis4, H4", "German and Scandinavian names", _GERMAN),
    Spelling("Cis4, B4", "Dutch names, LilyPond", _DUTCH),
    Spelling("do4", "French, Italian and Spanish names", _SOLFEGE),
)


@dataclass(frozen=True)
class Reading:
    """MIDI notes by file name, and the ``tails`` of the names behind the last note.

    Sounds without a pitch take only ``sure`` notes.
    """

    notes: Mapping[str, Sequence[int]]
    tails: Mapping[str, str]
    sure: bool = True

    @property
    def rank(self) -> tuple[int, int]:
        """Names that were read, and different notes: two spellings of one note are a misreading."""
        plausible = [notes for notes in self.notes.values() if any(note in KEYS for note in notes)]
        return len(plausible), len({note for notes in plausible for note in notes})

    def single_notes(self) -> dict[str, int]:
        """Return the notes of names that have one."""
        return {name: notes[0] for name, notes in self.notes.items() if len(notes) == 1 and 0 <= notes[0] <= 127}

    def agreeing_notes(self, pitches: Mapping[str, float]) -> dict[str, int]:
        """Return each name's note nearest to the measured pitch, where the pitch class agrees."""
        nearest = {
            name: min(notes, key=lambda note: class_distance(note, pitches[name]))
            for name, notes in self.notes.items()
            if name in pitches
        }
        return {name: note for name, note in nearest.items() if class_distance(note, pitches[name]) < DETUNED}


def spelling_readings(names: Iterable[str]) -> list[Reading]:
    """Return the readings by `SPELLINGS` that read any name."""
    stems = _stems(names)
    readings = (_read_spelling(stems, spelling) for spelling in SPELLINGS)
    return [reading for reading in readings if reading.notes]


def root_reading(roots: Mapping[str, int]) -> Reading:
    """Return the root keys of files as a reading; the same key in all files is an editor's default and says nothing."""
    different = len(set(roots.values())) > 1
    return Reading({name: [key] for name, key in roots.items()} if different else {}, {})


def number_readings(names: Iterable[str]) -> list[Reading]:
    """Return readings of numbers as MIDI keys, one for each place in the names: ``060_100`` has a key and a velocity.

    Keys with three digits are sure: autosamplers write them. Others may be takes.
    """
    stems = _stems(names)
    numbers = {name: list(_NUMBER.finditer(stem)) for name, stem in stems.items()}
    readings = list[Reading]()
    for place in range(max(map(len, numbers.values()), default=0)):
        keys = {name: matches[place] for name, matches in numbers.items() if len(matches) > place}
        keys = {name: key for name, key in keys.items() if int(key[0]) in KEYS}
        if keys:
            tails = {name: stems[name][key.end() :] for name, key in keys.items()}
            padded = all(len(key[0]) == 3 for key in keys.values())
            readings.append(Reading({name: [int(key[0])] for name, key in keys.items()}, tails, padded))
    return readings


def best_reading(readings: Iterable[Reading], pitches: Mapping[str, float]) -> Reading | None:
    """Return the reading of the most names; of equal ones, the one that agrees with most measured pitches.

    ``pitches``: MIDI notes with fractions, by name; it may be empty.
    """
    return max(readings, key=lambda reading: (*reading.rank, len(reading.agreeing_notes(pitches))), default=None)


def class_distance(note: float, other: float) -> float:
    """Return the semitones between two pitch classes, 0 to 6."""
    return abs((other - note + 6) % 12 - 6)


def _stems(names: Iterable[str]) -> dict[str, str]:
    """Return names without folder and suffix; macOS stores accents apart from their letters."""
    return {name: unicodedata.normalize("NFC", PurePath(name).stem) for name in names}


def _read_spelling(stems: Mapping[str, str], spelling: Spelling) -> Reading:
    pattern, notes, tails = spelling.pattern, dict[str, list[int]](), dict[str, str]()
    for name, stem in stems.items():
        for match in pattern.finditer(stem):
            step = spelling.semitones.get(match[1].lower())
            if step is not None:  # case has exceptions, such as a long s
                notes.setdefault(name, []).append(12 * (int(match[2]) + 1) + step)
                tails[name] = stem[match.end() :]
    return Reading(notes, tails)
