"""What a player does, each with the sample at which it takes effect.

``time`` counts samples of the output from the start of the performance; ``channel`` is 0 to 15.
"""

from dataclasses import dataclass


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


Event = NoteOn | NoteOff | ControlChange | PitchBend
