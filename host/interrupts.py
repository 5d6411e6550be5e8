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
class _SignalState:
    """Only the main thread receives signals."""

    number: int | None = None
    received_seconds: float = -AGAIN_SECONDS
    defer_depth: int = 0
    pending: bool = False


_signal_state = _SignalState()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Raise KeyboardInterrupt in the block for each signal, except those that nohup ignores.

    An ignored SIGINT raises too: shells start background jobs ignoring it, but they must save their work.
    """
    _signal_state.number, _signal_state.received_seconds, _signal_state.pending = None, -AGAIN_SECONDS, False
    caught_numbers = [
        number for number in SIGNALS if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN
    ]
    old_handlers = {number: signal.signal(number, _ask) for number in caught_numbers}
    try:
        yield
    finally:
        for signal_number, handler in old_handlers.items():
            signal.signal(signal_number, handler)


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Defer signals in a brief block: C code would lose the exception."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _signal_state.defer_depth += 1
    try:
        yield
    finally:
        _signal_state.defer_depth -= 1
        if _signal_state.pending and not _signal_state.defer_depth:
            _signal_state.pending = False
            raise KeyboardInterrupt


def note(number: int) -> None:
    """Remember the signal that ends the command, for `exit_status`."""
    _signal_state.number = number


def exit_status(status: int) -> int:
    """``status``, or 128 plus the signal's number."""
    return status if status == 0 or _signal_state.number is None else 128 + _signal_state.number


def _ask(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt for a signal, at once or after the block of `defer_signals`."""
    now_seconds = time.monotonic()
    if now_seconds - _signal_state.received_seconds < AGAIN_SECONDS:
        return
    _signal_state.number, _signal_state.received_seconds = number, now_seconds
    if _signal_state.defer_depth:
        _signal_state.pending = True
        return
    raise KeyboardInterrupt
