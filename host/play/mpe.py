"""MIDI Polyphonic Expression (MPE 1.0): each note on a channel of its own, so that each finger bends and presses alone.

A zone is a master channel, 1 with members upward from 2 (lower) or 16 with members downward from 15 (upper). What
comes on the master moves all notes of the zone; bend, pressure and slide (CC 74) of a member move its own note.
One instrument may play both zones: then each has its own master's bend and pedals.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from ..contract.card import Card
from ..controls import RAMP_SECONDS, Ramp
from ..engines.protocol import Motion
from ..errors import UserError, nearest
from ..events import (
    AllOff,
    ChannelPressure,
    ControlChange,
    ControllersReset,
    DataEntry,
    Event,
    ParameterChange,
    ParameterTouch,
    PitchBend,
    Timing,
    ZoneSize,
)
from ..patch.preset import MpeSettings
from .controller_state import (
    BEND_RANGE,
    CONFIGURATION,
    LOWER,
    MOST_MEMBERS,
    SLIDE,
    UPPER,
    ControllerReader,
    bend_range,
    resized,
    zone_of,
)
from .motions.motion import MotionWrapper

Array = npt.NDArray[np.float32]
Times = npt.NDArray[np.int64]

MASTER_BEND, MEMBER_BEND = 2.0, 48.0  # semitones of a zone that begins, until RPN 0 says otherwise (MPE 1.0, 2.3.1)
SLIDE_CENTRE = 64  # CC 74 in the middle of the key, where a finger counts as until its own value comes


class PitchWheel:
    """A pitch wheel: where it is, times its range, as a function of time."""

    def __init__(self, semitones: float, bend: Ramp) -> None:
        """Begin at rest: ``semitones`` is the range, and ``bend`` what the wheel moves, in semitones."""
        self.bend = bend
        self._range, self._value = semitones, 0

    def turn(self, time: int, value: int) -> None:
        """Put the wheel at ``value``, -8192 to 8191, from sample ``time`` on."""
        self._value = value
        self.bend.move(time, self._range * value / 8192)

    def set_range(self, time: int, entry: DataEntry) -> None:
        """Set the range by data entry for RPN 0; a bend that is held changes with it."""
        self._range = bend_range(self._range, entry)
        self.turn(time, self._value)

    def reset(self, time: int, semitones: float) -> None:
        """Put the wheel at rest, with another range."""
        self._range = semitones
        self.turn(time, 0)


@dataclass(slots=True)
class NoteExpression:
    """The effect of one finger on its note, as functions of time.

    ``bend`` in semitones; ``level`` a factor 0-1; ``pressure`` 0-1; ``slide`` -1 to 1, 0 in the middle of the key.
    ``masters`` are what bends all notes of its zone, each with the sample from which on it does: a voice that several
    keys share may go from zone to zone.
    """

    masters: list[tuple[int, Ramp]]
    bend: Ramp
    level: Ramp
    pressure: Ramp
    slide: Ramp

    def _ramps(self) -> tuple[Ramp, Ramp, Ramp, Ramp]:
        return self.bend, self.level, self.pressure, self.slide

    def follow(self, time: int, other: "NoteExpression") -> None:
        """Glide to where another finger is."""
        for mine, its in zip(self._ramps(), other._ramps(), strict=True):
            mine.move(time, its.target)
        if (master := other.masters[-1][1]) is not self.masters[-1][1]:
            self.masters.append((time, master))

    def bent(self, time: int) -> float:
        """Return the bend at one sample, in semitones, of the finger and of its zone's master."""
        return self.master(time).value(time) + self.bend.value(time)

    def master(self, time: int) -> Ramp:
        """Return the bend of the zone that it is in at one sample."""
        since = bisect_right(self.masters, time, key=itemgetter(0))
        return self.masters[max(0, since - 1)][1]

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        for ramp in self._ramps():
            ramp.forget(time)
        while len(self.masters) > 1 and self.masters[1][0] <= time:
            del self.masters[0]


@dataclass(slots=True)
class _Finger:
    """The last values of a member channel, -8192 to 8191 and 0 to 127."""

    bend: int = 0
    pressure: int = 0
    slide: int = SLIDE_CENTRE


@dataclass(slots=True)
class _Zone:
    """The state of a zone: of its master, and of its members."""

    wheel: PitchWheel
    member_range: float = MEMBER_BEND
    fingers: dict[int, _Finger] = field(default_factory=dict)


class MpeChannels:
    """The fingers on the member channels of one instrument's zones, and the targets that they move.

    A note begins with the last values of its channel, and follows the channel while its key is down.

    To a latent, pressure goes from where the knob is to the latent's high end, and slide from the middle of the key
    to either end: a finger that does nothing leaves the sound to the knobs. To ``gain``, each is a level by the
    square of its value, as expression (CC 11) is.
    """

    def __init__(
        self, pressure: str | None, slide: str | None, latents: Sequence[tuple[float, float]], ramp: int
    ) -> None:
        """Check the targets.

        Args:
            pressure, slide: ``latent.N``, ``gain`` or None.
            latents: low and high of each.
            ramp: samples in which a note follows its finger.

        Raises:
            UserError: no such target.
        """
        known = {"gain", *(f"latent.{index}" for index in range(len(latents)))}
        for name, target in (("pressure", pressure), ("slide", slide)):
            if target is not None and target not in known:
                raise UserError(f"mpe.{name} {target!r} does not exist{nearest(target, sorted(known))}")
        self._to_gain = (pressure == "gain", slide == "gain")
        self._to_latents = tuple(
            (int(target.removeprefix("latent.")), name)
            for name, target in (("pressure", pressure), ("slide", slide))
            if target is not None and target != "gain"
        )
        self._spans = latents
        self._ramp = ramp
        self._sizes = {LOWER: 0, UPPER: 0}
        self._zones: dict[int, _Zone] = {}

    def begin(self, master: int, members: int, semitones: float = MASTER_BEND) -> None:
        """Begin a zone anew, in place of the one on that master; 0 members end it. ``semitones``: its master's range.

        Its master's bend is at rest, and no finger's values are kept.
        """
        self._sizes[master] = members
        self._zones[master] = _Zone(PitchWheel(semitones, Ramp(0.0, self._ramp)))

    def zone(self, channel: int) -> int | None:
        """Return the master of the zone that a channel is in."""
        return zone_of(self._sizes, channel)

    def wheel(self, master: int) -> PitchWheel:
        """Return the pitch wheel of a zone's master."""
        return self._zones[master].wheel

    def is_member(self, channel: int) -> bool:
        """Return whether a channel moves notes of its own."""
        return self.zone(channel) not in (None, channel)

    def touch(self, channel: int) -> NoteExpression | None:
        """Return the touch of a note that begins on a channel; None outside zones."""
        master = self.zone(channel)
        if master is None:
            return None
        zone = self._zone_of(channel)
        if channel == master:  # it has no finger: what comes on it moves all notes
            values = (0.0, 1.0, 0.0, 0.0)
        else:
            finger = zone.fingers.get(channel, _Finger())
            level = self._level(finger)
            values = (zone.member_range * finger.bend / 8192, level, finger.pressure / 127, _slide(finger))
        ramps = (Ramp(value, self._ramp) for value in values)
        return NoteExpression([(0, zone.wheel.bend)], *ramps)

    def move(self, event: Event, notes: Callable[[int], Sequence[NoteExpression]]) -> None:
        """Move a finger by an event of a member; ``notes(channel)`` are the touches of the keys that it holds."""
        assert not isinstance(event, Timing)
        zone = self._zone_of(event.channel)
        finger = zone.fingers.setdefault(event.channel, _Finger())
        time, touches = event.time, notes(event.channel)
        match event:
            case PitchBend(_, _, value):
                finger.bend = value
            case ChannelPressure(_, _, value):
                finger.pressure = value
            case ControlChange(_, _, number, value) if number == SLIDE:
                finger.slide = value
            case ControllersReset():
                finger.bend = finger.pressure = 0
            case DataEntry(registered=True, parameter=parameter) if parameter == BEND_RANGE:
                zone.member_range = bend_range(zone.member_range, event)  # of all in the zone, for bends to come
                return
            case _:
                return
        for touch in touches:
            if isinstance(event, PitchBend) or finger.bend == 0:  # a new range is for bends to come
                touch.bend.move(time, zone.member_range * finger.bend / 8192)
            touch.pressure.move(time, finger.pressure / 127)
            touch.slide.move(time, _slide(finger))
            touch.level.move(time, self._level(finger))

    def rest(self, time: int, master: int, notes: Callable[[int], Sequence[NoteExpression]]) -> None:
        """Reset bends and pressures of all fingers of a zone."""
        for channel in self._zones[master].fingers:
            self.move(ControllersReset(time, channel), notes)

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        for zone in self._zones.values():
            zone.wheel.bend.forget(time)

    def _zone_of(self, channel: int) -> _Zone:
        master = self.zone(channel)
        assert master is not None
        return self._zones[master]

    def motion(self, common: Motion, touches: Sequence[NoteExpression | None]) -> Motion:
        """Return the common motion with that of each voice's finger; ``touches`` are by voice."""
        return _FingerMotion(common, touches, self._to_latents, self._spans)

    def _level(self, finger: _Finger) -> float:
        pressure, slide = self._to_gain
        return float((finger.pressure / 127 if pressure else 1.0) ** 2 * (finger.slide / 127 if slide else 1.0) ** 2)


def _slide(finger: _Finger) -> float:
    """Return the slide of a finger, -1 to 1: both ends are reached, and CC 74 at 64 is 0."""
    away = finger.slide - SLIDE_CENTRE
    return away / SLIDE_CENTRE if away < 0 else away / (127 - SLIDE_CENTRE)


class _FingerMotion(MotionWrapper):
    """The motion of voices of which some have fingers of their own."""

    def __init__(
        self,
        common: Motion,
        touches: Sequence[NoteExpression | None],
        to_latents: Sequence[tuple[int, str]],
        spans: Sequence[tuple[float, float]],
    ) -> None:
        super().__init__(common)
        self._touches, self._to_latents, self._spans = touches, to_latents, spans

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        """Return codes, [rows, n_latents]; where fingers rest, the common ones to the bit: their frames are shared."""
        codes = self._common.latents(voices, times, own_times)
        if not self._to_latents:
            return codes
        codes = codes.copy()
        for index, name in self._to_latents:
            amount = self._values(name, voices, times)
            knob = codes[:, index].astype(np.float64)
            low, high = self._spans[index]
            codes[:, index] = knob + np.where(amount < 0, knob - low, high - knob) * amount
        return codes

    def bend_semitones(self, voices: Sequence[int], times: Times) -> npt.NDArray[np.float64]:
        """Return the bends in semitones, [rows]."""
        bends = self._common.bend_semitones(voices, times)
        for row, (voice, time) in enumerate(zip(voices, times.tolist(), strict=True)):
            if (touch := self._touches[voice]) is not None:
                bends[row] = touch.bent(time)
        return bends

    def bend_of(self, voice: int, start: int, count: int) -> np.float32 | Array:
        """Return a voice's bend in semitones over a block: one number where it stands, else [count]."""
        if (touch := self._touches[voice]) is None:
            return self._common.bend_of(voice, start, count)
        if len(touch.masters) == 1:
            return touch.masters[0][1].block(start, count) + touch.bend.block(start, count)
        masters = np.array([touch.master(time).value(time) for time in range(start, start + count)], np.float32)
        return masters + touch.bend.block(start, count)

    def _values(self, name: str, voices: Sequence[int], times: Times) -> npt.NDArray[np.float64]:
        found = [
            0.0 if (touch := self._touches[voice]) is None else getattr(touch, name).value(time)
            for voice, time in zip(voices, times.tolist(), strict=True)
        ]
        return np.array(found, np.float64)


class Zones:
    """Finds the instrument of a rack that hears a channel: its own, or that of the zone which the channel is in.

    A zone is played by the instrument on its master channel; without one, by that of the member nearest to it, so
    that recordings in which only the members have notes find their sound.
    """

    def __init__(self, enabled: Mapping[int, bool], others: int | None = None) -> None:
        """Begin with the zones of the presets.

        Args:
            enabled: by channel that has an instrument, whether its preset begins with a lower zone.
            others: the channel whose instrument plays zones in which none is.

        Raises:
            UserError: some presets begin with a zone and others do not: a whole zone leaves no channel to others.
        """
        if any(enabled.values()) and not all(enabled.values()):
            other = next(channel for channel, on in enabled.items() if not on)
            raise UserError(
                f"mpe.enabled: a whole zone takes all channels, but channel {other + 1} has a preset without it; "
                "play them apart"
            )
        self._channels = sorted(enabled)
        self._default_channel = others
        self._reader = ControllerReader()
        self._sizes = {LOWER: MOST_MEMBERS if any(enabled.values()) else 0, UPPER: 0}
        self._players: dict[int, int] = {}
        self._assign_channels()

    def route(self, event: Event) -> list[tuple[int | None, Event]]:
        """Return the instruments that hear an event, by channel (None: all), and what it means to each.

        RPN 6 is heard as a `ZoneSize` by whoever plays a zone that it changes, and ends notes elsewhere.
        """
        match heard := self._reader.read(event):
            case None:
                return []
            case Timing():
                return [(None, heard)]
            case ParameterChange(_, channel) | ParameterTouch(_, channel) if channel in self._channels:
                return [(channel, heard)]
            case DataEntry(_, channel, True, parameter, "coarse"):
                if parameter == CONFIGURATION and channel in (LOWER, UPPER):
                    return self._configure(heard)
        return [(self._players.get(heard.channel, heard.channel), heard)]

    def _configure(self, event: DataEntry) -> list[tuple[int | None, Event]]:
        before, sizes = self._players, self._sizes
        master = event.channel
        self._sizes = resized(sizes, master, event.value)
        changed = [zone for zone, size in self._sizes.items() if zone == master or size != sizes[zone]]
        self._assign_channels()
        told = [(before[zone], zone, 0) for zone in changed if zone in before]  # what was ends before what is new
        told += [(self._players[zone], zone, self._sizes[zone]) for zone in changed if zone in self._players]
        if not told and not self._sizes[master]:  # where no zone was, its end resets controllers all the same
            told = [(master, master, 0)]
        heard: list[tuple[int | None, Event]] = [
            (player, ZoneSize(event.time, zone, size)) for player, zone, size in told
        ]
        for channel in self._channels:
            if self._players.get(channel, channel) not in (channel, before.get(channel, channel)):
                heard += [
                    (channel, ControllersReset(event.time, channel)),
                    (channel, AllOff(event.time, channel, cut=False)),
                ]
        return heard

    def _assign_channels(self) -> None:
        """Give every channel of a zone to the instrument that plays the zone."""
        self._players = {}
        for master, size in self._sizes.items():
            step = 1 if master == LOWER else -1
            channels = [master + step * n for n in range(size + 1)] if size else []
            player = next((channel for channel in channels if channel in self._channels), self._default_channel)
            if channels and player is not None:
                self._players |= dict.fromkeys(channels, player)


def fingers_of(mpe: MpeSettings, semitones: float, card: Card) -> MpeChannels:
    """Return the fingers of a preset; where it enables MPE, a zone has begun, whose master bends ``semitones``."""
    spans = [(latent.low, latent.high) for latent in card.latents]
    fingers = MpeChannels(mpe.pressure, mpe.slide, spans, round(RAMP_SECONDS * card.sample_rate))
    if mpe.enabled:
        fingers.begin(LOWER, MOST_MEMBERS, semitones)
    return fingers
