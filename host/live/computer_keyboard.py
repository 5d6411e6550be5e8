"""Keyboard input in a terminal: letters as piano keys, and a quit key."""

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

OCTAVE_KEYS = "awsedftgyhujkolp"  # two rows as piano keys: a is C
NOTE_SECONDS = 0.35  # terminals send no key-up: a note ends this long after its last key repeat
MIDDLE = 60
ESCAPE = "\x1b"
# Arrow and function keys: ECMA-48 control sequences, single shifts, and Alt with a key.
SEQUENCE = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|O.|[^\x1b\\[O])", re.DOTALL)


class Typist:
    """With ``piano``, letters play; z and x change octave."""

    def __init__(self, piano: bool) -> None:
        self._piano = Piano() if piano else None
        self._waiting = ""  # an escape that may start a sequence
        self._ended = False  # the terminal is gone

    @property
    def hint(self) -> str:
        return "q quits" if self._piano is None else "Esc quits; a to p play, z and x change the octave"

    def waitables(self) -> list[Any]:
        """[sys.stdin] if it can be polled, which a Windows console cannot."""
        return [] if self._ended or sys.platform == "win32" else [sys.stdin]

    def typed_keys(self) -> list[tuple[int, bool] | str]:
        text = None if self._ended else _typed()
        self._ended = text is None
        return self.read(text or "", time.monotonic())

    def read(self, text: str, now: float) -> list[tuple[int, bool] | str]:
        """(note, on) pairs and ``quit`` of ``text``, typed until ``now`` in seconds."""
        escaped = self._waiting == ESCAPE and not text  # no more text: the Escape key itself
        text = SEQUENCE.sub("", self._waiting + text)
        self._waiting = text[text.find(ESCAPE) :] if ESCAPE in text and not escaped else ""
        text = text.removesuffix(self._waiting)
        if self._piano is None:
            return ["quit"] if "q" in text.casefold() else []
        return ["quit"] if escaped else list(self._piano.moves(text, now))


class Piano:
    def __init__(self) -> None:
        self._base = MIDDLE
        self._until: dict[int, float] = {}

    def moves(self, typed: str, now: float) -> Iterator[tuple[int, bool]]:
        for letter in typed.casefold():
            if letter in "zx":
                self._base = min(96, max(12, self._base + (12 if letter == "x" else -12)))
            elif letter in OCTAVE_KEYS:
                key = self._base + OCTAVE_KEYS.index(letter)
                if key not in self._until:
                    yield key, True
                self._until[key] = now + NOTE_SECONDS
        for key in [key for key, until in self._until.items() if until < now]:
            del self._until[key]
            yield key, False


def can_type() -> bool:
    """Return whether stdin is a terminal with this process in its foreground."""
    if not is_terminal(sys.stdin):
        return False
    # The system stops a background process that reads a terminal.
    return sys.platform == "win32" or os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


def is_terminal(stream: Any) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def _typed() -> str | None:
    import select

    if sys.platform == "win32":
        import msvcrt

        keys = "".join(msvcrt.getwch() for _ in iter(msvcrt.kbhit, False))
        return re.sub("[\0\xe0].", "", keys)  # arrow and function keys send two characters
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    if not ready:
        return ""
    return os.read(sys.stdin.fileno(), 256).decode(errors="ignore") or None


@contextlib.contextmanager
def raw_terminal() -> Iterator[None]:
    """Disable line buffering and echo, but not Ctrl-C's signal."""
    if sys.platform == "win32":
        yield
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
