"""Reads groups and labels of clips from names of files and folders: which belong together, and what each is called."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from ...host.errors import UserError
from .store import Clip

FOLDER = "folder"  # the label that is no regular expression
# Velocities of dynamic marks, an eighth of MIDI's range apart, by their names and abbreviations.
DYNAMICS = {
    "pianississimo": 16, "ppp": 16, "pianissimo": 32, "pp": 32, "piano": 48, "p": 48, "mezzo-piano": 64, "mp": 64,
    "mezzo-forte": 80, "mf": 80, "forte": 96, "f": 96, "fortissimo": 112, "ff": 112, "fortississimo": 127, "fff": 127,
}  # fmt: skip
_MARK = re.compile(
    r"(?<![a-z0-9])(mezzo[-_ ]?(?:piano|forte)|(?:piani|forti)(?:ssi)+mo|piano|forte|(?-i:p{1,3}|f{1,3})|PPP?|FFF?|m[pf])"
    r"(?![a-z0-9])",
    re.IGNORECASE,
)  # a lone capital F is a note


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
