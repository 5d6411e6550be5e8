"""Logs slow loading of plugins, and native code's standard error."""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator

TELL_SECONDS = 5.0  # of loading, until the first message
AGAIN_SECONDS = 15.0  # between later messages
LEFT_SECONDS = 0.5  # to read the last lines; a child process of the plugin may never close the pipe
STDERR = 2
SHOWN_BYTES = 200  # of its output

log = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def overheard(name: str) -> Iterator[None]:
    """Log slow loading of plugin ``name`` in the block, then the first line of its standard error."""
    loaded, ear = threading.Event(), _Ear()
    teller = threading.Thread(target=_log_slow_loading, args=(name, loaded, ear), name="overheard", daemon=True)
    try:
        with _one_at_a_time, ear.listening():
            teller.start()
            try:
                yield
            finally:
                loaded.set()
                teller.join()
    finally:
        if ear.lines:
            log.warning("%s wrote to standard error as it was loaded: %s", name, ear.summary)


def _log_slow_loading(name: str, loaded: threading.Event, ear: "_Ear") -> None:
    began, patience = time.monotonic(), TELL_SECONDS
    while not loaded.wait(patience):
        patience = AGAIN_SECONDS
        writes = f"; it writes to standard error: {ear.summary}" if ear.lines else ""
        log.warning("%s is still being loaded, for %.0f s now%s", name, time.monotonic() - began, writes)


class _Ear:
    def __init__(self) -> None:
        self._start, self._end = b"", b"\n"
        self._ends = 0

    @property
    def lines(self) -> int:
        """Including an unfinished line."""
        return self._ends + (self._end != b"\n")

    @property
    def summary(self) -> str:
        first = " ".join(self._start.decode(errors="replace").split("\n")[0].split())
        return repr(first) if self.lines == 1 else f"{first!r} and {self.lines - 1} more lines"

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Redirect native standard error to a pipe; Python's own stays."""
        read_end, write_end = os.pipe()
        reader = threading.Thread(target=self._read, args=(read_end,), name="ear", daemon=True)
        reader.start()
        saved_stderr = os.dup(STDERR)
        try:
            with os.fdopen(
                saved_stderr, "w", encoding="utf-8", errors="backslashreplace", buffering=1
            ) as python_stderr:
                os.dup2(write_end, STDERR)
                os.close(write_end)
                try:
                    with contextlib.redirect_stderr(python_stderr) if _shared() else contextlib.nullcontext():
                        yield
                finally:
                    os.dup2(saved_stderr, STDERR)
        finally:
            reader.join(LEFT_SECONDS)

    def _read(self, pipe: int) -> None:
        with os.fdopen(pipe, "rb", buffering=0) as pieces:
            while piece := pieces.read(65_536):
                self._start = (self._start + piece)[:SHOWN_BYTES]
                self._ends, self._end = self._ends + piece.count(b"\n"), piece[-1:]


def _shared() -> bool:
    """False if Python's standard error was replaced."""
    try:
        return sys.stderr.fileno() == STDERR
    except (AttributeError, OSError, ValueError):
        return False
