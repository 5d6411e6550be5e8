"""What a controller has set on its channels: parameters by number, MPE zones, and all of it told anew in short.

MIDI has no message that asks a controller where it stands. So what it said is kept here, as far as it still holds.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from ..controls import NULL_PARAMETER
from ..events import ChannelPressure, Clock, ControlChange, Event, NoteOff, NoteOn, PitchBend

LOWER, UPPER = 0, 15  # master channels of the two zones
MOST_MEMBERS = 15
SLIDE = 74  # the controller of a finger's place along its key
BEND_RANGE, CONFIGURATION = 0, 6  # registered parameters
RESET = 121  # the controller that resets others (MIDI RP-015)
ALL_OFF = (120, 123, 124, 125, 126, 127)  # controllers that let all keys go
# Where a reset puts a knob, by the controller: all others stay where they are (MIDI RP-015).
RESTS = {1: 0, 11: 127, 65: 0, 66: 0, 67: 0}
PEDALS = (64, 66, 67, 69)  # sustain, sostenuto, soft, hold: what is down while a foot is on it
ENTRY = (6, 38, 96, 97)  # controllers that give a parameter its value: coarse, fine, a step up, a step down
SELECTION = (98, 99, 100, 101)  # that say which: NRPN fine and coarse, RPN fine and coarse
_PLAYED = (1, 2, 4, 5, 7, 10, 11)  # wheel, breath, foot, glide, volume, pan, expression
# What belongs to a player's hands and feet, not to a preset's knobs; with fine halves, glide's switch and pedals.
PLAYED = frozenset({*_PLAYED, *(number + 32 for number in _PLAYED), *PEDALS, 65, RESET})


class Standing(NamedTuple):
    """Where controllers left a player: what they said, at sample 0, and where targets of knobs stood, by channel."""

    said: Sequence[Event] = ()
    knobs: Mapping[int, Mapping[str, float]] = {}


UNTOUCHED = Standing()


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
            self._selected[channel] = (True, NULL_PARAMETER)
        return None

    def selected(self) -> list[Event]:
        """Messages that select on each channel what is selected there."""
        return [event for channel, which in self._selected.items() for event in selecting(channel, *which)]


def selecting(channel: int, registered: bool, parameter: int) -> list[Event]:
    """Messages that select a parameter."""
    coarse, fine = (101, 100) if registered else (99, 98)
    return [ControlChange(0, channel, coarse, parameter >> 7), ControlChange(0, channel, fine, parameter & 127)]


def bend_range(before: float, entry: Entry) -> float:
    """Return the range of bends in semitones, after data entry: cents begin at 0 with each new number of semitones."""
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
    """Return the master of the zone that a channel is in."""
    for master, size in sizes.items():
        if size and abs(channel - master) <= size:
            return master
    return None


class _Thing(NamedTuple):
    """What something is said of; said of a zone's member, it is not what is said of the channel outside of a zone."""

    channel: int
    member: bool
    kind: Literal["bend", "pressure", "controller", "RPN", "NRPN", "zone"]
    number: int = 0


class Desk:
    """The shortest performance that leaves a fresh rack where all that was heard so far left the one that plays.

    What is said last of a thing holds, in the order in which it was said: a zone that begins resets what was before
    it, and so does a reset. Steps (CC 96 and 97) and the clock are not kept: they count from where a rack is.
    """

    def __init__(self) -> None:
        self._parameters = Parameters()
        self._sizes = {LOWER: 0, UPPER: 0}
        self._said: dict[_Thing, list[Event]] = {}
        self._keys: dict[tuple[int, int], NoteOn] = {}

    def hear(self, event: Event) -> None:
        """Take what a controller says."""
        match event:
            case NoteOn(_, channel, key):
                self._keys.pop((channel, key), None)
                self._keys[channel, key] = event
            case NoteOff(_, channel, key):
                self._keys.pop((channel, key), None)
            case PitchBend(_, channel):
                self._say(_Thing(channel, self._is_member(channel), "bend"), event)
            case ChannelPressure(_, channel, value):
                thing = _Thing(channel, self._is_member(channel), "pressure")
                pressed = self._said.get(thing, [])[:1] if value == 0 else []  # without it, 0 would move nothing
                self._say(thing, *pressed, event)
            case ControlChange():
                self._hear_control(event)

    @property
    def keys(self) -> list[NoteOn]:
        """The keys that are down, the newest last."""
        return list(self._keys.values())

    def forget_knobs(self, channels: Collection[int]) -> None:
        """Other presets come to these channels (0 to 15): the knobs of those before them say nothing any more.

        What stays are the controllers of `PLAYED`, bends, pressures, bend ranges, zones, and what fingers in zones do.
        """
        self._said = {
            thing: events
            for thing, events in self._said.items()
            if thing.channel not in channels
            or not (thing.kind == "NRPN" or (thing.kind == "controller" and not thing.member))
            or (thing.kind == "controller" and thing.number in PLAYED)
        }

    def everything(self) -> list[Event]:
        """Return what a fresh rack must hear, at sample 0."""
        return [event for events in self._said.values() for event in events] + self._parameters.selected()

    def _is_member(self, channel: int) -> bool:
        return zone_of(self._sizes, channel) not in (None, channel)

    def _hear_control(self, event: ControlChange) -> None:
        channel, number, member = event.channel, event.number, self._is_member(event.channel)
        entry = self._parameters.hear(channel, number, event.value)
        if entry is not None:
            self._enter(channel, entry)
        elif number in ALL_OFF:
            if not member:
                zone = zone_of(self._sizes, channel)
                self._keys = {at: note for at, note in self._keys.items() if zone_of(self._sizes, at[0]) != zone}
        elif number not in SELECTION and number not in ENTRY and (not member or number in (SLIDE, RESET)):
            self._say(_Thing(channel, member, "controller", number), event)

    def _enter(self, channel: int, entry: Entry) -> None:
        if entry[:2] == (True, CONFIGURATION):
            if entry.control == 6 and channel in (LOWER, UPPER):
                self._configure(channel, entry.value)
        elif entry.control in (6, 38):
            kind: Literal["RPN", "NRPN"] = "RPN" if entry.registered else "NRPN"
            thing = _Thing(channel, self._is_member(channel), kind, entry.parameter)
            halves = {data.number: data for data in self._said.get(thing, [])[2:] if isinstance(data, ControlChange)}
            if entry.control == 6 and 38 in halves:  # a fine half was heard, and begins at 0 with each coarse one
                halves[38] = ControlChange(0, channel, 38, 0)
            halves[entry.control] = ControlChange(0, channel, entry.control, entry.value)
            self._say(thing, *selecting(channel, *entry[:2]), *(halves[n] for n in sorted(halves)))

    def _configure(self, master: int, members: int) -> None:
        before, self._sizes = self._sizes, resized(self._sizes, master, members)
        for zone, size in self._sizes.items():  # the other, if it gives channels, before the one that takes them
            if zone == master or size != before[zone]:
                for thing in list(self._said):
                    if thing.member and zone_of(before, thing.channel) == zone:
                        del self._said[thing]
                size_told = ControlChange(0, zone, 6, size)
                self._say(_Thing(zone, False, "zone"), *selecting(zone, True, CONFIGURATION), size_told)

    def _say(self, thing: _Thing, *events: Event) -> None:
        self._said.pop(thing, None)
        self._said[thing] = [replace(event, time=0) for event in events]


def hands_off() -> list[Event]:
    """Return what is heard at sample 0 where hands and feet are gone: keys, pedals, bends and pressures; knobs stay."""
    events: list[Event] = []
    for channel in range(16):
        events += [ControlChange(0, channel, number, 0) for number in (ALL_OFF[0], *PEDALS)]
        events += [PitchBend(0, channel, 0), ChannelPressure(0, channel, 0)]
    return events


class Holds:
    """What one controller keeps from its rest: keys, pedals, bends, pressures; each with what lets it go."""

    def __init__(self) -> None:
        self._held: dict[tuple[object, ...], Event] = {}

    def hear(self, event: Event) -> None:
        """Take what it says."""
        match event:
            case NoteOn(_, channel, key) | NoteOff(_, channel, key):
                self._hold(isinstance(event, NoteOn), NoteOff(0, channel, key), key)
            case PitchBend(_, channel, value):
                self._hold(value != 0, PitchBend(0, channel, 0))
            case ChannelPressure(_, channel, value):
                self._hold(value != 0, ChannelPressure(0, channel, 0))
            case ControlChange(_, channel, number, value) if number in PEDALS:
                self._hold(value != 0, ControlChange(0, channel, number, 0), number)
            case ControlChange(_, channel, number):
                if number == RESET or number in ALL_OFF:
                    self._held = {
                        which: rest
                        for which, rest in self._held.items()
                        if which[1] != channel or isinstance(rest, NoteOff) == (number == RESET)
                    }

    def join(self, other: "Holds") -> None:
        """What another held is held by this one too."""
        self._held |= other._held

    def let_go(self, others: Iterable["Holds"]) -> list[Event]:
        """Let go of all but what others hold as well: keys first, so that what a pedal held ends with it."""
        kept = set().union(*(other._held for other in others))
        events = [rest for which, rest in self._held.items() if which not in kept]
        self._held.clear()
        return sorted(events, key=lambda event: not isinstance(event, NoteOff))

    def _hold(self, held: bool, rest: Event, *number: int) -> None:
        assert not isinstance(rest, Clock)
        which = (type(rest), rest.channel, *number)
        if held:
            self._held[which] = rest
        else:
            self._held.pop(which, None)
