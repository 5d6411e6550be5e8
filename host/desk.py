"""What a controller has set on its channels: parameters by number, MPE zones, and all of it told anew in short.

MIDI has no message that asks a controller where it stands. So what it said is kept here, as far as it still holds.
"""

from collections.abc import Mapping
from typing import NamedTuple

from .controls import NULL_PARAMETER
from .events import ControlChange, Event

LOWER, UPPER = 0, 15  # master channels of the two zones
MOST_MEMBERS = 15
SLIDE = 74  # the controller of a finger's place along its key
BEND_RANGE, CONFIGURATION = 0, 6  # registered parameters
ZONE = 129  # no controller of MIDI has this number: a rack tells its instruments the size of a zone, by its master
RESET = 121  # the controller that resets others (MIDI RP-015)
ALL_OFF = (120, 123, 124, 125, 126, 127)  # controllers that let all keys go
# Where a reset puts a knob, by the controller: all others stay where they are (MIDI RP-015).
RESTS = {1: 0, 11: 127, 65: 0, 66: 0, 67: 0}
ENTRY = (6, 38, 96, 97)  # controllers that give a parameter its value: coarse, fine, a step up, a step down
SELECTION = (98, 99, 100, 101)  # that say which: NRPN fine and coarse, RPN fine and coarse
_PLAYED = (1, 2, 4, 5, 7, 10, 11)  # wheel, breath, foot, glide, volume, pan, expression
# What belongs to a player's hands and feet, not to a preset's knobs; with fine halves, glide's switch and pedals.
PLAYED = frozenset({*_PLAYED, *(number + 32 for number in _PLAYED), 64, 65, 66, RESET})


class Entry(NamedTuple):
    """A value for a parameter that was selected: ``control`` is one of `ENTRY`, ``value`` what it says."""

    registered: bool
    parameter: int
    control: int
    value: int


class Parameters:
    """Which parameter, registered (RPN) or not (NRPN), the data entry of each channel means."""

    def __init__(self) -> None:
        self._selected: dict[int, tuple[bool, int]] = {}

    def hear(self, channel: int, number: int, value: int) -> Entry | None:
        """A controller moves; returns what it enters, if it enters anything."""
        registered, parameter = self._selected.get(channel, (True, NULL_PARAMETER))
        if number in ENTRY:
            return None if parameter == NULL_PARAMETER else Entry(registered, parameter, number, value)
        if number in SELECTION:
            if registered != (number >= 100):
                parameter = NULL_PARAMETER
            coarse = number in (99, 101)
            parameter = value << 7 | parameter & 127 if coarse else parameter & ~127 | value
            self._selected[channel] = (number >= 100, parameter)
        elif number == RESET:
            self._selected.pop(channel, None)
        return None

    def selected(self) -> list[Event]:
        """Messages that select on each channel what is selected there."""
        return [event for channel, which in self._selected.items() for event in selecting(channel, *which)]


def selecting(channel: int, registered: bool, parameter: int) -> list[Event]:
    """Messages that select a parameter."""
    coarse, fine = (101, 100) if registered else (99, 98)
    return [ControlChange(0, channel, coarse, parameter >> 7), ControlChange(0, channel, fine, parameter & 127)]


def bend_range(before: float, entry: Entry) -> float:
    """The range of bends in semitones, after data entry: cents begin at 0 with each new number of semitones."""
    if entry.control == 6:
        return float(entry.value)
    return int(before) + min(entry.value, 99) / 100 if entry.control == 38 else before


def resized(sizes: Mapping[int, int], master: int, members: int) -> dict[int, int]:
    """Sizes of both zones, by master, when one is told its size: the other makes room for it (MPE 1.0, 2.1.1)."""
    members = min(members, MOST_MEMBERS)
    other = UPPER if master == LOWER else LOWER
    left = max(0, MOST_MEMBERS - 1 - members) if members else MOST_MEMBERS
    return {other: min(sizes[other], left), master: members}


def zone_of(sizes: Mapping[int, int], channel: int) -> int | None:
    """The master of the zone that a channel is in."""
    for master, size in sizes.items():
        if size and abs(channel - master) <= size:
            return master
    return None
