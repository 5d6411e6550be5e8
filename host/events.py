"""Performance events: notes, controllers, clock and parameter changes.

``time`` is in output samples from the start, ``channel`` 0 to 15; MIDI data are 0 to 127 unless stated. Racks process
events in order of time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Literal, TypeVar, get_args

# The MIDI specification fixes these controllers' functions, so maps may not use them.
RESERVED_CC = frozenset({0, 6, 32, 38, 64, *range(96, 102), *range(120, 128)})
NULL_PARAMETER = 127 << 7 | 127  # the null parameter number

Part = Literal["coarse", "fine", "up", "down"]  # of data entry: MSB or LSB, or a step


@dataclass(frozen=True, slots=True)
class NoteOn:
    """``velocity`` is 1 to 127; key 60 is C4. MIDI has whole keys; from Python others sound between them."""

    time: int
    channel: int
    key: float
    velocity: int


@dataclass(frozen=True, slots=True)
class NoteOff:
    time: int
    channel: int
    key: float


@dataclass(frozen=True, slots=True)
class ControlChange:
    time: int
    channel: int
    number: int
    value: int


@dataclass(frozen=True, slots=True)
class PitchBend:
    """``value``: -8192 to 8191, 0 at rest."""

    time: int
    channel: int
    value: int


@dataclass(frozen=True, slots=True)
class ChannelPressure:
    time: int
    channel: int
    value: int


@dataclass(frozen=True, slots=True)
class KeyPressure:
    time: int
    channel: int
    key: int
    value: int


@dataclass(frozen=True, slots=True)
class ProgramChange:
    time: int
    channel: int
    program: int


@dataclass(frozen=True, slots=True)
class Timing:
    """An event without channel."""

    time: int


@dataclass(frozen=True, slots=True)
class Clock(Timing):
    """A tick is a 24th of a quarter note."""

    message: Literal["tick", "start", "continue", "stop"]


@dataclass(frozen=True, slots=True)
class Tempo(Timing):
    """``bpm``: quarter notes per minute."""

    bpm: float


@dataclass(frozen=True, slots=True)
class BeatSync(Timing):
    """Sets the beat of a rack that starts while a clock or tempo from outside runs.

    ``beat``, in quarter notes, goes on to ``next_beat`` within ``seconds``. Clock ticks are ``tick_seconds`` apart; the
    last one is at position ``last_tick``, in ticks, and came ``tick_age`` seconds ago. These are None before the first.
    """

    beat: float
    next_beat: float
    seconds: float
    tick_seconds: float
    last_tick: float | None
    tick_age: float | None
    is_running: bool


@dataclass(frozen=True, slots=True)
class MasterTuning(Timing):
    """Tunes all channels (universal system exclusive); both parts add up.

    ``value``, 14 bits: fine is 8192 × (1 + semitones), coarse has 64 + semitones in its upper half.
    """

    part: Literal["coarse", "fine"]
    value: int


@dataclass(frozen=True, slots=True)
class SystemReset(Timing):
    """Resets notes, controllers, bends and tuning of all channels (General MIDI On), not presets, knobs and zones."""


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """Sets a target, past all maps: from a panel or a plugin's automation.

    ``channel``: the preset's own, also in an MPE zone. ``target``: as in presets; unknown ones are ignored. ``value``:
    in its unit, clamped.
    """

    time: int
    channel: int
    target: str
    value: float


@dataclass(frozen=True, slots=True)
class ParameterTouch:
    """No motion moves a touched target; released, it returns to its motion in half a second."""

    time: int
    channel: int
    target: str
    down: bool


@dataclass(frozen=True, slots=True)
class DataEntry:
    """``parameter``: an RPN (``registered``) or NRPN of 14 bits. Steps ignore ``value``."""

    time: int
    channel: int
    registered: bool
    parameter: int
    part: Part
    value: int


@dataclass(frozen=True, slots=True)
class AllOff:
    """Releases a channel's keys; ``cut`` ends all sound, despite pedals."""

    time: int
    channel: int
    cut: bool


@dataclass(frozen=True, slots=True)
class ControllersReset:
    """Resets a channel's controllers (MIDI RP-015)."""

    time: int
    channel: int


@dataclass(frozen=True, slots=True)
class ZoneSize:
    """Resizes an MPE zone (RPN 6). ``channel``: its master, 0 or 15. ``members``: 0-15, 0 ends it."""

    time: int
    channel: int
    members: int


@dataclass(frozen=True, slots=True)
class LatchEnd:
    """Ends a latched key, of a rack that rings after a preset change and begins no notes."""

    time: int
    channel: int
    key: float


@dataclass(frozen=True, slots=True)
class StealVoice:
    """Steals the least audible voice, for lack of processing time."""

    time: int
    channel: int


Event = (
    NoteOn
    | NoteOff
    | ControlChange
    | PitchBend
    | ChannelPressure
    | KeyPressure
    | ProgramChange
    | Clock
    | Tempo
    | BeatSync
    | MasterTuning
    | SystemReset
    | ParameterChange
    | ParameterTouch
    | DataEntry
    | AllOff
    | ControllersReset
    | ZoneSize
    | LatchEnd
    | StealVoice
)

AnyEvent = TypeVar("AnyEvent", bound=Event)


def _reader(event_type: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """A function that returns the fields after an event's time."""
    names = [field.name for field in fields(event_type)][1:]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda event: tuple(getattr(event, name) for name in names)


_READERS = {event_type: _reader(event_type) for event_type in get_args(Event)}


def retimed(event: AnyEvent, time: int) -> AnyEvent:
    """The event at another time; twice as fast as `dataclasses.replace`, for a live block has dozens."""
    event_type: type[Any] = type(event)
    return event if event.time == time else event_type(time, *_READERS[event_type](event))


def nearest_key(key: float) -> int:
    """The whole key nearest to one between two; the upper one of halves."""
    return math.floor(key + 0.5)
