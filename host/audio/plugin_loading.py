"""A plugin's native code may take minutes to load and flood standard error: who waits is told so, with its name."""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator

TELL_SECONDS = 5.0  # of loading, after which it is told of
AGAIN_SECONDS = 15.0  # between the next times: playing gives up a process that says nothing for 20
LEFT_SECONDS = 0.5  # to read what was written last; a process that the plugin began may never close its end
STDERR = 2
SHOWN_BYTES = 200  # of what it wrote

log = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def overheard(name: str) -> Iterator[None]:
    """Load a plugin in the block: that it takes long is told while it does, and what it writes to standard error at the
    end, its first line for all. Both go to this module's logger.

    Args:
        name: of the plugin, as it is told.
    """
    loaded, ear = threading.Event(), _Ear()
    teller = threading.Thread(target=_tell, args=(name, loaded, ear), name="overheard", daemon=True)
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
            log.warning("%s wrote to standard error as it was loaded: %s", name, ear.said)


def _tell(name: str, loaded: threading.Event, ear: "_Ear") -> None:
    began, patience = time.monotonic(), TELL_SECONDS
    while not loaded.wait(patience):
        patience = AGAIN_SECONDS
        writes = f"; it writes to standard error: {ear.said}" if ear.lines else ""
        log.warning("%s is still being loaded, for %.0f s now%s", name, time.monotonic() - began, writes)


class _Ear:
    """Hears what native code writes to standard error: counts its lines, and keeps the first."""

    def __init__(self) -> None:
        self._start, self._end = b"", b"\n"
        self._ends = 0

    @property
    def lines(self) -> int:
        """Return how many there were, with one that is not ended."""
        return self._ends + (self._end != b"\n")

    @property
    def said(self) -> str:
        """The first line, and how many more there were."""
        first = " ".join(self._start.decode(errors="replace").split("\n")[0].split())
        return repr(first) if self.lines == 1 else f"{first!r} and {self.lines - 1} more lines"

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Have native code write into a pipe; Python's own lines go where they went."""
        heard, written = os.pipe()
        reader = threading.Thread(target=self._read, args=(heard,), name="ear", daemon=True)
        reader.start()
        kept = os.dup(STDERR)
        try:
            with os.fdopen(kept, "w", encoding="utf-8", errors="backslashreplace", buffering=1) as own:
                os.dup2(written, STDERR)
                os.close(written)
                try:
                    with contextlib.redirect_stderr(own) if _shared() else contextlib.nullcontext():
                        yield
                finally:
                    os.dup2(kept, STDERR)
        finally:
            reader.join(LEFT_SECONDS)

    def _read(self, pipe: int) -> None:
        """Read until all others have closed their end."""
        with os.fdopen(pipe, "rb", buffering=0) as pieces:
            while piece := pieces.read(65_536):
                self._start = (self._start + piece)[:SHOWN_BYTES]
                self._ends, self._end = self._ends + piece.count(b"\n"), piece[-1:]


def _shared() -> bool:
    """Return True if Python's own standard error is the one of native code, and not what somebody put in its place."""
    try:
        return sys.stderr.fileno() == STDERR
    except (AttributeError, OSError, ValueError):
        return False
