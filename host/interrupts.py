"""A stop from outside, by Ctrl-C, SIGTERM or a terminal that closes, ends a command in order, as an error does.

Each raises KeyboardInterrupt wherever the command is, so that what it holds open is closed, and what it wrote by halves
goes away.
"""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
AGAIN_SECONDS = (
    1.0  # a terminal that closes sends two at once: the second must not disturb the order that the first makes
)


@dataclass
class _Asked:
    """The stop that was asked of this process; signals reach its main thread alone."""

    number: int | None = None
    at: float = -AGAIN_SECONDS
    held: int = 0
    waits: bool = False


_asked = _Asked()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block for each stop. What nohup had ignored stays ignored, except Ctrl-C.

    A script's background job is born deaf to SIGINT, but a stop that is sent to it must still save its work.
    """
    _asked.number, _asked.at, _asked.waits = None, -AGAIN_SECONDS, False
    heard = [number for number in SIGNALS if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _ask) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let a stop wait for the end of the block, which is brief: a library's C code would lose the exception."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.held += 1
    try:
        yield
    finally:
        _asked.held -= 1
        if _asked.waits and not _asked.held:
            _asked.waits = False
            raise KeyboardInterrupt


def note(number: int) -> None:
    """Tell of a stop that a handler of one's own has met: it decides about the exit status, too."""
    _asked.number = number


def exit_status(status: int) -> int:
    """The exit status of a command that ended with ``status``: where it was stopped before its end, that of the signal.

    That is 128 and the signal's number, as shells have it: 130, 143 or 129.
    """
    return status if status == 0 or _asked.number is None else 128 + _asked.number


def _ask(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if now - _asked.at < AGAIN_SECONDS:
        return
    _asked.number, _asked.at = number, now
    if _asked.held:
        _asked.waits = True
        return
    raise KeyboardInterrupt
