"""MIDI controller state: decodes RPN, NRPN and channel mode, routes MPE zones, keeps each controller's last value.

MIDI cannot query a controller's position.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from ..errors import UserError
from ..events import (
    NULL_PARAMETER,
    AllOff,
    ChannelPressure,
    Clock,
    ControlChange,
    ControllersReset,
    DataEntry,
    Event,
    MasterTuning,
    NoteOff,
    NoteOn,
    ParameterChange,
    ParameterTouch,
    Part,
    PitchBend,
    SystemReset,
    Tempo,
    Timing,
    ZoneSize,
    retimed,
)

LOWER, UPPER = 0, 15  # master channels of the two zones
MOST_MEMBERS = 15
SLIDE = 74  # controller of the finger's position along its key
BEND_RANGE, FINE_TUNING, COARSE_TUNING, CONFIGURATION = 0, 1, 2, 6  # numbers of registered parameters (RPN)
TUNED = 8192  # middle of a tuning's 14 bits
SOUND_OFF, RESET = 120, 121  # all sound off, reset all controllers (MIDI RP-015)
ALL_OFF = (SOUND_OFF, 123, 124, 125, 126, 127)  # mode changes also release all keys (MIDI 1.0, 4.2)
# Controller values after a reset, by number: others keep their values (MIDI RP-015).
RESTS = {1: 0, 11: 127, 65: 0, 66: 0, 67: 0}
PEDALS = (64, 66, 67, 69)  # sustain, sostenuto, soft, hold
HOLDING_PEDALS, PRESSED = (64, 66), 64  # those that hold notes; a switch is on from this value on (MIDI 1.0)
COARSE, FINE = 6, 38  # data entry, in two halves
ENTRY: Mapping[int, Part] = {COARSE: "coarse", FINE: "fine", 96: "up", 97: "down"}
SELECTION = (98, 99, 100, 101)  # NRPN fine and coarse, RPN fine and coarse
NOTHING = (True, NULL_PARAMETER)  # no parameter selected
_PLAYED = (1, 2, 4, 5, 7, 10, 11)  # wheel, breath, foot, glide, volume, pan, expression
# Performance controllers, as opposed to a preset's knobs; with fine halves, the glide switch and pedals.
PLAYED = frozenset({*_PLAYED, *(number + 32 for number in _PLAYED), *PEDALS, 65, RESET})


def ends_all_notes(event: Event) -> bool:
    """Return whether a message ends all notes of a channel, or of all channels."""
    return isinstance(event, SystemReset) or (isinstance(event, ControlChange) and event.number in ALL_OFF)


class ControllerReader:
    def __init__(self) -> None:
        self._selected: dict[int, tuple[bool, int]] = {}  # by channel: registered or not, number

    def read(self, event: Event) -> Event | None:
        """The event's meaning; None for parameter selection, or data entry without one."""
        if isinstance(event, SystemReset):
            self._selected.clear()
        if not isinstance(event, ControlChange):
            return event
        time, channel, number, value = event.time, event.channel, event.number, event.value
        if number in SELECTION:
            self._select(channel, number, value)
            return None
        if number in ENTRY:
            registered, parameter = self._selected.get(channel, NOTHING)
            if parameter == NULL_PARAMETER:
                return None
            return DataEntry(time, channel, registered, parameter, ENTRY[number], value)
        if number == RESET:
            self._selected[channel] = NOTHING
            return ControllersReset(time, channel)
        return AllOff(time, channel, cut=number == SOUND_OFF) if number in ALL_OFF else event

    def knob(self, event: Event) -> Event:
        """The event, or the `DataEntry` of an NRPN's controllers."""
        meaning = self.read(event)
        return meaning if isinstance(meaning, DataEntry) and not meaning.registered else event

    def selected(self) -> list[Event]:
        """Messages that restore selected parameters."""
        return [event for channel, selection in self._selected.items() for event in selecting(channel, *selection)]

    def _select(self, channel: int, number: int, value: int) -> None:
        """Note one half of a parameter's number."""
        registered, parameter = self._selected.get(channel, NOTHING)
        if registered != (number >= 100):
            parameter = NULL_PARAMETER
        is_coarse = number in (99, 101)
        parameter = value << 7 | parameter & 127 if is_coarse else parameter & ~127 | value
        self._selected[channel] = (number >= 100, parameter)


def selecting(channel: int, registered: bool, parameter: int) -> list[Event]:
    """Messages that select a parameter."""
    coarse_number, fine_number = (101, 100) if registered else (99, 98)
    return [
        ControlChange(0, channel, coarse_number, parameter >> 7),
        ControlChange(0, channel, fine_number, parameter & 127),
    ]


def bend_range(previous_range: float, entry: DataEntry) -> float:
    """Bend range in semitones after data entry: new semitones reset cents to 0."""
    if entry.part == "coarse":
        return float(entry.value)
    return int(previous_range) + min(entry.value, 99) / 100 if entry.part == "fine" else previous_range


class Tuning:
    """A channel's, by RPN 1 and 2, or all channels' (MIDI 1.0; MMA CA-25)."""

    def __init__(self) -> None:
        self._fine = self._coarse = TUNED

    @property
    def semitones(self) -> float:
        return (self._fine - TUNED) / TUNED + (self._coarse >> 7) - (TUNED >> 7)

    def enter(self, entry: DataEntry) -> bool:
        """Return whether the parameter is a tuning. Steps have no effect."""
        match entry:
            case DataEntry(registered=True, parameter=parameter, part="coarse", value=value):
                if parameter == FINE_TUNING:
                    self._fine = value << 7  # a coarse half resets the fine half to 0
                elif parameter == COARSE_TUNING:
                    self._coarse = value << 7
            case DataEntry(registered=True, parameter=parameter, part="fine", value=value):
                if parameter == FINE_TUNING:
                    self._fine = self._fine & ~127 | value
        return entry.registered and entry.parameter in (FINE_TUNING, COARSE_TUNING)

    def reset(self) -> None:
        self._fine = self._coarse = TUNED

    def set_master(self, event: MasterTuning) -> None:
        if event.part == "fine":
            self._fine = event.value
        else:
            self._coarse = event.value


def resized(sizes: Mapping[int, int], master: int, member_count: int) -> dict[int, int]:
    """Zone sizes by master after a resize: the other zone shrinks (MPE 1.0, 2.1.1)."""
    member_count = min(member_count, MOST_MEMBERS)
    opposite_master = UPPER if master == LOWER else LOWER
    remaining_members = max(0, MOST_MEMBERS - 1 - member_count) if member_count else MOST_MEMBERS
    return {opposite_master: min(sizes[opposite_master], remaining_members), master: member_count}


def zone_of(sizes: Mapping[int, int], channel: int) -> int | None:
    """Master of a channel's zone."""
    for master, size in sizes.items():
        if size and abs(channel - master) <= size:
            return master
    return None


def group_of(sizes: Mapping[int, int], channel: int) -> int:
    """Channel whose pedals, bend and mode messages act on a channel's notes: its zone's master, or the channel."""
    master = zone_of(sizes, channel)
    return channel if master is None else master


class Zones:
    """Routes events to a rack's instruments, by channel or MPE zone.

    A zone belongs to its master's instrument, else the nearest member's, since some recordings have only members.
    """

    def __init__(self, enabled: Mapping[int, bool], others: int | None = None) -> None:
        """``enabled`` presets, by channel, start with a lower zone; zones without an instrument go to ``others``.

        Raises:
            UserError: only some presets start with a zone, which takes all channels.
        """
        if any(enabled.values()) and not all(enabled.values()):
            other_channel = next(channel for channel, is_enabled in enabled.items() if not is_enabled)
            raise UserError(
                f"mpe.enabled: a whole zone takes all channels, but channel {other_channel + 1} has a preset without "
                "it; play them apart"
            )
        self._channels = sorted(enabled)
        self._default_channel = others
        self._reader = ControllerReader()
        self._sizes = {LOWER: MOST_MEMBERS if any(enabled.values()) else 0, UPPER: 0}
        self._players: dict[int, int] = {}
        self._assign_channels()

    def route(self, event: Event) -> list[tuple[int | None, Event]]:
        """(instrument's channel, event) pairs; None for all instruments.

        RPN 6 becomes a `ZoneSize` for instruments of changed zones, and ends notes elsewhere.
        """
        match meaning := self._reader.read(event):
            case None:
                return []
            case Timing():
                return [(None, meaning)]
            case ParameterChange(_, channel) | ParameterTouch(_, channel) if channel in self._channels:
                return [(channel, meaning)]
            case DataEntry(_, channel, True, parameter, "coarse"):
                if parameter == CONFIGURATION and channel in (LOWER, UPPER):
                    return self._configure(meaning)
        return [(self._players.get(meaning.channel, meaning.channel), meaning)]

    def _configure(self, event: DataEntry) -> list[tuple[int | None, Event]]:
        players_before, sizes = self._players, self._sizes
        master = event.channel
        self._sizes = resized(sizes, master, event.value)
        changed = [zone for zone, size in self._sizes.items() if zone == master or size != sizes[zone]]
        self._assign_channels()
        resizes = [
            (players_before[zone], zone, 0) for zone in changed if zone in players_before
        ]  # old zones end before new ones start
        resizes += [(self._players[zone], zone, self._sizes[zone]) for zone in changed if zone in self._players]
        if not resizes and not self._sizes[master]:  # ending a missing zone still resets controllers
            resizes = [(master, master, 0)]
        messages: list[tuple[int | None, Event]] = [
            (player, ZoneSize(event.time, zone, size)) for player, zone, size in resizes
        ]
        for channel in self._channels:
            if self._players.get(channel, channel) not in (channel, players_before.get(channel, channel)):
                messages += [
                    (channel, ControllersReset(event.time, channel)),
                    (channel, AllOff(event.time, channel, cut=False)),
                ]
        return messages

    def _assign_channels(self) -> None:
        self._players = {}
        for master, size in self._sizes.items():
            step = 1 if master == LOWER else -1
            channels = [master + step * n for n in range(size + 1)] if size else []
            player = next((channel for channel in channels if channel in self._channels), self._default_channel)
            if channels and player is not None:
                self._players |= dict.fromkeys(channels, player)


class _Subject(NamedTuple):
    """Return the subject that an event sets."""

    channel: int
    member: bool
    kind: Literal["bend", "pressure", "controller", "RPN", "NRPN", "zone", "turn", "hold", "tuning", "system", "clock"]
    identifier: int | str = 0


class ControllerState:
    """The events that set a fresh rack to the present controller state.

    In order, since zones and resets override earlier messages; without relative ones (increments, clock's ticks).
    """

    def __init__(self) -> None:
        self._reader = ControllerReader()
        self._sizes = {LOWER: 0, UPPER: 0}
        self._messages: dict[_Subject, list[Event]] = {}
        self._keys: dict[tuple[int, float], NoteOn] = {}

    def apply(self, event: Event) -> None:
        match self._reader.read(event):
            case NoteOn(_, channel, key) as note:
                self._keys.pop((channel, key), None)
                self._keys[channel, key] = note
            case NoteOff(_, channel, key):
                self._keys.pop((channel, key), None)
            case PitchBend(_, channel):
                self._keep(event.time, _Subject(channel, self._is_member(channel), "bend"), event)
            case ChannelPressure(_, channel, value):
                subject = _Subject(channel, self._is_member(channel), "pressure")
                pressure_events = self._messages.get(subject, [])[:1] if value == 0 else []  # 0 alone has no effect
                self._keep(event.time, subject, *pressure_events, event)
            case ParameterChange(_, channel, target):
                self._keep(event.time, _Subject(channel, False, "turn", target), event)
            case ParameterTouch(_, channel, target, is_held):
                self._keep(event.time, _Subject(channel, False, "hold", target), *([event] if is_held else []))
            case DataEntry(_, channel) as entry:
                self._enter(entry)
            case MasterTuning(_, part):
                self._keep(event.time, _Subject(0, False, "tuning", part), event)
            case Tempo():
                self._keep(event.time, _Subject(0, False, "clock", "tempo"), event)
            case Clock(message=message) if message != "tick":  # beats run from the beginning, until they are stopped
                stop_events = [event] if message == "stop" else []
                self._keep(event.time, _Subject(0, False, "clock", "stop"), *stop_events)
            case SystemReset():
                self._keys.clear()
                self._keep(event.time, _Subject(0, False, "system"), event)
            case AllOff(_, channel) if not self._is_member(channel):
                group_channel = group_of(self._sizes, channel)
                self._keys = {
                    channel_key: note
                    for channel_key, note in self._keys.items()
                    if group_of(self._sizes, channel_key[0]) != group_channel
                }
            case ControllersReset(_, channel):
                self._keep(event.time, _Subject(channel, self._is_member(channel), "controller", RESET), event)
            case ControlChange(_, channel, number):
                if not (is_member := self._is_member(channel)) or number == SLIDE:
                    self._keep(event.time, _Subject(channel, is_member, "controller", number), event)

    @property
    def keys(self) -> list[NoteOn]:
        """Held keys, newest last."""
        return list(self._keys.values())

    def forget_knobs(self, channels: Collection[int]) -> None:
        """Forget the knobs of channels (0 to 15) whose preset changes.

        `PLAYED` controllers, bends, pressures, bend ranges, zones, and members' expression stay.
        """
        self._messages = {
            subject: events
            for subject, events in self._messages.items()
            if subject.channel not in channels
            or not (subject.kind in ("NRPN", "turn", "hold") or (subject.kind == "controller" and not subject.member))
            or (subject.kind == "controller" and subject.identifier in PLAYED)
        }

    def everything(self, parameter_changes: Sequence[ParameterChange] = (), start_time: int = 0) -> list[Event]:
        """Events at sample 0; ``parameter_changes`` replaces those before sample ``start_time``."""
        stored_events = [event for messages in self._messages.values() for event in messages]
        events_before = [
            event for event in stored_events if event.time < start_time and not isinstance(event, ParameterChange)
        ]
        events_after = [event for event in stored_events if event.time >= start_time]
        return [
            retimed(event, 0) for event in (*events_before, *parameter_changes, *events_after)
        ] + self._reader.selected()

    def _is_member(self, channel: int) -> bool:
        return zone_of(self._sizes, channel) not in (None, channel)

    def _enter(self, entry: DataEntry) -> None:
        """Keep the messages of data entry."""
        channel = entry.channel
        if (entry.registered, entry.parameter) == (True, CONFIGURATION):
            if entry.part == "coarse" and channel in (LOWER, UPPER):
                self._configure(entry.time, channel, entry.value)
        elif entry.part in ("coarse", "fine"):
            parameter_kind: Literal["RPN", "NRPN"] = "RPN" if entry.registered else "NRPN"
            subject = _Subject(channel, self._is_member(channel), parameter_kind, entry.parameter)
            half_messages = {
                message.number: message
                for message in self._messages.get(subject, [])[2:]
                if isinstance(message, ControlChange)
            }
            if entry.part == "coarse" and FINE in half_messages:  # a coarse half resets the fine half to 0
                half_messages[FINE] = ControlChange(0, channel, FINE, 0)
            half_number = COARSE if entry.part == "coarse" else FINE
            half_messages[half_number] = ControlChange(0, channel, half_number, entry.value)
            select_messages = selecting(channel, entry.registered, entry.parameter)
            self._keep(entry.time, subject, *select_messages, *(half_messages[n] for n in sorted(half_messages)))

    def _configure(self, time: int, master: int, member_count: int) -> None:
        """Resize zones; forget their members' messages."""
        old_sizes, self._sizes = self._sizes, resized(self._sizes, master, member_count)
        for zone_master, zone_size in self._sizes.items():  # a shrunk zone before the one that grows
            if zone_master == master or zone_size != old_sizes[zone_master]:
                for subject in list(self._messages):
                    if subject.member and zone_of(old_sizes, subject.channel) == zone_master:
                        del self._messages[subject]
                size_message = ControlChange(0, zone_master, COARSE, zone_size)
                self._keep(
                    time,
                    _Subject(zone_master, False, "zone"),
                    *selecting(zone_master, True, CONFIGURATION),
                    size_message,
                )

    def _keep(self, time: int, subject: _Subject, *events: Event) -> None:
        """Replace a subject's events, which become the newest."""
        self._messages.pop(subject, None)
        self._messages[subject] = [retimed(event, time) for event in events]


def hands_off() -> list[Event]:
    """Events at sample 0 that release keys, pedals, bends and pressures on all channels."""
    events: list[Event] = []
    for channel in range(16):
        events += [ControlChange(0, channel, number, 0) for number in (SOUND_OFF, *PEDALS)]
        events += [PitchBend(0, channel, 0), ChannelPressure(0, channel, 0)]
    return events


class HeldEvents:
    """Release events of one controller's keys, pedals, bends, pressures and targets."""

    def __init__(self) -> None:
        self._releases: dict[tuple[object, ...], Event] = {}

    def apply(self, event: Event) -> None:
        match event:
            case NoteOn(_, channel, key) | NoteOff(_, channel, key):
                self._hold(isinstance(event, NoteOn), NoteOff(0, channel, key), key)
            case PitchBend(_, channel, value):
                self._hold(value != 0, PitchBend(0, channel, 0))
            case ChannelPressure(_, channel, value):
                self._hold(value != 0, ChannelPressure(0, channel, 0))
            case ParameterTouch(_, channel, target, is_held):
                self._hold(is_held, ParameterTouch(0, channel, target, False), target)
            case SystemReset():
                self._releases = {
                    hold_key: release
                    for hold_key, release in self._releases.items()
                    if isinstance(release, ParameterTouch)
                }
            case ControlChange(_, channel, number, value) if number in PEDALS:
                self._hold(value != 0, ControlChange(0, channel, number, 0), number)
            case ControlChange(_, channel, number):
                if number == RESET or number in ALL_OFF:
                    self._releases = {
                        hold_key: release
                        for hold_key, release in self._releases.items()
                        if hold_key[1] != channel
                        or isinstance(release, ParameterTouch)
                        or isinstance(release, NoteOff) == (number == RESET)
                    }

    def join(self, other_holds: "HeldEvents") -> None:
        self._releases |= other_holds._releases

    def take_releases(self, other_holds: Iterable["HeldEvents"]) -> list[Event]:
        """Releases of holds not in ``other_holds``: keys first, so that pedals then end notes."""
        other_hold_keys = set().union(*(holds._releases for holds in other_holds))
        events = [release for hold_key, release in self._releases.items() if hold_key not in other_hold_keys]
        self._releases.clear()
        return sorted(events, key=lambda event: not isinstance(event, NoteOff))

    def _hold(self, is_held: bool, release: Event, *number: float | str) -> None:
        assert not isinstance(release, Timing)
        hold_key = (type(release), release.channel, *number)
        if is_held:
            self._releases[hold_key] = release
        else:
            self._releases.pop(hold_key, None)
