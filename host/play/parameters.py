"""Parameters of a preset over time: knob targets, volume, pan, expression and envelopes of new notes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..preset.preset import PLAY_CONTROLS
from ..ramps import RAMP_SECONDS, Ramp
from ..units import db_to_gain
from .envelope import SHORTEST_SECONDS, Envelope
from .motions import Latents

EFFECTS = "effects."
Move = Callable[[int, str, float], None]  # of sample, target and value


class ParameterSet:
    """Parameters by target: latents, ramps and plain values."""

    def __init__(
        self, codes: Latents, ramps: Mapping[str, Ramp], values: Mapping[str, float], move_effect: Move
    ) -> None:
        self._codes, self._ramps, self._move_effect = codes, ramps, move_effect
        self._values = dict(values)

    def present(self, target: str) -> float:
        """Destination value of a target; 0 if unknown."""
        for ramps in (self._codes.targets, self._ramps):
            if target in ramps:
                return ramps[target].target
        return self._values.get(target, 0.0)

    def __contains__(self, target: str) -> bool:
        return target in self._values or target in self._ramps or target in self._codes.targets

    def turn(self, time: int, target: str, value: float, channel: int | None = None) -> None:
        """``channel``: of the pressure that turns the target; None for all else."""
        if target in self._codes.targets:
            self._codes.turn(time, target, value)
        elif target in self._ramps:
            self._ramps[target].move(time, value)
        else:
            self._values[target] = value
            if target.startswith(EFFECTS):  # others belong to other kinds of models
                self._move_effect(time, target, value)


DEFAULT_VOLUME = 100  # CC 7 before a first message (MIDI 1.0, General MIDI level 1)


@dataclass(slots=True)
class Level:
    """Volume, pan and expression of a bus: gains of both sides over time.

    ``gain`` in dB and ``pan``, -1 to 1: of the preset, or of pressure. ``balance``, -1 to 1, adds to ``pan``.
    """

    left: Ramp
    right: Ramp
    gain: float
    pan: float
    volume: int = DEFAULT_VOLUME
    expression: int = 127
    balance: float = 0.0

    def settle(self, time: int) -> None:
        self.left.settle(time)
        self.right.settle(time)


class Parameters(ParameterSet):
    def __init__(
        self,
        rests: Mapping[str, float],
        codes: Latents,
        engine: Mapping[str, Ramp],
        move_effect: Move,
        sample_rate: int,
        bus: Callable[[int], int],
        sharpest_seconds: float | None = None,
    ) -> None:
        """``rests``: initial values of all targets of [play], [envelope] and effects; ``bus``: as `MpeChannels.bus`.

        ``sharpest_seconds``: shortest attack; None: `SHORTEST_SECONDS`.
        """
        super().__init__(codes, engine, rests, move_effect)
        self.sample_rate = sample_rate
        self._sharpest = SHORTEST_SECONDS if sharpest_seconds is None else sharpest_seconds
        ramp = round(RAMP_SECONDS * sample_rate)
        self._bus = bus
        self._rest = Level(Ramp(0.0, ramp), Ramp(0.0, ramp), rests["gain"], rests["pan"])  # of buses to come
        self._rest.left, self._rest.right = (Ramp(gain, ramp) for gain in self._gains(self._rest))
        self._levels: dict[int, Level] = {}  # by bus

    def level(self, bus: int) -> Level:
        if bus not in self._levels:
            resting_level = self._rest
            self._levels[bus] = Level(
                resting_level.left.copy(), resting_level.right.copy(), resting_level.gain, resting_level.pan
            )
        return self._levels[bus]

    def turn(self, time: int, target: str, value: float, channel: int | None = None) -> None:
        """Pressure of a ``channel`` turns latents, gain and pan for the notes of its bus."""
        bus = None if channel is None else self._bus(channel)
        if bus is not None and target in self._codes.targets:
            self._codes.turn(time, target, value, bus)
        else:
            super().turn(time, target, value)
        if target in ("gain", "pan"):
            for level in (self._rest, *self._levels.values()) if bus is None else (self.level(bus),):
                setattr(level, target, value)
                self._set_gain(time, level)

    def volume(self, time: int, bus: int, value: int) -> None:
        """CC 7, 0-127."""
        self.level(bus).volume = value
        self._set_gain(time, self.level(bus))

    def pan(self, time: int, bus: int, value: int) -> None:
        """CC 10, 0-127; adds to the preset's pan."""
        self.level(bus).balance = max(-1.0, (value - 64) / 63)
        self._set_gain(time, self.level(bus))

    def expression(self, time: int, bus: int, value: int) -> None:
        """CC 11, 0-127."""
        self.level(bus).expression = value
        self._set_gain(time, self.level(bus))

    def reset_levels(self, time: int) -> None:
        """Volume, pan and expression of all buses."""
        for level in self._levels.values():
            level.volume, level.expression, level.balance = DEFAULT_VOLUME, 127, 0.0
            self._set_gain(time, level)

    def settle(self, time: int, since: int) -> None:
        """End all glides: from sample ``time`` on, notes have the values that were set; nothing sounds ``since``."""
        self._codes.settle(time, since)
        for ramp in self._ramps.values():
            ramp.settle(time)
        for level in (self._rest, *self._levels.values()):
            level.settle(time)

    def settle_level(self, time: int, bus: int) -> None:
        """End the glides of a bus's level at sample ``time``."""
        self.level(bus).settle(time)

    def forget(self, time: int) -> None:
        self._codes.forget(time)
        for ramp in self._ramps.values():
            ramp.forget(time)
        for level in (self._rest, *self._levels.values()):
            level.left.forget(time)
            level.right.forget(time)

    def envelope(self, time: int, offsets: Mapping[str, float]) -> Envelope:
        """Envelope of a new note; ``offsets``: its own, by target."""

        def samples(name: str, shortest: float = SHORTEST_SECONDS) -> int:
            return round(max(shortest, self._offset_value(name, offsets)) * self.sample_rate)

        return Envelope(
            on=time,
            attack=samples("envelope.attack_seconds", self._sharpest),
            decay=samples("envelope.decay_seconds"),
            sustain=self._offset_value("envelope.sustain", offsets),
            release=samples("envelope.release_seconds"),
        )

    def release_samples(self, offsets: Mapping[str, float]) -> int:
        return round(max(SHORTEST_SECONDS, self._offset_value("envelope.release_seconds", offsets)) * self.sample_rate)

    def _offset_value(self, target: str, offsets: Mapping[str, float]) -> float:
        value = self._values[target]
        return PLAY_CONTROLS[target].clamp(value + offsets[target]) if target in offsets else value

    def _set_gain(self, time: int, level: Level) -> None:
        left, right = self._gains(level)
        level.left.move(time, left)
        level.right.move(time, right)

    def _gains(self, level: Level) -> tuple[float, float]:
        """Equal power pan, volume and expression squared (General MIDI: 40 log10)."""
        gain = 0.0 if level.gain <= PLAY_CONTROLS["gain"].low else db_to_gain(level.gain)
        gain *= (level.volume / DEFAULT_VOLUME) ** 2 * (level.expression / 127) ** 2
        angle = (np.clip(level.pan + level.balance, -1.0, 1.0) + 1.0) * np.pi / 4
        return gain * float(np.cos(angle)), gain * float(np.sin(angle))
