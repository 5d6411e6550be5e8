"""What the player sees: one calm screen on a terminal, or a line a second."""

import contextlib
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .messages import Report
from .units import note_name

if TYPE_CHECKING:
    import rich.console
    import rich.live

LINE_SECONDS = 1.0
SAID = 4  # last lines that stay on the screen
METER_DB, METER_WIDTH = 48, 32
KNOB_WIDTH = 12
OCTAVE_KEYS = "awsedftgyhujkolp"  # two rows as a piano: a is C
NOTE_SECONDS = 0.35  # a terminal tells no key-up: a note lasts this long, and on while the key repeats
MIDDLE = 60


class Plain:
    """A line a second, flushed: for logs, pipes and screen readers."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, report: Report) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LINE_SECONDS
        print(summary(report), flush=True)

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def typed(self) -> list[tuple[int, bool] | str]:
        return []


def summary(report: Report) -> str:
    """One line of a report."""
    p50, p99 = report.load
    total = sum(report.latency_ms.values())
    peak = f"{report.peak_db:.0f} dB" if report.peak_db > -100 else "silent"
    parts = (
        f"underruns {report.underruns}",
        f"load {p50:.0%} p99 {p99:.0%}",
        f"voices {report.voices}",
        f"shed {report.shed}",
        f"latency {total:.1f} ms",
        f"peak {peak}",
        f"preset {report.preset}",
        f"{report.device} {report.rate} Hz {report.block}",
    )
    return "  ".join(parts) + (f"  {report.last}" if report.last else "")


class Full:
    """A screen that is drawn again ten times a second, on a terminal."""

    def __init__(self, piano: bool) -> None:
        """``piano``: letters play notes; z and x change the octave."""
        from rich.live import Live

        self._piano = Piano() if piano else None
        self._said: deque[str] = deque(maxlen=SAID)
        self._live: rich.live.Live = Live(auto_refresh=False, screen=False)
        self._quit = False

    def __enter__(self) -> "Full":
        self._closing = contextlib.ExitStack()
        self._closing.enter_context(_raw_terminal())
        self._closing.enter_context(self._live)
        return self

    def __exit__(self, *error: Any) -> None:
        self._closing.close()

    def show(self, report: Report) -> None:
        self._live.update(self._page(report), refresh=True)

    def say(self, line: str) -> None:
        self._said.append(line)

    def typed(self) -> list[tuple[int, bool] | str]:
        typed = _typed()
        if "\x1b" in typed or ("q" in typed and self._piano is None):
            return ["quit"]
        return list(self._piano.moves(typed, time.monotonic())) if self._piano is not None else []

    def _page(self, report: Report) -> "rich.console.Group":
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", justify="right")
        table.add_column()
        for name, value in rows(report):
            table.add_row(name, value)
        leave = "Esc quits; a to p play, z and x change the octave" if self._piano is not None else "q quits"
        return Group(table, *(Text(line, style="yellow") for line in self._said), Text(leave, style="dim"))


def rows(report: Report) -> list[tuple[str, str]]:
    """What the screen says, name and value."""
    p50, p99 = report.load
    latency = "  ".join(f"{name} {value:.1f}" for name, value in report.latency_ms.items())
    held = " ".join(note_name(key) for key in report.held[:12]) or "-"
    lit = min(METER_WIDTH, max(0, round((1 + report.peak_db / METER_DB) * METER_WIDTH))) if report.peak_db > -99 else 0
    return [
        ("preset", report.preset),
        ("card", f"{report.device}, {report.rate} Hz, blocks of {report.block}"),
        ("latency", f"{sum(report.latency_ms.values()):.1f} ms ({latency})"),
        ("load", f"{p50:.0%} of a block, p99 {p99:.0%}; underruns {report.underruns}"),
        ("voices", f"{report.voices}" + (f" ({report.shed} given up)" if report.shed else "")),
        ("keys", held),
        ("latents", " ".join(f"{value:+.2f}" for value in report.latents)),
        ("level", "#" * lit + "." * (METER_WIDTH - lit)),
        ("ports", ", ".join(report.ports) or "none"),
        ("last", report.last or "-"),
    ]


class Piano:
    """Letters as keys."""

    def __init__(self) -> None:
        self._base = MIDDLE
        self._until: dict[int, float] = {}

    def moves(self, typed: str, now: float) -> Iterator[tuple[int, bool]]:
        """Notes that begin and end."""
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


def _typed() -> str:
    """What was typed, without waiting."""
    import os
    import select

    if sys.platform == "win32":
        import msvcrt

        return "".join(msvcrt.getwch() for _ in iter(msvcrt.kbhit, False))
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return os.read(sys.stdin.fileno(), 256).decode(errors="ignore") if ready else ""


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Keys come one by one and are not echoed; Ctrl-C still is a signal."""
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
