"""Terminal of a live session: its display, and letters as piano keys."""

import contextlib
import os
import re
import sys
import textwrap
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..progress import TOO_LOUD
from ..session.messages import REPORT_SECONDS, LiveStatus
from ..units import note_name

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
        """As `read`, of the text typed since the last call."""
        typed_text = None if self._ended else _typed()
        self._ended = typed_text is None
        return self.read(typed_text or "", time.monotonic())

    def read(self, text: str, now: float) -> list[tuple[int, bool] | str]:
        """(note, on) pairs and ``quit`` of ``text``, typed until ``now`` in seconds."""
        is_escape_key = self._waiting == ESCAPE and not text  # no more text: the Escape key itself
        text = SEQUENCE.sub("", self._waiting + text)
        self._waiting = text[text.find(ESCAPE) :] if ESCAPE in text and not is_escape_key else ""
        text = text.removesuffix(self._waiting)
        if self._piano is None:
            return ["quit"] if "q" in text.casefold() else []
        return ["quit"] if is_escape_key else list(self._piano.moves(text, now))


class Piano:
    def __init__(self) -> None:
        self._base = MIDDLE
        self._release_times: dict[int, float] = {}

    def moves(self, typed: str, now: float) -> Iterator[tuple[int, bool]]:
        """(key, on) pairs: keys of typed letters, and keys whose time is over."""
        for letter in typed.casefold():
            if letter in "zx":
                self._base = min(96, max(12, self._base + (12 if letter == "x" else -12)))
            elif letter in OCTAVE_KEYS:
                key = self._base + OCTAVE_KEYS.index(letter)
                if key not in self._release_times:
                    yield key, True
                self._release_times[key] = now + NOTE_SECONDS
        for key in [key for key, release_time in self._release_times.items() if release_time < now]:
            del self._release_times[key]
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
    """Text typed since the last call; None if the terminal is gone."""
    import select

    if sys.platform == "win32":
        import msvcrt

        characters = "".join(msvcrt.getwch() for _ in iter(msvcrt.kbhit, False))
        return re.sub("[\0\xe0].", "", characters)  # arrow and function keys send two characters
    readable_streams, _, _ = select.select([sys.stdin], [], [], 0)
    if not readable_streams:
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

    terminal_descriptor = sys.stdin.fileno()
    old_attributes = termios.tcgetattr(terminal_descriptor)
    try:
        tty.setcbreak(terminal_descriptor)
        yield
    finally:
        termios.tcsetattr(terminal_descriptor, termios.TCSADRAIN, old_attributes)


if TYPE_CHECKING:
    import rich.console
    import rich.live
    import rich.text

LINE_SECONDS = 1.0
LOOK_SECONDS = LINE_SECONDS / 4  # between the reports of which each line is the newest
MESSAGE_LINES = 4  # always drawn, so that the lines below do not move
WIDTH = 79  # columns at most, including `LABEL` and two spaces for the names
LABEL = 8
METER_DB, METER_WIDTH = 48, 16
KNOBS = 16  # latents shown
MACROS, FEW_KNOBS = 6, 8  # macros shown; knobs up to this number have room for their names
KNOB_WIDTH, KNOB_COLUMNS, NUMBER = 5, 15, 2  # columns of a bar, of a knob without its name, and of a number
OLDEST_MS = 9999  # largest age shown
SHOWN_KEYS = 12
SILENT_DB = -100
DUMB = ("", "dumb", "unknown")  # terminals that cannot move the cursor up


class _TypingScreen:
    report_seconds = REPORT_SECONDS  # for `Setup`

    def __init__(self, typist: Typist | None) -> None:
        self._typist = typist
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if self._typist is not None:
            self._closing.enter_context(raw_terminal())
        return self

    def __exit__(self, *error: Any) -> None:
        self._closing.close()

    def waitables(self) -> list[Any]:
        return self._typist.waitables() if self._typist is not None else []

    def typed_keys(self) -> list[tuple[int, bool] | str]:
        return self._typist.typed_keys() if self._typist is not None else []


class PlainScreen(_TypingScreen):
    """A status line a second, for logs, pipes and screen readers."""

    report_seconds = LOOK_SECONDS

    def __init__(self, typist: Typist | None = None) -> None:
        super().__init__(typist)
        self._next = 0.0

    def show(self, report: LiveStatus) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LINE_SECONDS
        print(summary(report), flush=True)

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def show_preset_lines(self, lines: list[str]) -> None:
        for line in lines:
            self.say(line)


def summary(report: LiveStatus) -> str:
    """The status in one line."""
    median_load, p99_load = report.load
    status_texts = (
        f"underruns {report.underruns}",
        f"load {median_load:.0%} p99 {p99_load:.0%}",
        f"voices {report.voices}",
        f"shed {report.shed}",
        f"held {len(report.held)}",
        f"latency {sum(report.latency_ms.values()):.1f} ms",
        *([] if report.ahead_ms is None else [f"ahead {report.ahead_ms:.0f} ms"]),
        *([] if report.age_ms is None else [f"age {report.age_ms:.0f} ms"]),
        f"peak {_decibels(max(report.peaks_db))}{_too_loud(report)}",
        f"preset {_presets(report)}",
        f"{report.device} {report.rate} Hz {report.block}",
    )
    return "  ".join(status_texts) + (f"  {report.last}" if report.last else "")


class _MessageLine(NamedTuple):
    line: str
    of_preset: bool


class FullScreen(_TypingScreen):
    def __init__(self, typist: Typist) -> None:
        from rich.live import Live

        super().__init__(typist)
        self._hint = typist.hint
        self._message_lines: deque[_MessageLine] = deque(maxlen=MESSAGE_LINES)
        self._report: LiveStatus | None = None
        self._live: rich.live.Live = Live(auto_refresh=False, vertical_overflow="crop")

    def show(self, report: LiveStatus) -> None:
        if self._report is None:  # not earlier, so that a startup error prints as one line without a screen
            self._closing.enter_context(self._live)
        self._report = report
        self._draw()

    def say(self, line: str) -> None:
        self._message_lines.append(_MessageLine(line, of_preset=False))
        self._draw()

    def show_preset_lines(self, lines: list[str]) -> None:
        session_lines = [message for message in self._message_lines if not message.of_preset]
        self._message_lines.clear()
        self._message_lines.extend(session_lines)
        self._message_lines.extend(_MessageLine(line, of_preset=True) for line in lines)
        self._draw()

    def _draw(self) -> None:
        if self._report is not None:
            page = _Page(self._hint, self._report, [message.line for message in self._message_lines])
            self._live.update(page, refresh=True)


class _Page(NamedTuple):
    hint: str
    report: LiveStatus
    messages: list[str]

    def __rich_console__(
        self, console: "rich.console.Console", options: "rich.console.ConsoleOptions"
    ) -> Iterator["rich.text.Text"]:
        from rich.text import Text

        width = min(WIDTH, options.max_width)
        wrapped_lines = [part for line in self.messages for part in textwrap.wrap(line, width)][-MESSAGE_LINES:]
        lines = [Text(self.hint, style="dim")]  # first, so that a small window shows it
        lines += [Text.assemble((f"{name:>{LABEL}}", "dim"), f"  {value}") for name, value in rows(self.report, width)]
        lines += [Text(line, style="yellow") for line in wrapped_lines + [""] * (MESSAGE_LINES - len(wrapped_lines))]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
            line.truncate(width, overflow="ellipsis")
        yield from lines


def rows(report: LiveStatus, width: int = WIDTH) -> list[tuple[str, str]]:
    """(name, value) rows of at most ``width`` columns; constant in number for a preset."""
    value_columns = width - LABEL - 2
    median_load, p99_load = report.load
    latency_text = " + ".join(
        f"{component} {component_ms:.1f}" for component, component_ms in report.latency_ms.items()
    )
    measured_text = (
        "-" if report.measured_ms is None else f"{report.measured_ms:.1f} ms from a key's arrival to the card"
    )
    meter_bar = _bar((max(report.peaks_db) + METER_DB) / METER_DB, METER_WIDTH)
    keys_text = " ".join(note_name(key) for key in report.held[:SHOWN_KEYS]) + (
        " ..." if len(report.held) > SHOWN_KEYS else ""
    )
    return [
        ("preset", _presets(report)),
        ("card", f"{report.rate} Hz, blocks of {report.block}, {report.device}"),
        *_wrapped(
            "latency",
            f"{sum(report.latency_ms.values()):.1f} ms = {latency_text}",
            value_columns,
            1 if width >= WIDTH else 2,
        ),
        *([] if report.ahead_ms is None else [("delay", _delay(report.ahead_ms))]),
        ("measured", measured_text),
        ("load", f"{median_load:4.0%} of a block, p99 {p99_load:4.0%}; underruns {report.underruns}"),
        ("voices", f"{report.voices:2d}" + (f"  ({report.shed} given up)" if report.shed else "") + _age(report)),
        ("keys", keys_text or "-"),
        *(("latents" if index == 0 else "", line) for index, line in enumerate(_latents(report, value_columns))),
        *(("macros" if index == 0 else "", line) for index, line in enumerate(_macros(report, value_columns))),
        ("level", f"[{meter_bar}] {_decibels(max(report.peaks_db))}{_too_loud(report)}"),
        ("MIDI", ", ".join(report.ports) or "none"),
        *_wrapped("last", report.last or "-", value_columns, 2),
    ]


def _wrapped(name: str, value: str, columns: int, count: int) -> list[tuple[str, str]]:
    """Rows of ``value`` in ``count`` lines, of which the first has the name."""
    first_lines = textwrap.wrap(value, columns)[: count - 1]
    last_line = value[len(" ".join(first_lines)) :].strip()
    row_texts = [*first_lines, last_line, *[""] * (count - 1 - len(first_lines))]
    return [(name if line_index == 0 else "", row_text) for line_index, row_text in enumerate(row_texts)]


def _delay(ahead_ms: float) -> str:
    return f"a knob is heard {ahead_ms:.0f} to {2 * ahead_ms:.0f} ms later"


def _age(report: LiveStatus) -> str:
    return "" if report.age_ms is None else f"  (the last sound {min(report.age_ms, OLDEST_MS):.0f} ms old)"


def _too_loud(report: LiveStatus) -> str:
    return f", too loud: {report.limited:.0%} limited" if report.limited >= TOO_LOUD else ""


def _presets(report: LiveStatus) -> str:
    """Names of the presets, with the channels of those that have one."""
    channel_texts = [f"{slot + 1}={name}" for slot, name in report.presets.items() if slot is not None]
    return " ".join([report.presets[None], *channel_texts])


def _latents(report: LiveStatus, columns: int) -> list[str]:
    """Lines of the latents' knobs."""
    latent_count = min(len(report.latents), len(report.spans))
    latent_names = [
        name or str(index) for index, name in enumerate([*report.names, *[""] * latent_count][:latent_count])
    ]
    named_latents = zip(latent_names, report.latents, report.spans, strict=False)
    knob_entries = [
        (name, value, (value - low) / (high - low) if high > low else 0.0) for name, value, (low, high) in named_latents
    ]
    return _knobs(knob_entries, columns, KNOBS)


def _macros(report: LiveStatus, columns: int) -> list[str]:
    """Lines of the macros' knobs."""
    return _knobs([(name, position, position) for name, position in report.macros], columns, MACROS)


def _knobs(entries: Sequence[tuple[str, float, float]], columns: int, limit: int) -> list[str]:
    """Lines of at most ``limit`` knobs; ``entries``: names, values, and positions from 0 to 1."""
    min_per_row = 2 if len(entries) <= FEW_KNOBS else 3
    name_width = min(max((len(name) for name, *_ in entries), default=0), (columns + 1) // min_per_row - KNOB_COLUMNS)
    name_width = max(name_width, NUMBER)
    knob_texts = [
        f"{name[:name_width]:>{name_width}} [{_bar(position, KNOB_WIDTH)}]{value:+6.2f}"
        for name, value, position in entries
    ]
    knobs_per_row = max(1, (columns + 1) // (name_width + KNOB_COLUMNS))
    lines = [
        " ".join(knob_texts[row_start : min(row_start + knobs_per_row, limit)])
        for row_start in range(0, min(limit, len(knob_texts)), knobs_per_row)
    ]
    return [*lines, f"and {len(knob_texts) - limit} more"] if len(knob_texts) > limit else lines


def _bar(position: float, width: int) -> str:
    lit_columns = round(min(max(position, 0.0), 1.0) * width)
    return "#" * lit_columns + "." * (width - lit_columns)


def _decibels(level: float) -> str:
    return f"{level:.0f} dB" if level > SILENT_DB else "silent"


def can_draw() -> bool:
    return is_terminal(sys.stdout) and (sys.platform == "win32" or os.environ.get("TERM", "") not in DUMB)
