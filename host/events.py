"""The events of a performance, each with the sample at which it takes effect.

``time`` counts samples of the output from the start of the performance; ``channel`` is 0 to 15. The rack and its
instruments take events in order of time.
"""

from dataclasses import dataclass
from typing import Literal

# What these controllers do is fixed by the MIDI specification, so no map may take them.
RESERVED_CC = frozenset({0, 6, 32, 38, 64, *range(96, 102), *range(120, 128)})
NULL_PARAMETER = 127 << 7 | 127  # the parameter number that selects nothing

Part = Literal["coarse", "fine", "up", "down"]  # of data entry: a half of the value, or a step


@dataclass(frozen=True, slots=True)
class NoteOn:
    """A key goes down: ``key`` 0-127 (60 is C4), ``velocity`` 1-127."""

    time: int
    channel: int
    key: int
    velocity: int


@dataclass(frozen=True, slots=True)
class NoteOff:
    """A key comes up."""

    time: int
    channel: int
    key: int


@dataclass(frozen=True, slots=True)
class ControlChange:
    """A knob, pedal or switch moves: ``number`` and ``value`` 0-127."""

    time: int
    channel: int
    number: int
    value: int


@dataclass(frozen=True, slots=True)
class PitchBend:
    """The pitch wheel moves: ``value`` -8192 to 8191, 0 at rest."""

    time: int
    channel: int
    value: int


@dataclass(frozen=True, slots=True)
class ChannelPressure:
    """All keys of a channel are pressed harder or softer: ``value`` 0-127."""

    time: int
    channel: int
    value: int


@dataclass(frozen=True, slots=True)
class KeyPressure:
    """One key is pressed harder or softer: ``value`` 0-127."""

    time: int
    channel: int
    key: int
    value: int


@dataclass(frozen=True, slots=True)
class ProgramChange:
    """A channel asks for another sound: ``program`` 0-127."""

    time: int
    channel: int
    program: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Whatever is said of the beat, which has no channel."""

    time: int


@dataclass(frozen=True, slots=True)
class Clock(Timing):
    """The MIDI clock: a tick is a 24th of a quarter note."""

    message: Literal["tick", "start", "continue", "stop"]


@dataclass(frozen=True, slots=True)
class Tempo(Timing):
    """A tempo that a MIDI file changes to; ``bpm`` in quarter notes a minute."""

    bpm: float


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """A target goes to a value, independently of all maps: a panel sends this, or a plugin's automation.

    ``channel`` is the preset's own, also while an MPE zone has it. ``target`` is called as in a preset, ``value`` is in
    its unit and kept within its range. A target that the preset does not have is ignored.
    """

    time: int
    channel: int
    target: str
    value: float


@dataclass(frozen=True, slots=True)
class ParameterTouch:
    """A hand takes hold of a target, or lets it go (``down`` is false): while it holds, no motion moves the target.

    ``channel`` and ``target`` as `ParameterChange` has them. A held target stays where it is until it is turned; a
    released one returns to its motion in half a second.
    """

    time: int
    channel: int
    target: str
    down: bool


@dataclass(frozen=True, slots=True)
class DataEntry:
    """A parameter that was selected is given a value: a registered one (RPN), or one of a device's own (NRPN).

    ``parameter`` is its number; ``value`` 0-127 means nothing where ``part`` is a step.
    """

    time: int
    channel: int
    registered: bool
    parameter: int
    part: Part
    value: int


@dataclass(frozen=True, slots=True)
class AllOff:
    """All keys of a channel come up; with ``cut``, all its sound ends at once, whatever pedals hold."""

    time: int
    channel: int
    cut: bool


@dataclass(frozen=True, slots=True)
class ControllersReset:
    """The controllers of a channel go to their rest positions (MIDI RP-015)."""

    time: int
    channel: int


@dataclass(frozen=True, slots=True)
class ZoneSize:
    """An MPE zone gets its size: ``channel`` is its master, 0 or 15; ``members`` 0-15, 0 ends it.

    A rack sends it to the instruments that play the zone, once it has heard RPN 6.
    """

    time: int
    channel: int
    members: int


@dataclass(frozen=True, slots=True)
class StealVoice:
    """A voice is stolen, the one that is missed least: the host has no time to compute all of them."""

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
