"""Groups, labels, notes and velocities in file names, by the conventions of sample libraries, samplers and trackers.

Several conventions may read the names of a folder: ``As3`` is A sharp beside ``Cs3``, and A flat beside ``Es3``. The
convention that reads most names counts; of equal ones, the one whose notes agree with the sounds.
"""

import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ...host.errors import UserError
from ...host.units import PITCH_CLASSES
from .clip_table import Clip
from .pitch import DETUNED

FOLDER = "folder"  # the one label option that is no regular expression
ACCIDENTALS = {"#": 1, "♯": 1, "s": 1, "b": -1, "♭": -1, "": 0}  # semitones


class Names:
    """Reads groups and labels of clips; an expression's first group, if any, is its match.

    Args:
        group: a regular expression; clips with one match belong together. None separates all.
        label: ``"folder"``, or a regular expression on the file's name.

    Raises:
        UserError: a regular expression is invalid.
    """

    def __init__(self, group: str | None, label: str | None) -> None:
        self._group = _pattern(group, "group", "(.*)-[0-9]+")
        self._label, self._folder = label, label == FOLDER
        self._words = None if self._folder else _pattern(label, "label", "^([a-z]+)")

    def group(self, name: str) -> str:
        group_name = _matched(name, self._group)
        return name if group_name is None else group_name

    def check_group(self, names: Collection[str]) -> None:
        """Raise `UserError` if a group was requested, and no name of a sound, or of a melody's note, matches."""
        if self._group is not None and not any(
            self._group.search(clip_name) for name in names for clip_name in (name, f"{name}#1")
        ):
            raise _unmatched("group", self._group.pattern, names)

    def label(self, path: Path) -> str:
        if self._folder:
            return as_text(path.resolve().parent.name)
        return _matched(as_text(path.name), self._words) or ""

    def counted(self, clips: Sequence[Clip]) -> Mapping[str, int]:
        """Count clips by label, "" for none; empty if no label was requested.

        Raises:
            UserError: no clip has a label.
        """
        if self._label is None:
            return {}
        label_counts = Counter(clip.label for clip in clips)
        if not any(label_counts):
            raise _unmatched("label", self._label, [clip.name for clip in clips[:2]])
        return label_counts


def _unmatched(option: str, expression: str, names: Iterable[str]) -> UserError:
    example_names = ", ".join(PurePath(name).name for name in itertools.islice(names, 2))
    return UserError(
        f"{option} {expression!r} matches in no file's name (such as {example_names}); give another expression"
    )


def as_text(name: str) -> str:
    """Return a path's text, with replacements for invalid UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def _pattern(text: str | None, option: str, example: str) -> re.Pattern[str] | None:
    """Compile an option's expression; raise UserError with an example."""
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise UserError(f"{option} {text!r} is no regular expression ({error}); for example {example!r}") from error


def _matched(name: str, pattern: re.Pattern[str] | None) -> str | None:
    """Return an expression's first group in a name, else its match; None without."""
    match = pattern.search(name) if pattern else None
    if match is None:
        return None
    return match[1] if match.re.groups and match[1] is not None else match[0]


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
_KEY_NUMBER = re.compile(r"(?<![0-9.])[0-9]{1,3}(?![0-9.])")


@dataclass(frozen=True)
class Spelling:
    """A convention: ``semitones`` above C by name; ``octave`` is a pattern, ``example`` middle C's octave."""

    example: str
    source: str
    semitones: Mapping[str, int]
    octave: str = "(-[12]|[0-9])"  # the lowest MIDI note is C-1, or C-2

    @property
    def pattern(self) -> re.Pattern[str]:
        name_pattern = "|".join(map(re.escape, sorted(self.semitones, key=len, reverse=True)))
        return re.compile(f"{_START}({name_pattern}){self.octave}{_END}", re.IGNORECASE)


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
        plausible_notes = [notes for notes in self.notes.values() if any(note in KEYS for note in notes)]
        return len(plausible_notes), len({note for notes in plausible_notes for note in notes})

    def single_notes(self) -> dict[str, int]:
        """Return the notes of names that have one."""
        return {name: notes[0] for name, notes in self.notes.items() if len(notes) == 1 and 0 <= notes[0] <= 127}

    def agreeing_notes(self, pitches: Mapping[str, float]) -> dict[str, int]:
        """Return each name's note nearest to the measured pitch, where the pitch class agrees."""
        nearest_notes = {
            name: min(notes, key=lambda note: class_distance(note, pitches[name]))
            for name, notes in self.notes.items()
            if name in pitches
        }
        return {name: note for name, note in nearest_notes.items() if class_distance(note, pitches[name]) < DETUNED}


def spelling_readings(names: Iterable[str]) -> list[Reading]:
    """Return the readings by `SPELLINGS` that read any name."""
    stems = _stems(names)
    readings = (_read_spelling(stems, spelling) for spelling in SPELLINGS)
    return [reading for reading in readings if reading.notes]


def root_reading(roots: Mapping[str, int]) -> Reading:
    """Return the root keys of files as a reading; the same key in all files is an editor's default and says nothing."""
    are_different = len(set(roots.values())) > 1
    return Reading({name: [key] for name, key in roots.items()} if are_different else {}, {})


def number_readings(names: Iterable[str]) -> list[Reading]:
    """Return readings of numbers as MIDI keys, one for each place in the names: ``060_100`` has a key and a velocity.

    Keys with three digits are sure: autosamplers write them. Others may be takes.
    """
    stems = _stems(names)
    number_matches = {name: list(_KEY_NUMBER.finditer(stem)) for name, stem in stems.items()}
    readings = list[Reading]()
    for place_index in range(max(map(len, number_matches.values()), default=0)):
        key_matches = {
            name: matches[place_index] for name, matches in number_matches.items() if len(matches) > place_index
        }
        key_matches = {name: key_match for name, key_match in key_matches.items() if int(key_match[0]) in KEYS}
        if key_matches:
            tails = {name: stems[name][key_match.end() :] for name, key_match in key_matches.items()}
            are_padded = all(len(key_match[0]) == 3 for key_match in key_matches.values())
            readings.append(
                Reading({name: [int(key_match[0])] for name, key_match in key_matches.items()}, tails, are_padded)
            )
    return readings


def best_reading(readings: Iterable[Reading], pitches: Mapping[str, float]) -> Reading | None:
    """Return the reading of the most names; of equal ones, the one that agrees with most measured pitches.

    ``pitches``: MIDI notes with fractions, by name; it may be empty.
    """
    return max(readings, key=lambda reading: (*reading.rank, len(reading.agreeing_notes(pitches))), default=None)


def class_distance(note: float, pitch: float) -> float:
    """Return the semitones between two pitch classes, 0 to 6."""
    return abs((pitch - note + 6) % 12 - 6)


def _stems(names: Iterable[str]) -> dict[str, str]:
    """Return names without folder and suffix; macOS stores accents apart from their letters."""
    return {name: unicodedata.normalize("NFC", PurePath(name).stem) for name in names}


def _read_spelling(stems: Mapping[str, str], spelling: Spelling) -> Reading:
    """Return the notes that a spelling finds, by name; ``stems`` are names without suffix."""
    pattern, notes_by_name, tails = spelling.pattern, dict[str, list[int]](), dict[str, str]()
    for name, stem in stems.items():
        for match in pattern.finditer(stem):
            semitone = spelling.semitones.get(match[1].lower())
            if semitone is not None:  # case has exceptions, such as a long s
                notes_by_name.setdefault(name, []).append(12 * (int(match[2]) + 1) + semitone)
                tails[name] = stem[match.end() :]
    return Reading(notes_by_name, tails)


# Velocities of dynamic marks, an eighth of MIDI's range apart, by their names and abbreviations.
DYNAMICS = {
    "pianississimo": 16, "ppp": 16, "pianissimo": 32, "pp": 32, "piano": 48, "p": 48, "mezzo-piano": 64, "mp": 64,
    "mezzo-forte": 80, "mf": 80, "forte": 96, "f": 96, "fortissimo": 112, "ff": 112, "fortississimo": 127, "fff": 127,
}  # fmt: skip
NAMED = 0.8  # of the names have a layer or a velocity
MOST_LAYERS = 32  # Salamander's piano has 16; higher numbers are velocities
LOUD = 64  # a MIDI velocity that some file reaches; else numbers behind notes are takes or lengths

# A mark is a word, or follows the octave of a note: "C4mf". A lone capital F is a note.
_MARK = re.compile(
    r"(?:(?<![a-z0-9])|(?<=[a-h#♯s♭b][0-9]))(mezzo[-_ ]?(?:piano|forte)|(?:piani|forti)(?:ssi)+mo|piano|forte"
    r"|(?-i:p{1,3}|f{1,3})|PPP?|FFF?|m[pf])(?![a-z0-9])",
    re.IGNORECASE,
)
_LAYER = re.compile(
    r"(?:(?<![^\W_])|(?<=[0-9]))(?:velocity|vel|vl|v)[-_ ]?([0-9]{1,3})(?=(?:rr[0-9]+)?(?![^\W_]))", re.IGNORECASE
)
_TAKE = re.compile(r"[-_ ]?(?<![a-z])(?:rr|take|robin)[-_ ]?[0-9]{1,2}(?![^\W_])", re.IGNORECASE)
_LEVEL_NUMBER = re.compile(r"[-_ ]([0-9]{2,3})(?![^\W_]|\.)")


def velocities(names: Sequence[str]) -> dict[str, int]:
    """Return MIDI velocities by name, 1 to 127; empty if names do not differ in them.

    Dynamic marks come first, whole words such as ``mf``, then layers such as ``v3`` of 16 or ``v127``, then numbers
    behind the note: ``C4-025``, ``060_100``.
    """
    readings = (read_velocities(names) for read_velocities in (_mark_velocities, _layer_velocities, _number_velocities))
    return next((velocity_by_name for velocity_by_name in readings if len(set(velocity_by_name.values())) > 1), {})


def takes(velocities_by_name: Mapping[str, int | None]) -> dict[str, str]:
    """Return the sound of each file that is one of several layers or takes, by name: ``snare`` of ``snare_v3_rr2``.

    Dynamics and layers count where they gave the file a velocity; takes are ``rr2``, ``take 2`` or ``robin2``.
    """
    sounds = {}
    for name, velocity in velocities_by_name.items():
        path = PurePath(name)
        stem = path.stem if path.suffix else path.name
        sound = _TAKE.sub("", stem)
        if velocity is not None:
            sound = _LAYER.sub("", _MARK.sub("", sound))
        if sound != stem and (sound := sound.strip("-_ ")):
            sounds[name] = str(path.with_name(sound))
    counts = Counter(sounds.values())
    return {name: sound for name, sound in sounds.items() if counts[sound] > 1}


def hit_layers(names: Iterable[str]) -> dict[str, int]:
    """Return MIDI velocities of the layers of single hits, by name: ``kick_v1`` to ``kick_v3`` beside other sounds.

    Other than notes, whose layers recur on each key, a hit may be the only one that has some.
    """
    number_by_name = {name: _LAYER.findall(PurePath(name).stem) for name in names}
    layer_by_name = {name: int(numbers[-1]) for name, numbers in number_by_name.items() if numbers}
    sounds = takes({name: layer_by_name.get(name) for name in number_by_name})
    layers_by_sound: dict[str, set[int]] = {}
    for name, layer in layer_by_name.items():
        layers_by_sound.setdefault(sounds.get(name, name), set()).add(layer)
    if len({sounds.get(name, name) for name in number_by_name}) == 1:  # versions
        return {}
    return {
        name: round(127 * layer / len(layers))
        for name, layer in layer_by_name.items()
        if len(layers := layers_by_sound[sounds.get(name, name)]) > 1 and layers == set(range(1, len(layers) + 1))
    }


def _mark_velocities(names: Sequence[str]) -> dict[str, int]:
    """Read last marks. One that all names share is the instrument's word, a piano's, and a dynamic where it recurs."""
    words_by_name = {name: map(_mark, _MARK.findall(PurePath(name).name)) for name in names}
    marks_by_name = {name: [mark for mark in words if mark in DYNAMICS] for name, words in words_by_name.items()}
    shared_marks = set.intersection(*map(set, marks_by_name.values())) if marks_by_name else set()
    for marks in marks_by_name.values():
        for mark in shared_marks:
            marks.remove(mark)  # the first
    return {name: DYNAMICS[marks[-1]] for name, marks in marks_by_name.items() if marks}


def _mark(text: str) -> str:
    return re.sub("mezzo[-_ ]?", "mezzo-", text.lower())


def _layer_velocities(names: Sequence[str]) -> dict[str, int]:
    """Read layers: ``v3`` as a share of the last layer, ``v127`` as a velocity."""
    number_texts = {name: _LAYER.findall(PurePath(name).stem) for name in names}
    layer_by_name = {name: int(numbers[-1]) for name, numbers in number_texts.items() if numbers}
    if not layer_by_name or len(layer_by_name) < NAMED * len(names) or max(layer_by_name.values()) > 127:
        return {}
    if max(layer_by_name.values()) > MOST_LAYERS:
        return {name: max(velocity, 1) for name, velocity in layer_by_name.items()}
    if not _is_shared(layer_by_name):  # versions
        return {}
    first_layer = min(min(layer_by_name.values()), 1)  # some count from 0
    layer_count = max(layer_by_name.values()) - first_layer + 1
    return {name: round(127 * (layer - first_layer + 1) / layer_count) for name, layer in layer_by_name.items()}


def _number_velocities(names: Sequence[str]) -> dict[str, int]:
    """Read numbers behind the note as velocities."""
    for readings in (spelling_readings(names), number_readings(names)):
        reading = best_reading(readings, {})
        if reading is not None and len(reading.notes) >= NAMED * len(names):
            number_matches = {name: _LEVEL_NUMBER.match(tail) for name, tail in reading.tails.items()}
            number_by_name = {
                name: int(number_match[1]) for name, number_match in number_matches.items() if number_match
            }
            are_velocities = (
                bool(number_by_name)
                and LOUD <= max(number_by_name.values()) <= 127
                and min(number_by_name.values()) > 0
            )
            return (
                number_by_name
                if are_velocities and len(number_by_name) >= NAMED * len(names) and _is_shared(number_by_name)
                else {}
            )
    return {}


def _is_shared(numbers: Mapping[str, int]) -> bool:
    """Return whether several notes have each number: takes are numbered one by one."""
    return 2 * len(set(numbers.values())) <= len(numbers)
