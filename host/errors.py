"""Errors, said in one line.

TimbrelError
├── UserError   what was given cannot be used: exit status 2
└── Failure     what should have worked did not: exit status 1

A message names the thing, its value, what is allowed and what to do next. Raise these for people; assert for ourselves.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class TimbrelError(Exception):
    """Base of all errors whose message is meant for people: one line, or of several mistakes a line each."""

    exit_status = 1

    def __str__(self) -> str:
        return "; ".join(map(str, self.args))


class UserError(TimbrelError):
    """Raised where what the user gave cannot be used."""

    exit_status = 2


class Failure(TimbrelError):
    """Raised where something should have worked and did not, through no fault of the user's."""

    exit_status = 1


def printable(text: str) -> str:
    """Text in one line, without what would move a terminal's cursor or colour what it shows."""
    return "".join(character if character.isprintable() else " " for character in text)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint for a misspelt word: ``"; did you mean 'x'?"``, or the known words where none is near."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""
