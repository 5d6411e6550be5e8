"""Signal handling: SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, so commands clean up."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
AGAIN_SECONDS = 1.0  # a closing terminal sends two signals at once: the second must not interrupt the cleanup


@dataclass
class _Asked:
    """Only the main thread receives signals."""

    number: int | None = None
    at: float = -AGAIN_SECONDS
    held: int = 0
    waits: bool = False


_asked = _Asked()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block for each signal, except those that nohup ignores.

    An ignored SIGINT raises too: shells start background jobs ignoring it, but they must save their work.
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
    """Defer signals in a brief block: C code would lose the exception."""
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
    _asked.number = number


def exit_status(status: int) -> int:
    """``status``, or 128 plus the signal's number."""
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
