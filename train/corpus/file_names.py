"""Reads groups and labels from file names."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from ...host.errors import UserError
from .clip_table import Clip

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
        found = _matched(name, self._group)
        return name if found is None else found

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
        counts = Counter(clip.label for clip in clips)
        if not any(counts):
            names = ", ".join(PurePath(clip.name).name for clip in clips[:2])
            raise UserError(
                f"label {self._label!r} matches in no file's name (such as {names}); give another expression"
            )
        return counts


def as_text(name: str) -> str:
    """Return a path's text, with replacements for invalid UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


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
