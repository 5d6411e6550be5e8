"""MIDI Polyphonic Expression (MPE 1.0): zones, per-note bend, pressure and slide, and channel routing.

The lower zone has master channel 1 and members from 2 upward, the upper zone master 16 and members from 15 downward. A
master's messages affect all notes of its zone.
"""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np

from ..arrays import Array, Doubles, Times
from ..errors import UserError, nearest
from ..events import (
    ChannelPressure,
    ControlChange,
    ControllersReset,
    DataEntry,
    Event,
    MasterTuning,
    PitchBend,
    Timing,
)
from ..midi.controllers import (
    BEND_RANGE,
    LOWER,
    MOST_MEMBERS,
    SLIDE,
    UPPER,
    Tuning,
    bend_range,
    group_of,
    zone_of,
)
from ..model.card import Card
from ..preset.preset import MpeSettings
from ..ramps import RAMP_SECONDS, Ramp

MASTER_BEND, MEMBER_BEND = 2.0, 48.0  # default ranges of zones in semitones, set by RPN 0 (MPE 1.0, 2.3.1)
SLIDE_CENTRE = 64  # CC 74 in the middle of the key, the value before a first message


class PitchWheel:
    """A bend in semitones over time, with the tuning of its channel and of all channels."""

    def __init__(self, semitones: float, bend: Ramp, master: Tuning) -> None:
        self.bend = bend
        self._range, self._value = semitones, 0
        self._tuning, self._master = Tuning(), master

    @property
    def tuning(self) -> float:
        """Semitones of its channel and of all channels, without the bend."""
        return self._tuning.semitones + self._master.semitones

    def turn(self, time: int, value: int) -> None:
        """``value`` is -8192 to 8191."""
        self._value = value
        self.tune(time)

    def tune(self, time: int) -> None:
        """Bend to the present tuning."""
        bend = self._range * self._value / 8192
        self.bend.move(time, bend + self.tuning)

    def apply(self, event: PitchBend | DataEntry) -> None:
        """Set the position, by RPN 0 the range, or by RPN 1 and 2 the tuning; a present bend scales."""
        if isinstance(event, PitchBend):
            self.turn(event.time, event.value)
        elif event.registered and event.parameter == BEND_RANGE:
            self._range = bend_range(self._range, event)
            self.turn(event.time, self._value)
        elif self._tuning.enter(event):
            self.tune(event.time)

    def reset(self, time: int, semitones: float) -> None:
        self._range, self._tuning = semitones, Tuning()
        self.turn(time, 0)


class ChannelWheels:
    """Pitch wheels of the channels outside MPE zones."""

    def __init__(self, semitones: float, ramp: int, master: Tuning) -> None:
        """``semitones``: bend range; ``ramp``: smoothing in samples; ``master``: tuning of all channels."""
        self._range, self._master = semitones, master
        self._rest = PitchWheel(semitones, Ramp(0.0, ramp), master)  # of channels without messages
        self._wheels: dict[int, PitchWheel] = {}

    def of(self, channel: int) -> PitchWheel:
        if channel not in self._wheels:
            self._wheels[channel] = PitchWheel(self._range, self._rest.bend.copy(), self._master)
        return self._wheels[channel]

    def tune(self, time: int) -> None:
        """Follow the tuning of all channels."""
        for wheel in self._all():
            wheel.tune(time)

    def reset(self, time: int) -> None:
        for wheel in self._all():
            wheel.reset(time, self._range)

    def reset_channel(self, time: int, channel: int) -> None:
        self.of(channel).reset(time, self._range)

    def settle(self, time: int) -> None:
        for wheel in self._all():
            wheel.bend.settle(time)

    def forget(self, time: int) -> None:
        for wheel in self._all():
            wheel.bend.forget(time)

    def _all(self) -> Iterator[PitchWheel]:
        return itertools.chain([self._rest], self._wheels.values())


@dataclass(slots=True)
class NoteExpression:
    masters: list[tuple[int, Ramp]]  # bends of zone masters from their first samples: a shared voice may change zones
    bend: Ramp  # semitones
    level: Ramp  # factor 0 to 1
    pressure: Ramp  # 0 to 1
    slide: Ramp  # -1 to 1

    def _ramps(self) -> tuple[Ramp, Ramp, Ramp, Ramp]:
        return self.bend, self.level, self.pressure, self.slide

    def follow(self, time: int, leader: "NoteExpression") -> None:
        for mine, leader_ramp in zip(self._ramps(), leader._ramps(), strict=True):
            mine.move(time, leader_ramp.target)
        if (master := leader.masters[-1][1]) is not self.masters[-1][1]:
            self.masters.append((time, master))

    def bent(self, time: int) -> float:
        """Bend in semitones, with the zone master's."""
        return self.master(time).value(time) + self.bend.value(time)

    def bend_block(self, start: int, count: int) -> np.float32 | Array:
        """As `bent`, over a block: a scalar if constant, else [count]."""
        if len(self.masters) == 1:
            return self.masters[0][1].block(start, count) + self.bend.block(start, count)
        masters = np.array([self.master(time).value(time) for time in range(start, start + count)], np.float32)
        return masters + self.bend.block(start, count)

    def master(self, time: int) -> Ramp:
        place = bisect_right(self.masters, time, key=itemgetter(0))
        return self.masters[max(0, place - 1)][1]

    def forget(self, time: int) -> None:
        for ramp in self._ramps():
            ramp.forget(time)
        while len(self.masters) > 1 and self.masters[1][0] <= time:
            del self.masters[0]


@dataclass(slots=True)
class _Finger:
    """Bend -8192 to 8191, others 0 to 127."""

    bend: int = 0
    pressure: int = 0
    slide: int = SLIDE_CENTRE
    tuning: Tuning = field(default_factory=Tuning)

    def semitones(self, bend_range: float) -> float:
        return bend_range * self.bend / 8192 + self.tuning.semitones


@dataclass(slots=True)
class _Zone:
    """``bend_range``: of its master, at its start."""

    wheel: PitchWheel
    bend_range: float
    member_range: float = MEMBER_BEND
    fingers: dict[int, _Finger] = field(default_factory=dict)


class MpeChannels:
    """An instrument's channels: their wheels, its zones and their members, and the targets of pressure and slide.

    A note starts with its channel's last values and follows it while the key is down. On a latent, pressure moves from
    the knob to the high end, slide from mid-key to either end. On ``gain``, each acts by its square, like expression
    (CC 11).
    """

    def __init__(
        self,
        pressure: str | None,
        slide: str | None,
        latents: Sequence[tuple[float, float]],
        ramp: int,
        semitones: float = 0.0,
    ) -> None:
        """``pressure`` and ``slide`` are ``latent.N``, ``gain`` or None; ``ramp`` is the smoothing in samples.

        ``semitones``: bend range of channels outside zones.

        Raises:
            UserError: unknown target.
        """
        targets = {"gain", *(f"latent.{index}" for index in range(len(latents)))}
        for name, target in (("pressure", pressure), ("slide", slide)):
            if target is not None and target not in targets:
                raise UserError(f"mpe.{name} {target!r} does not exist{nearest(target, sorted(targets))}")
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
        self.last_channel = 0  # of the last note
        self._master_tuning = Tuning()  # of all channels, also outside zones
        self.channel_wheels = ChannelWheels(semitones, ramp, self._master_tuning)

    @property
    def moves_codes(self) -> bool:
        """Return whether pressure or slide moves a latent."""
        return bool(self._to_latents)

    def set_zone(self, master: int, members: int, semitones: float = MASTER_BEND) -> None:
        """0 members end the zone."""
        self._sizes[master] = members
        bend = Ramp(self._master_tuning.semitones, self._ramp)
        self._zones[master] = _Zone(PitchWheel(semitones, bend, self._master_tuning), semitones)

    def zone(self, channel: int) -> int | None:
        return zone_of(self._sizes, channel)

    def group(self, channel: int) -> int:
        """Channel whose pedals and mode messages act on a channel's notes: its zone's master, or itself."""
        return group_of(self._sizes, channel)

    def bus(self, channel: int) -> int:
        """Channel whose volume, pan and expression act on a channel's notes; zones share the lower one's master."""
        return LOWER if self.zone(channel) is not None and self._sizes[LOWER] else self.group(channel)

    def wheel(self, channel: int) -> PitchWheel:
        """The wheel that bends all notes of a channel: its zone's master's, or its own."""
        master = self.zone(channel)
        return self.channel_wheels.of(channel) if master is None else self._zones[master].wheel

    def next_bend(self, time: int) -> float:
        """Semitones of a note that begins at a sample on the last note's channel, without its finger's own."""
        return self.wheel(self.last_channel).bend.value(time)

    def is_member(self, channel: int) -> bool:
        return self.zone(channel) not in (None, channel)

    def touch(self, channel: int) -> NoteExpression | None:
        master = self.zone(channel)
        if master is None:
            return None
        zone = self._zone_of(channel)
        if channel == master:  # it has no expression of its own: its messages move all notes
            values = (0.0, 1.0, 0.0, 0.0)
        else:
            finger = zone.fingers.get(channel, _Finger())
            level = self._level(finger)
            values = (finger.semitones(zone.member_range), level, finger.pressure / 127, _slide(finger))
        ramps = (Ramp(value, self._ramp) for value in values)
        return NoteExpression([(0, zone.wheel.bend)], *ramps)

    def move(self, event: Event, notes: Callable[[int], Sequence[NoteExpression]]) -> None:
        """Apply a member's event; ``notes(channel)`` returns expressions of held keys."""
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
                zone.member_range = bend_range(zone.member_range, event)  # for all members, and for later bends
                return
            case DataEntry() if finger.tuning.enter(event):
                pass
            case _:
                return
        for touch in touches:
            if isinstance(event, PitchBend | DataEntry) or finger.bend == 0:  # a new range applies to later bends
                touch.bend.move(time, finger.semitones(zone.member_range))
            touch.pressure.move(time, finger.pressure / 127)
            touch.slide.move(time, _slide(finger))
            touch.level.move(time, self._level(finger))

    def reset_zone(self, time: int, master: int, notes: Callable[[int], Sequence[NoteExpression]]) -> None:
        """Reset bends and pressures of master and members."""
        self._zones[master].wheel.turn(time, 0)
        for channel in self._zones[master].fingers:
            self.move(ControllersReset(time, channel), notes)

    def tune(self, time: int, event: MasterTuning) -> None:
        self._master_tuning.set_master(event)
        for zone in self._zones.values():
            zone.wheel.tune(time)
        self.channel_wheels.tune(time)

    def reset_system(self, time: int, notes: Callable[[int], Sequence[NoteExpression]]) -> None:
        """Reset bends, pressures, bend ranges and tunings of all zones and channels."""
        self._master_tuning.reset()
        for zone in self._zones.values():
            zone.wheel.reset(time, zone.bend_range)
            zone.member_range = MEMBER_BEND
            for channel, finger in zone.fingers.items():
                finger.tuning.reset()
                self.move(ControllersReset(time, channel), notes)
        self.channel_wheels.reset(time)

    def settle(self, time: int) -> None:
        """End all glides of wheels at sample ``time``."""
        for zone in self._zones.values():
            zone.wheel.bend.settle(time)
        self.channel_wheels.settle(time)

    def forget(self, time: int) -> None:
        for zone in self._zones.values():
            zone.wheel.bend.forget(time)
        self.channel_wheels.forget(time)

    def _zone_of(self, channel: int) -> _Zone:
        master = self.zone(channel)
        assert master is not None
        return self._zones[master]

    def express(self, codes: Array | Doubles, touches: Sequence[NoteExpression | None], times: Times) -> None:
        """Apply pressure and slide to codes, [rows, n_latents], in place; ``touches``: of each row, None without."""
        rows = list(zip(touches, times.tolist(), strict=True))
        for index, name in self._to_latents:
            amounts = np.array([0.0 if touch is None else getattr(touch, name).value(time) for touch, time in rows])
            codes[:, index] = expressed(codes[:, index].astype(np.float64), self._spans[index], amounts)

    def _level(self, finger: _Finger) -> float:
        pressure, slide = self._to_gain
        return float((finger.pressure / 127 if pressure else 1.0) ** 2 * (finger.slide / 127 if slide else 1.0) ** 2)


def expressed(knob: Doubles, span: tuple[float, float], amount: Doubles) -> Doubles:
    """Move knob values toward an end of a latent's span by ``amount``, -1 to 1."""
    low, high = span
    moved_codes: Doubles = knob + np.where(amount < 0, knob - low, high - knob) * amount
    return moved_codes


def _slide(finger: _Finger) -> float:
    """-1 to 1: both ends are reachable, and CC 74 at 64 is 0."""
    offset = finger.slide - SLIDE_CENTRE
    return offset / SLIDE_CENTRE if offset < 0 else offset / (127 - SLIDE_CENTRE)


def mpe_channels_of(mpe: MpeSettings, card: Card, zone_semitones: float, channel_semitones: float) -> MpeChannels:
    """Channels of a preset, with bend ranges of its zone's master and of channels outside zones."""
    ramp = round(RAMP_SECONDS * card.sample_rate)
    channels = MpeChannels(mpe.pressure, mpe.slide, card.spans, ramp, channel_semitones)
    if mpe.enabled:
        channels.set_zone(LOWER, MOST_MEMBERS, zone_semitones)
    return channels
