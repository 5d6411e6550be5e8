"""Reads groups and labels of clips from names of files and folders: which belong together, and what each is called."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from ...host.errors import UserError
from ...host.units import PITCH_CLASSES, note_name
from .store import Clip

FOLDER = "folder"  # the label that is no regular expression
# Velocities of dynamic marks, an eighth of MIDI's range apart, by their names and abbreviations.
DYNAMICS = {
    "pianississimo": 16, "ppp": 16, "pianissimo": 32, "pp": 32, "piano": 48, "p": 48, "mezzo-piano": 64, "mp": 64,
    "mezzo-forte": 80, "mf": 80, "forte": 96, "f": 96, "fortissimo": 112, "ff": 112, "fortississimo": 127, "fff": 127,
}  # fmt: skip
_MARK = re.compile(
    r"(?<![a-z0-9])(mezzo[-_ ]?(?:piano|forte)|(?:piani|forti)(?:ssi)+mo|piano|forte"
    r"|(?-i:p{1,3}|f{1,3})|PPP?|FFF?|m[pf])(?![a-z0-9])",
    re.IGNORECASE,
)  # a lone capital F is a note
NOTE = re.compile(r"(?<![a-z0-9])([acdfg](?=s)|[a-g])([#♯s♭b]?)[0-9](?![a-z0-9])", re.IGNORECASE)  # A4, Cs5, Bb3
ANOTHER = 0.75  # semitones: what lies nearer is the note, out of tune
MOVED = {"#": 1, "♯": 1, "s": 1, "b": -1, "♭": -1, "": 0}  # semitones


class Names:
    """Takes the groups and the labels of a corpus from names.

    Args:
        group: a regular expression; clips in whose names it matches the same text belong together. None parts them all.
        label: ``"folder"``, or a regular expression on the file's name; None labels nothing.

    Of an expression with groups, the first one's text counts.

    Raises:
        UserError: one is no regular expression.
    """

    def __init__(self, group: str | None, label: str | None) -> None:
        self._group = _pattern(group, "group", "(.*)-[0-9]+")
        self._label, self._folder = label, label == FOLDER
        self._words = None if self._folder else _pattern(label, "label", "^([a-z]+)")

    def group(self, name: str) -> str:
        """Return the text that ties a clip to others; a clip without a match stands alone."""
        found = _matched(name, self._group)
        return name if found is None else found

    def label(self, path: Path) -> str:
        """Return the label of a file; empty where there is none for it."""
        if self._folder:
            return path.resolve().parent.name
        return _matched(path.name, self._words) or ""

    def counted(self, clips: Sequence[Clip]) -> dict[str, int]:
        """Return how many clips each label has, "" counting those without; nothing where no label was asked for.

        Raises:
            UserError: none of the clips has one.
        """
        if self._label is None:
            return {}
        counts = Counter(clip.label for clip in clips)
        if not any(counts):
            names = ", ".join(PurePath(clip.name).name for clip in clips[:2])
            raise UserError(
                f"label {self._label!r} matches in no file's name (such as {names}); give another expression"
            )
        return dict(sorted(counts.items()))


def velocities(names: Iterable[str]) -> dict[str, int]:
    """Return the velocities of the dynamic marks in names of sounds: whole words such as ``mezzo-forte`` or ``mf``.

    The last mark in a file's name counts. One that all names have tells nothing (a piano is no dynamic), nor does one
    mark alone; names without a mark are left out.
    """
    marks = {name: [_mark(found) for found in _MARK.findall(PurePath(name).name)] for name in names}
    everywhere = set.intersection(*(set(found) for found in marks.values())) if marks else set()
    told = {name: [mark for mark in found if mark not in everywhere] for name, found in marks.items()}
    last = {name: found[-1] for name, found in told.items() if found}
    return {name: DYNAMICS[mark] for name, mark in last.items()} if len(set(last.values())) > 1 else {}


def _mark(text: str) -> str:
    return re.sub("mezzo[-_ ]?", "mezzo-", text.lower())


def misnamed(name: str, note: float | None) -> str:
    """Return which note is heard where a file's name says none but others, in words; empty where it does not.

    Args:
        name: of the file.
        note: the MIDI note that is heard, with fractions; None where none is.
    """
    classes = named_classes(name)
    if not classes or note is None or min(abs((note - named + 6) % 12 - 6) for named in classes) < ANOTHER:
        return ""
    return f"{note_name(round(note))} is heard"


def named_classes(name: str) -> set[int]:
    """Return the pitch classes of the notes in a file's name, 0 for C: of ``flute_Cs5_1.wav`` that is 1.

    Octaves are left out, as programs count them from different ones: middle C is C3, C4 or C5.
    """
    return {named_class(letter, sign) % 12 for letter, sign in NOTE.findall(PurePath(name).stem)}


def named_class(letter: str, sign: str) -> int:
    """Return the semitones of a note's letter and sign above its octave's C: of B sharp 12, of C flat -1."""
    return PITCH_CLASSES.index(letter.upper()) + MOVED[sign.lower()]


def _pattern(text: str | None, what: str, example: str) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise UserError(f"{what} {text!r} is no regular expression ({error}); for example {example!r}") from error


def _matched(name: str, pattern: re.Pattern[str] | None) -> str | None:
    match = pattern.search(name) if pattern else None
    if match is None:
        return None
    return match[1] if match.re.groups and match[1] is not None else match[0]
