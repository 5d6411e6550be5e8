"""Reads groups, labels, dynamic marks and notes from file names."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from ...host.errors import UserError
from ...host.units import PITCH_CLASSES, note_name
from .clip_table import Clip

FOLDER = "folder"  # the one label option that is no regular expression
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
ANOTHER = 0.75  # semitones: a smaller difference is detuning
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
        found = _matched(name, self._group)
        return name if found is None else found

    def label(self, path: Path) -> str:
        if self._folder:
            return as_text(path.resolve().parent.name)
        return _matched(as_text(path.name), self._words) or ""

    def counted(self, clips: Sequence[Clip]) -> dict[str, int]:
        """Count clips by label, "" for none; empty if no label was requested.

        Raises:
            UserError: no clip has a label.
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


def as_text(name: str) -> str:
    """Return a path's text, with replacements for invalid UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def velocities(names: Iterable[str]) -> dict[str, int]:
    """Return velocities by name, from the last dynamic mark, a whole word such as ``mf``.

    A mark shared by all names does not count (a piano is no dynamic).
    """
    marks = {name: [_mark(found) for found in _MARK.findall(PurePath(name).name)] for name in names}
    everywhere = set.intersection(*(set(found) for found in marks.values())) if marks else set()
    told = {name: [mark for mark in found if mark not in everywhere] for name, found in marks.items()}
    last = {name: found[-1] for name, found in told.items() if found}
    return {name: DYNAMICS[mark] for name, mark in last.items()} if len(set(last.values())) > 1 else {}


def _mark(text: str) -> str:
    return re.sub("mezzo[-_ ]?", "mezzo-", text.lower())


def misnamed(name: str, note: float | None) -> str:
    """Describe the measured note if the name contains only others; else empty."""
    classes = named_classes(name)
    if not classes or note is None or min(class_distance(named, note) for named in classes) < ANOTHER:
        return ""
    return f"{note_name(round(note))} is heard"


def named_classes(name: str) -> set[int]:
    """Return pitch classes in a file's name, 0 for C, without octaves, which programs number differently."""
    return {named_class(letter, sign) % 12 for letter, sign in NOTE.findall(PurePath(name).stem)}


def named_class(letter: str, sign: str) -> int:
    """Return semitones above C: 12 for B sharp, -1 for C flat."""
    return PITCH_CLASSES.index(letter.upper()) + ACCIDENTALS[sign.lower()]


def class_distance(note: float, other: float) -> float:
    """Return the semitones between two pitch classes, 0 to 6."""
    return abs((other - note + 6) % 12 - 6)


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
