"""Command progress: a bar on terminals, lines in logs; warns of slow rendering."""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .errors import printable

if TYPE_CHECKING:
    import rich.progress

HOUSE = logging.getLogger(__name__.partition(".")[0])
LOG_SECONDS = 9.0  # between lines where there is no terminal; with a look, at most ten
REMIND_SECONDS = 1.0  # between looks whether a line is due
TOO_LOUD = 0.05  # of the samples of half a second, bent by the limiter: audible as roughness, unlike a drum's peak
SLOW = 10  # times slower than real time, for a warning
LOOK_SECONDS = 5.0  # between checks of the pace

log = logging.getLogger(__name__)


def clock(seconds: float) -> str:
    """``4:05``, ``1:00:00``."""
    total_seconds = max(0, round(seconds))
    hours, minutes, clock_seconds = total_seconds // 3600, total_seconds % 3600 // 60, total_seconds % 60
    return f"{hours}:{minutes:02d}:{clock_seconds:02d}" if hours else f"{minutes}:{clock_seconds:02d}"


@contextlib.contextmanager
def warn_if_slow(seconds_made: Callable[[], float]) -> Iterator[None]:
    """Log a warning if the block renders `SLOW` times slower than real time."""
    block_ended = threading.Event()

    def watch() -> None:
        start_seconds = time.monotonic()
        while not block_ended.wait(LOOK_SECONDS):
            elapsed_seconds, rendered_seconds = time.monotonic() - start_seconds, seconds_made()
            if rendered_seconds * SLOW < elapsed_seconds:
                log.warning(
                    "%.1f s of sound took %.0f s to render; a plugin, many voices or other programs may be why",
                    rendered_seconds,
                    elapsed_seconds,
                )
                return

    watcher = threading.Thread(target=watch, name="pace", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        block_ended.set()
        watcher.join()


class Notices(logging.Handler):
    def __init__(self, show_line: Callable[[str], None]) -> None:
        super().__init__()
        self._show_line = show_line

    def emit(self, record: logging.LogRecord) -> None:
        self._show_line(record.getMessage())


class Display:
    """Shows progress, and log messages as warnings, on standard error.

    Without a terminal, each stage after a command's first is named as it begins, and a line follows every ten seconds,
    also of work that reports nothing.
    """

    def __init__(self) -> None:
        self._notices = Notices(lambda line: self.say(f"warning: {line}"))
        self._terminal = sys.stderr.isatty()
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None
        self._stage = ""
        self._state = ""  # of the stage, as last reported
        self._began = self._spoke = time.monotonic()
        self._turn = threading.Lock()  # of `update` and `remind`, which another thread calls
        self._ended = threading.Event()
        self._reminder = threading.Thread(target=self._remind_until_end, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if self._terminal:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            # notes are names of files, whose brackets are no markup
            texts = [TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[note]}")]
            columns = (texts[0], BarColumn(), texts[1])
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        else:
            self._reminder.start()
        HOUSE.addHandler(self._notices)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        HOUSE.removeHandler(self._notices)
        if self._bar is not None:
            self._bar.stop()
        else:
            self._ended.set()
            self._reminder.join()

    def stage(self, name: str) -> None:
        """Begin a stage."""
        with self._turn:
            is_first = not self._stage
            self._stage, self._state, self._began = name, "", time.monotonic()
            self._spoke = self._began
        if self._bar is None:
            if not is_first:
                self.say(name)
        else:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(name, total=1.0, note="")

    def update(self, share: float, note: str = "", seconds_left: float | None = None) -> None:
        """Show ``share``, 0 to 1, and the remaining time, estimated by default."""
        now_seconds, note = time.monotonic(), printable(note)
        if seconds_left is None and share > 0.02:
            seconds_left = (now_seconds - self._began) * (1 - share) / share
        note_text = note if seconds_left is None else f"{note + ', ' if note else ''}{clock(seconds_left)} left"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=share, note=note_text)
        with self._turn:
            self._state = f"{100 * share:.0f} %{', ' + note if note else ''}"
            if self._bar is None and now_seconds - self._spoke >= LOG_SECONDS:
                self._spoke = now_seconds
                self.say(f"{self._stage}: {100 * share:.0f} %{', ' + note_text if note_text else ''}")

    def remind(self) -> None:
        """Say the stage and its time, if no line was said for `LOG_SECONDS`."""
        with self._turn:
            now_seconds = time.monotonic()
            if self._stage and now_seconds - self._spoke >= LOG_SECONDS:
                self._spoke = now_seconds
                self.say(
                    f"{self._stage}: {self._state + ', ' if self._state else ''}"
                    f"{clock(now_seconds - self._began)} so far"
                )

    def _remind_until_end(self) -> None:
        while not self._ended.wait(REMIND_SECONDS):
            self.remind()

    def say(self, message: str) -> None:
        if self._bar is not None:
            self._bar.console.print(message, markup=False, highlight=False)
        else:
            print(message, file=sys.stderr, flush=True)
