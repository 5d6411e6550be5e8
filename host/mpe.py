"""MIDI Polyphonic Expression (MPE 1.0): each note on a channel of its own, so that each finger bends and presses alone.

A zone is a master channel, 1 with members upward from 2 (lower) or 16 with members downward from 15 (upper). What
comes on the master moves all notes of the zone; bend, pressure and slide (CC 74) of a member move its own note.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .controls import Ramp
from .engines.stream import Motion
from .errors import UserError, nearest
from .events import ChannelPressure, Clock, ControlChange, Event, PitchBend

Array = npt.NDArray[np.float32]
Times = npt.NDArray[np.int64]

LOWER, UPPER = 0, 15  # master channels
MOST_MEMBERS = 15
MEMBER_BEND = 48.0  # semitones, until RPN 0 on a member says otherwise
SLIDE = 74  # the controller of a finger's place along its key
SLIDE_CENTRE = 64  # where it is until it is told
BEND_RANGE, CONFIGURATION = 0, 6  # registered parameters
SELECTING = frozenset((6, 38, 98, 99, 100, 101, 121))  # controllers that enter data, or say which parameter is meant


@dataclass(slots=True)
class Touch:
    """What one finger does to its note, as functions of time.

    ``bend`` in semitones; ``level`` a factor 0-1; ``pressure`` 0-1; ``slide`` -1 to 1, 0 in the middle of the key.
    """

    bend: Ramp
    level: Ramp
    pressure: Ramp
    slide: Ramp

    def _ramps(self) -> tuple[Ramp, Ramp, Ramp, Ramp]:
        return self.bend, self.level, self.pressure, self.slide

    def follow(self, time: int, other: "Touch") -> None:
        """Glide to where another finger is."""
        for mine, its in zip(self._ramps(), other._ramps(), strict=True):
            mine.move(time, its.target)

    def forget(self, time: int) -> None:
        """Drop what only matters before ``time``."""
        for ramp in self._ramps():
            ramp.forget(time)


@dataclass(slots=True)
class _Finger:
    """The last values of a member channel, -8192 to 8191 and 0 to 127."""

    bend: int = 0
    pressure: int = 0
    slide: int = SLIDE_CENTRE


class Fingers:
    """What fingers do on the member channels of one instrument's zone, and where that goes.

    A note begins with what its channel was told before, and follows the channel while its key is down.

    To a latent, pressure goes from where the knob is to the latent's high end, and slide from the middle of the key
    to either end: a finger that does nothing leaves the sound to the knobs. To ``gain``, each is a level by the
    square of its value, as expression (CC 11) is.
    """

    def __init__(
        self, pressure: str | None, slide: str | None, latents: Sequence[tuple[float, float]], enabled: bool, ramp: int
    ) -> None:
        """Check the targets.

        Args:
            pressure, slide: ``latent.N``, ``gain`` or None.
            latents: low and high of each.
            enabled: begin with a lower zone.
            ramp: samples in which a note goes where its finger is.

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
        self._parameters = Parameters()
        self._fingers: dict[int, _Finger] = {}
        self._range = MEMBER_BEND
        self.master = LOWER if enabled else None

    def is_member(self, event: Event) -> bool:
        """Whether an event moves a note of its own."""
        return self.master is not None and not isinstance(event, Clock) and event.channel != self.master

    def configured(self, event: ControlChange) -> bool:
        """Whether this completes a message that begins or ends a zone: all notes off and controllers reset, it says."""
        if event.channel not in (LOWER, UPPER):
            return False
        data = self._parameters.hear(event)
        if data is None or data[:2] != (CONFIGURATION, 6):
            return False
        if event.value == 0 and event.channel != self.master:
            return False
        self.master = event.channel if event.value > 0 else None
        self._fingers.clear()
        self._range = MEMBER_BEND
        return True

    def touch(self, channel: int) -> Touch | None:
        """What a note that begins on a channel starts with; None without a zone."""
        if self.master is None:
            return None
        if channel == self.master:  # it has no finger: what comes on it moves all notes
            values = (0.0, 1.0, 0.0, 0.0)
        else:
            finger = self._fingers.get(channel, _Finger())
            values = (self._bend(finger), self._level(finger), finger.pressure / 127, _slide(finger))
        return Touch(*(Ramp(value, self._ramp) for value in values))

    def move(self, event: Event, notes: Callable[[int], Sequence[Touch]]) -> None:
        """A finger moves: ``event`` of a member; ``notes(channel)`` are those whose keys it holds."""
        assert not isinstance(event, Clock)
        finger = self._fingers.setdefault(event.channel, _Finger())
        time, touches = event.time, notes(event.channel)
        match event:
            case PitchBend(_, _, value):
                finger.bend = value
                for touch in touches:
                    touch.bend.move(time, self._bend(finger))
            case ChannelPressure(_, _, value):
                finger.pressure = value
                for touch in touches:
                    touch.pressure.move(time, value / 127)
                    touch.level.move(time, self._level(finger))
            case ControlChange(_, _, number, value) if number == SLIDE:
                finger.slide = value
                for touch in touches:
                    touch.slide.move(time, _slide(finger))
                    touch.level.move(time, self._level(finger))
            case ControlChange():
                self._set_range(event)

    def _set_range(self, event: ControlChange) -> None:
        """RPN 0 on any member is the bend range of all, for bends to come."""
        match self._parameters.hear(event):
            case (0, 6, value):
                self._range = float(value)
            case (0, 38, value):
                self._range = int(self._range) + min(value, 99) / 100

    def motion(self, common: Motion, touches: Sequence[Touch | None]) -> Motion:
        """The common motion with what each voice's finger adds; ``touches`` by voice."""
        return _Moved(common, touches, self._to_latents, self._spans)

    def _bend(self, finger: _Finger) -> float:
        return self._range * finger.bend / 8192

    def _level(self, finger: _Finger) -> float:
        pressure, slide = self._to_gain
        return float((finger.pressure / 127 if pressure else 1.0) ** 2 * (finger.slide / 127 if slide else 1.0) ** 2)


def _slide(finger: _Finger) -> float:
    """-1 to 1; both ends are reached, 64 is the middle."""
    away = finger.slide - SLIDE_CENTRE
    return away / SLIDE_CENTRE if away < 0 else away / (127 - SLIDE_CENTRE)


class _Moved:
    """Motion of voices of which some have fingers of their own."""

    def __init__(
        self,
        common: Motion,
        touches: Sequence[Touch | None],
        to_latents: Sequence[tuple[int, str]],
        spans: Sequence[tuple[float, float]],
    ) -> None:
        self._common, self._touches, self._to_latents, self._spans = common, touches, to_latents, spans

    def latents(self, voices: Sequence[int], times: Times) -> Array:
        """[rows, n_latents]; voices whose fingers rest have the common values to the bit, and share their frames."""
        codes = self._common.latents(voices, times)
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
        """[rows]."""
        return self._common.bend_semitones(voices, times) + self._values("bend", voices, times)

    def _values(self, name: str, voices: Sequence[int], times: Times) -> npt.NDArray[np.float64]:
        found = [
            0.0 if (touch := self._touches[voice]) is None else getattr(touch, name).value(time)
            for voice, time in zip(voices, times.tolist(), strict=True)
        ]
        return np.array(found, np.float64)


class Parameters:
    """Which registered parameter the data entry of each channel means."""

    def __init__(self) -> None:
        self._selected: dict[int, tuple[int, int]] = {}

    def hear(self, event: ControlChange) -> tuple[int, int, int] | None:
        """A data entry's parameter (of the first 128), its controller (6 or 38) and its value; None for the rest."""
        if event.number not in SELECTING:
            return None
        coarse, fine = self._selected.get(event.channel, (127, 127))
        match event.number:
            case 6 | 38 if coarse == 0:
                return fine, event.number, event.value
            case 98 | 99 | 121:
                self._selected[event.channel] = (127, 127)
            case 100:
                self._selected[event.channel] = (coarse, event.value)
            case 101:
                self._selected[event.channel] = (event.value, fine)
        return None


class Zones:
    """Which instrument of a rack hears a channel: its own, or that of the zone which the channel is in.

    A zone is played by the instrument on its master channel; without one, by that of the member nearest to it, so
    that recordings in which only the members have notes find their sound.
    """

    def __init__(self, enabled: Mapping[int, bool], others: int | None = None) -> None:
        """Begin with the zones of the presets.

        Args:
            enabled: by channel that has an instrument, whether its preset begins with a lower zone.
            others: the channel whose instrument plays zones in which none is.

        Raises:
            UserError: some presets do and others do not: a whole zone leaves no channel to others.
        """
        if any(enabled.values()) and not all(enabled.values()):
            other = next(channel for channel, on in enabled.items() if not on)
            raise UserError(
                f"mpe.enabled: a whole zone takes all channels, but channel {other + 1} has a preset without it; "
                "play them apart"
            )
        self._patched = sorted(enabled)
        self._others = others
        self._parameters = Parameters()
        self._sizes = {LOWER: MOST_MEMBERS if any(enabled.values()) else 0, UPPER: 0}
        self._owner: dict[int, int] = {}
        self._share()

    def route(self, event: Event) -> list[tuple[int | None, Event]]:
        """Who hears an event, by channel of the instrument (None: all), and what: a new zone ends notes elsewhere."""
        if isinstance(event, Clock):
            return [(None, event)]
        if isinstance(event, ControlChange) and event.channel in (LOWER, UPPER):
            data = self._parameters.hear(event)
            if data is not None and data[:2] == (CONFIGURATION, 6):
                return self._configure(event)
        return [(self._owner.get(event.channel, event.channel), event)]

    def _configure(self, event: ControlChange) -> list[tuple[int | None, Event]]:
        before = self._owner
        master, other = event.channel, UPPER if event.channel == LOWER else LOWER
        self._sizes[master] = min(event.value, MOST_MEMBERS)
        left = max(0, MOST_MEMBERS - 1 - self._sizes[master])
        changed = [master] if self._sizes[other] <= left else [master, other]
        self._sizes[other] = min(self._sizes[other], left)
        self._share()
        told = [(before[zone], zone, 0) for zone in changed if zone in before]  # what was ends before what is new
        told += [
            (self._owner[zone], zone, self._sizes[zone])
            for zone in changed
            if self._sizes[zone] and zone in self._owner
        ]
        heard: list[tuple[int | None, Event]] = [
            (player, replace(event, channel=zone, number=number, value=value))
            for player, zone, size in told
            for number, value in ((101, 0), (100, CONFIGURATION), (6, size))
        ]
        for channel in self._patched:
            if self._owner.get(channel, channel) not in (channel, before.get(channel, channel)):
                heard += [(channel, replace(event, channel=channel, number=n, value=0)) for n in (121, 123)]
        return heard

    def _share(self) -> None:
        """Give every channel of a zone to the instrument that plays the zone."""
        self._owner = {}
        for master, size in self._sizes.items():
            step = 1 if master == LOWER else -1
            channels = [master + step * n for n in range(size + 1)] if size else []
            player = next((channel for channel in channels if channel in self._patched), self._others)
            if channels and player is not None:
                self._owner |= dict.fromkeys(channels, player)
