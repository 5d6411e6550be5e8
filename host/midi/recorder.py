"""MIDI recorder: writes live events to a Standard MIDI File.

mido writes only whole files: a kill would lose all.
"""

import contextlib
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from ..errors import Failure
from ..events import (
    AllOff,
    BeatSync,
    ChannelPressure,
    Clock,
    ControlChange,
    ControllersReset,
    DataEntry,
    Event,
    KeyPressure,
    LatchEnd,
    MasterTuning,
    NoteOff,
    NoteOn,
    ParameterChange,
    ParameterTouch,
    PitchBend,
    ProgramChange,
    StealVoice,
    SystemReset,
    Tempo,
    ZoneSize,
    nearest_key,
)
from ..files import replacing
from . import files
from .decode import CLOCK, exclusive_bytes
from .parser import OURS

LONGEST_DELTA = 0x0FFFFFFF  # ticks: 28 bits, an hour and a half at 48 kHz
MOST_TICKS = 0x7FFF  # a quarter note
RELEASE_VELOCITY = 64  # of note-offs: events do not store it
NOTHING = b"\xff\x01\x00"  # an empty text, to extend delta times
TRACK_END = b"\xff\x2f\x00"
TRACK_AT = 22  # bytes of the file header and the track header
CLOCK_BYTES = {message: byte for byte, message in CLOCK.items()}


class _Note(NamedTuple):
    time: int
    text: str


class Recorder:
    """Writes a file of type 0, with one tick per sample where possible.

    `read_performance` at the same rate returns equal events, samples, order and length. The ``with`` block's exit
    renames the file, also after Ctrl-C or an error, but not after an error without events. Until then a temporary file
    beside it is complete after every `spill`.
    """

    def __init__(self, path: Path, sample_rate: int, overwrite: bool = False, note: str = "") -> None:
        """``sample_rate``: 4000 Hz or more; ``note``: an annotation.

        Raises:
            UserError: as `check_output`.
            Failure: the file cannot be written.
        """
        self._path = path
        division, tempo = _grid(sample_rate)
        self._scale = (division * 1_000_000, tempo * sample_rate)  # ticks a sample, as a fraction
        self._waiting_events: deque[Event | _Note] = deque()
        self._length = 0  # samples
        self._last_tick = 0  # of the last event written
        self._end = TRACK_AT  # bytes of the file in final form
        self._has_events = self._has_failed = False
        track_head = b"\0" + _meta(0x51, tempo.to_bytes(3)) + b"\0" + _ours(note.encode())
        self._exit_stack = contextlib.ExitStack()
        self._temporary = self._exit_stack.enter_context(replacing(path, overwrite))
        try:
            self._temporary.write_bytes(
                b"MThd\0\0\0\6\0\0\0\1" + division.to_bytes(2) + b"MTrk" + len(track_head).to_bytes(4) + track_head
            )
            self._end += len(track_head)
            self._write(b"", 0)
        except BaseException as error:
            self._exit_stack.__exit__(type(error), error, error.__traceback__)
            raise

    def add(self, events: Iterable[Event]) -> None:
        """Queue events in order of time, from one thread, without disk access."""
        self._waiting_events.extend(events)

    def note(self, time: int, text: str) -> None:
        """Queue an annotation, not before queued events."""
        self._waiting_events.append(_Note(time, text))

    def spill(self, length: int) -> None:
        """Write queued events; ``length``: samples so far.

        Call about once a second, not in an audio thread, to limit memory and losses.

        Raises:
            Failure: disk full, or file missing. Recording stops; the earlier part stays playable.
        """
        event_bytes, tick = bytearray(), self._last_tick
        self._length = max(self._length, length)
        for _ in range(len(self._waiting_events)):
            event = self._waiting_events.popleft()
            previous_tick, tick = tick, max(tick, self._ticks(event.time))
            self._length = max(self._length, event.time)
            event_bytes += _delta(tick - previous_tick) + _message(event)
        if self._has_failed:
            return
        try:
            self._write(bytes(event_bytes), tick)
        except OSError as error:
            self._has_failed = True
            with contextlib.suppress(OSError):
                self._write(b"", self._last_tick)
            raise Failure(
                f"cannot record to {self._path}: {error.strerror or error}; what was played before is kept"
            ) from error
        self._has_events = self._has_events or bool(event_bytes)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not self._has_events and not self._waiting_events:
            self._exit_stack.__exit__(kind, error, trace)
            return
        try:
            self.spill(self._length)
        finally:
            self._exit_stack.close()

    def _ticks(self, samples: int) -> int:
        """Within half a sample, so that reading restores it."""
        numerator, denominator = self._scale
        return (2 * samples * numerator + denominator) // (2 * denominator)

    def _write(self, event_bytes: bytes, tick: int) -> None:
        """Append events, the last at ``tick``, and the track's end."""
        end_bytes = _delta(max(0, self._ticks(self._length) - tick)) + TRACK_END
        with self._temporary.open("r+b") as file:
            file.seek(self._end)
            file.write(event_bytes + end_bytes)
            file.truncate()
            file.seek(TRACK_AT - 4)
            file.write((self._end + len(event_bytes) + len(end_bytes) - TRACK_AT).to_bytes(4))
        self._end += len(event_bytes)
        self._last_tick = tick


def _grid(sample_rate: int) -> tuple[int, int]:
    """Ticks and microseconds a quarter note; a tick is at most a sample."""
    for tempo in (500_000, 250_000, 125_000, 1_000_000):
        division, remainder = divmod(tempo * sample_rate, 1_000_000)
        if remainder == 0 and division <= MOST_TICKS:
            return division, tempo
    return MOST_TICKS, MOST_TICKS * 1_000_000 // sample_rate


def _delta(ticks: int) -> bytes:
    """Bytes of a delta time."""
    wait_bytes = b""
    while ticks > LONGEST_DELTA:
        wait_bytes += b"\xff\xff\xff\x7f" + NOTHING
        ticks -= LONGEST_DELTA
    return wait_bytes + _number(ticks)


def _number(value: int) -> bytes:
    """Bytes of a number of variable length."""
    byte_groups = [value & 0x7F]
    while value := value >> 7:
        byte_groups.append(value & 0x7F | 0x80)
    return bytes(reversed(byte_groups))


def _meta(meta_type: int, data: bytes) -> bytes:
    """Bytes of a meta event."""
    return bytes([0xFF, meta_type]) + _number(len(data)) + data


def _ours(data: bytes) -> bytes:
    """Bytes of our sequencer-specific event."""
    return _meta(OURS[0], OURS[1:] + data)


def _message(event: "Event | _Note") -> bytes:
    """Bytes of an event, or of an annotation."""
    match event:
        case _Note(_, text):
            return _ours(text.encode())
        case ParameterChange() | ParameterTouch():
            return _ours(files.to_bytes(event))
        case NoteOn(_, channel, key, velocity):
            return bytes([0x90 | channel, nearest_key(key), velocity])
        case NoteOff(_, channel, key):
            return bytes([0x80 | channel, nearest_key(key), RELEASE_VELOCITY])
        case KeyPressure(_, channel, key, value):
            return bytes([0xA0 | channel, key, value])
        case ControlChange(_, channel, number, value):
            return bytes([0xB0 | channel, number, value])
        case ProgramChange(_, channel, program):
            return bytes([0xC0 | channel, program])
        case ChannelPressure(_, channel, value):
            return bytes([0xD0 | channel, value])
        case PitchBend(_, channel, value):
            return bytes([0xE0 | channel, value + 8192 & 0x7F, value + 8192 >> 7])
        case MasterTuning() | SystemReset():
            status, *data = exclusive_bytes(event)
            return bytes([status, len(data), *data])
        case Clock(_, message):
            return bytes([0xF7, 1, CLOCK_BYTES[message]])
        # internal events
        case (
            DataEntry() | AllOff() | ControllersReset() | ZoneSize() | LatchEnd() | StealVoice() | Tempo() | BeatSync()
        ):
            raise ValueError(f"a MIDI file has no {event}")
