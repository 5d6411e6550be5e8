"""Live playing from Python: a session on a thread, controlled by methods; notes and knob movements as events."""

import atexit
import itertools
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from operator import index
from typing import Any, NamedTuple, Self

import numpy as np

from ...host.errors import Failure, UserError, nearest
from ...host.events import Event, NoteOff, NoteOn, ParameterChange
from ...host.live.session import play_until
from ...host.midi.files import LONGEST_SECONDS, Performance
from ...host.session.messages import Command, Events, LiveStatus, Message, Setup
from ...host.session.takes import Recording

STEP_SECONDS = 0.005  # between the values of a moving knob; the player's own ramps smooth them

Points = float | Sequence[tuple[float, float]]  # a position, or (seconds, position) pairs in order of time


@dataclass(frozen=True)
class Note:
    """A note: MIDI ``key`` 0 to 127 (60 is C4), ``start`` and ``duration`` in seconds, ``velocity`` 1 to 127.

    Raises:
        UserError: a value is out of its range.
    """

    key: int
    start: float = 0.0
    duration: float = 1.0
    velocity: int = 100

    def __post_init__(self) -> None:
        for field_name, low, high in (("key", 0, 127), ("velocity", 1, 127)):
            value = getattr(self, field_name)
            try:
                integer = index(value)
            except TypeError:
                raise UserError(f"Note: {field_name} {value!r} is not a whole number; give {low} to {high}") from None
            if not low <= integer <= high:
                raise UserError(f"Note: {field_name} {value!r} is out of range; give {low} to {high}")
        if not 0 <= number("Note: start", self.start) <= LONGEST_SECONDS:
            raise UserError(f"Note: start {self.start!r} is out of range; give 0 to {LONGEST_SECONDS} seconds")
        if not 0 < number("Note: duration", self.duration) <= LONGEST_SECONDS:
            raise UserError(f"Note: duration {self.duration!r} is out of range; give seconds, more than 0")


class KnobRange(NamedTuple):
    """A knob: the ``target`` as in presets, and its ``low``, ``high`` and ``rest`` in ``unit``."""

    target: str
    low: float
    high: float
    rest: float
    unit: str


def performance_of(notes: Iterable[Note], sample_rate: int) -> Performance:
    """Return the notes as events; a restruck key is released first.

    Raises:
        UserError: no `Note`.
    """
    note_list = list(notes)
    for note in note_list:
        if not isinstance(note, Note):
            raise UserError(f"{note!r} is no timbrel.Note; give notes, or the path of a MIDI file")
    timed_events: list[tuple[int, int, int, Event]] = []
    next_start_samples: dict[int, int] = {}  # the start of each key's next note
    length_samples = 0
    for note in sorted(note_list, key=lambda note: (note.start, note.duration), reverse=True):
        key, start_sample = index(note.key), round(float(note.start) * sample_rate)
        end_sample = max(start_sample + 1, round((float(note.start) + float(note.duration)) * sample_rate))
        length_samples = max(length_samples, end_sample)
        next_start_sample = next_start_samples.get(key, end_sample)
        next_start_samples[key] = start_sample
        if next_start_sample == start_sample:  # of strikes at once the longest counts
            continue
        timed_events.append((start_sample, 1, key, NoteOn(start_sample, 0, key, index(note.velocity))))
        timed_events.append(
            (min(end_sample, next_start_sample), 0, key, NoteOff(min(end_sample, next_start_sample), 0, key))
        )
    timed_events.sort(key=lambda entry: entry[:3])
    warnings = [] if timed_events else ["no notes: the output is silence"]
    return Performance([event for *_, event in timed_events], length_samples, [0] if timed_events else [], warnings)


def knob_changes(
    knobs: Mapping[str, Points], ranges: Mapping[str, KnobRange], channels: Iterable[int], sample_rate: int
) -> list[ParameterChange]:
    """Return changes of knobs, by name or target, in order of time.

    Positions are 0 to 1 of a knob's range; lines join points, and both ends hold.

    Raises:
        UserError: an unknown knob, or points that are not in order of time.
    """
    ranges_by_target = {knob.target: knob for knob in ranges.values()}
    changes: list[ParameterChange] = []
    channel_list = list(channels)
    for knob_name, points in knobs.items():
        knob_range = ranges.get(knob_name) or ranges_by_target.get(knob_name)
        if knob_range is None:
            raise UserError(f"no knob is named {knob_name!r}{nearest(knob_name, [*ranges, *ranges_by_target])}")
        for seconds, position in _moments(knob_name, points):
            value = knob_range.low + position * (knob_range.high - knob_range.low)
            changes += [
                ParameterChange(round(seconds * sample_rate), channel, knob_range.target, value)
                for channel in channel_list
            ]
    return sorted(changes, key=lambda change: change.time)


def _moments(knob_name: str, points: Points) -> list[tuple[float, float]]:
    """Return (seconds, position) pairs that lie close enough to sound like the lines between the points."""
    pairs: list[Any] = [(0.0, points)]
    if isinstance(points, Iterable) and np.ndim(points) > 0:  # an array of numpy may be one number
        pairs = list(points)
    if not pairs:
        raise UserError(f"knob {knob_name!r} has no points; give (seconds, position) pairs, or one position")
    for pair in pairs:
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise UserError(f"knob {knob_name!r}: {pair!r} is no pair; give (seconds, position)")
        seconds, position = (number(f"knob {knob_name!r}: ", coordinate) for coordinate in pair)
        if not 0 <= position <= 1:
            raise UserError(f"knob {knob_name!r}: position {position:g} is out of range; give 0 to 1 of its range")
        if not 0 <= seconds <= LONGEST_SECONDS:
            raise UserError(f"knob {knob_name!r}: {seconds:g} s is out of range; give 0 to {LONGEST_SECONDS} seconds")
    pairs = [(float(seconds), float(position)) for seconds, position in pairs]
    moments = [(0.0, pairs[0][1])]
    for (start_seconds, start_position), (end_seconds, end_position) in itertools.pairwise(pairs):
        if end_seconds < start_seconds:
            raise UserError(
                f"knob {knob_name!r}: {end_seconds:g} s comes after {start_seconds:g} s; give points in order of time"
            )
        step_count = (
            max(1, math.ceil((end_seconds - start_seconds) / STEP_SECONDS)) if end_position != start_position else 1
        )
        fractions = np.arange(1, step_count + 1) / step_count
        moments += [
            (
                float(start_seconds + fraction * (end_seconds - start_seconds)),
                float(start_position + fraction * (end_position - start_position)),
            )
            for fraction in fractions
        ]
    return moments


def number(name: str, value: object) -> float:
    """Return a finite number; raise UserError for all else."""
    if isinstance(value, int | float | np.number | np.ndarray) and np.ndim(value) == 0 and math.isfinite(value):
        return float(value)
    raise UserError(f"{name} {value!r} is no number; give one")


END_SECONDS = 10.0  # for the session to end


class LivePlayer:
    """An instrument that MIDI inputs and methods play live, until ``close`` or the end of ``with``.

    Methods may be called from any thread, and return at once.
    """

    def __init__(self, setup: Setup, knobs: Mapping[str, KnobRange]) -> None:
        """Start the session, and wait until it plays.

        Raises:
            UserError, Failure: as `play_until`.
        """
        self._knobs = knobs
        self._stop, self._changed = threading.Event(), threading.Event()
        self._reports, self._commands = _Reports(self._changed), _Commands()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._play, args=(setup,), name="timbrel", daemon=True)
        self._thread.start()
        atexit.register(self._end)  # a script that ends without close would wait for the sound process
        self._changed.wait()
        if self._reports.newest is None:
            self._end()
            raise self._error or Failure("the session ended before it played; play again")

    @property
    def status(self) -> LiveStatus:
        """The newest report: device, latency, load, underruns, voices and more."""
        assert self._reports.newest is not None
        return self._reports.newest

    @property
    def messages(self) -> Sequence[str]:
        return tuple(self._reports.lines)

    @property
    def playing(self) -> bool:
        return self._thread.is_alive()

    def note_on(self, key: int, velocity: int = 100) -> None:
        """Ranges are as in `Note`."""
        Note(key, velocity=velocity)
        self._send(NoteOn(0, 0, key, velocity))

    def note_off(self, key: int) -> None:
        Note(key)
        self._send(NoteOff(0, 0, key))

    def turn(self, knob: str, position: float) -> None:
        """Turn a knob to ``position``, 0 to 1 of its range.

        Raises:
            UserError: no such knob or position.
        """
        self._send(*knob_changes({knob: number(f"knob {knob!r}:", position)}, self._knobs, [0], 1))

    def close(self) -> None:
        """Stop playing; raise the error that had ended it."""
        self._end()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _end(self) -> None:
        self._stop.set()
        self._thread.join(END_SECONDS)
        self._commands.close()
        atexit.unregister(self._end)

    def _play(self, setup: Setup) -> None:
        try:
            play_until(self._stop, setup, self._reports, Recording(), panel=self._commands)
        except (UserError, Failure, OSError) as error:
            self._error = error
        finally:
            self._changed.set()

    def _send(self, *events: Event) -> None:
        if not self.playing:
            raise UserError("nothing plays any more; start it again with timbrel.play")
        self._commands.send(Events(events))


class _Reports:
    """A session's newest status, and its lines."""

    def __init__(self, changed: threading.Event) -> None:
        self.newest: LiveStatus | None = None
        self.lines: list[str] = []
        self._changed = changed

    def show(self, report: LiveStatus) -> None:
        self.newest = report
        self._changed.set()

    def say(self, line: str) -> None:
        self.lines.append(line)

    def show_preset_lines(self, lines: list[str]) -> None:
        self.lines += lines

    def waitables(self) -> Sequence[Any]:
        return []

    def typed_keys(self) -> list[tuple[int, bool] | str]:
        return []


class _Commands:
    """Commands on their way to a session."""

    def __init__(self) -> None:
        self._receiver, self._sender = Pipe(duplex=False)
        self._sending = threading.Lock()

    def send(self, command: Command) -> None:
        with self._sending:
            self._sender.send(command)

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()

    def waitables(self) -> Sequence[Any]:
        return [self._receiver]

    def commands(self) -> list[Command]:
        received_commands = []
        while self._receiver.poll():
            received_commands.append(self._receiver.recv())
        return received_commands

    def show(self, message: Message) -> None:
        pass
