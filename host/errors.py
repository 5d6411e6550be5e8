"""Errors with one-line messages for users. Use assert for internal errors."""

from collections.abc import Iterable


class TimbrelError(Exception):
    """One line per mistake."""

    exit_status = 1

    def __str__(self) -> str:
        return "; ".join(map(str, self.args))


class UserError(TimbrelError):
    exit_status = 2


class Failure(TimbrelError):
    """Not the user's fault."""

    exit_status = 1


def printable(text: str) -> str:
    """Replace unprintable characters, such as terminal controls."""
    return "".join(character if character.isprintable() else " " for character in text)


def nearest(word: str, known: Iterable[str]) -> str:
    """Hint for a misspelt word: ``"; did you mean 'x'?"``, or the known words."""
    from difflib import get_close_matches  # lazy: for mistakes alone

    names = sorted(set(known))
    close = get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""
