"""Performance events: notes, controllers, clock and parameter changes.

``time`` is in output samples from the start; ``channel`` is 0 to 15. Racks process events in order of time.
"""

from dataclasses import dataclass
from typing import Literal

# The MIDI specification fixes these controllers' functions, so maps may not use them.
RESERVED_CC = frozenset({0, 6, 32, 38, 64, *range(96, 102), *range(120, 128)})
NULL_PARAMETER = 127 << 7 | 127  # the null parameter number

Part = Literal["coarse", "fine", "up", "down"]  # of data entry: MSB or LSB, or a step


@dataclass(frozen=True, slots=True)
class NoteOn:
    """Key press: ``key`` 0-127 (60 is C4), ``velocity`` 1-127."""

    time: int
    channel: int
    key: int
    velocity: int


@dataclass(frozen=True, slots=True)
class NoteOff:
    """Key release."""

    time: int
    channel: int
    key: int


@dataclass(frozen=True, slots=True)
class ControlChange:
    """Control change: ``number`` and ``value`` 0-127."""

    time: int
    channel: int
    number: int
    value: int


@dataclass(frozen=True, slots=True)
class PitchBend:
    """Pitch bend: ``value`` -8192 to 8191, 0 at rest."""

    time: int
    channel: int
    value: int


@dataclass(frozen=True, slots=True)
class ChannelPressure:
    """Pressure of all keys of a channel: ``value`` 0-127."""

    time: int
    channel: int
    value: int


@dataclass(frozen=True, slots=True)
class KeyPressure:
    """Pressure of one key: ``value`` 0-127."""

    time: int
    channel: int
    key: int
    value: int


@dataclass(frozen=True, slots=True)
class ProgramChange:
    """Program change: ``program`` 0-127."""

    time: int
    channel: int
    program: int


@dataclass(frozen=True, slots=True)
class Timing:
    """A clock or tempo event, without channel."""

    time: int


@dataclass(frozen=True, slots=True)
class Clock(Timing):
    """MIDI clock; a tick is a 24th of a quarter note."""

    message: Literal["tick", "start", "continue", "stop"]


@dataclass(frozen=True, slots=True)
class Tempo(Timing):
    """Tempo change in a MIDI file; ``bpm`` in quarter notes per minute."""

    bpm: float


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """Sets a target, past all maps: from a panel or a plugin's automation.

    ``channel`` is the preset's own, also in an MPE zone. ``target`` is named as in presets; ``value``, in its
    unit, is clamped. Unknown targets are ignored.
    """

    time: int
    channel: int
    target: str
    value: float


@dataclass(frozen=True, slots=True)
class ParameterTouch:
    """The user touches a target, or releases it (``down`` is false).

    No motion moves a touched target; a released one returns to its motion in half a second.
    """

    time: int
    channel: int
    target: str
    down: bool


@dataclass(frozen=True, slots=True)
class DataEntry:
    """Data entry for an RPN (registered) or NRPN; ``value``, 0-127, is unused for steps."""

    time: int
    channel: int
    registered: bool
    parameter: int
    part: Part
    value: int


@dataclass(frozen=True, slots=True)
class AllOff:
    """Release a channel's keys; ``cut`` ends all sound, despite pedals."""

    time: int
    channel: int
    cut: bool


@dataclass(frozen=True, slots=True)
class ControllersReset:
    """Reset a channel's controllers (MIDI RP-015)."""

    time: int
    channel: int


@dataclass(frozen=True, slots=True)
class ZoneSize:
    """Resize an MPE zone: ``channel`` is its master, 0 or 15; ``members`` 0-15, 0 ends it.

    Racks send it after RPN 6.
    """

    time: int
    channel: int
    members: int


@dataclass(frozen=True, slots=True)
class StealVoice:
    """Steal the least audible voice, for lack of processing time."""

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
    | ParameterChange
    | ParameterTouch
    | DataEntry
    | AllOff
    | ControllersReset
    | ZoneSize
    | StealVoice
)
