"""Parameters of a preset over time: knob targets, volume, pan, expression and envelope settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Times
from ..engines.protocol import Beginnings, Residual
from ..patch.preset import PLAY_CONTROLS
from ..ramps import RAMP_SECONDS, Ramp
from ..units import db_to_gain
from .envelope import SHORTEST_SECONDS, Envelope
from .motions.motion import Latents
from .preset_controls import Move, ParameterSet

DEFAULT_VOLUME = 100  # CC 7 before a first message (MIDI 1.0, General MIDI level 1)


class CommonMotion:
    """A `Motion` common to the notes of a bus; ``buses`` and ``bends``: each voice's."""

    def __init__(self, codes: Latents, buses: Sequence[int] = (), bends: Sequence[Ramp] = ()) -> None:
        self.codes, self._buses, self._bends = codes, buses, bends
        self.own_codes = codes.differ(buses)
        self._one_bend = all(bend is bends[0] for bend in bends)

    def latents(self, voices: Sequence[int], times: Times, own_times: Times | None = None) -> Array:
        if not self.own_codes:
            return self.codes.at(times)
        buses = np.array([self._buses[voice] for voice in voices])
        codes = np.empty((len(times), len(self.codes.knobs)), np.float32)
        for bus in set(buses.tolist()):
            codes[buses == bus] = self.codes.at_bus(times[buses == bus], bus)
        return codes

    def beginnings(self, time: int) -> Beginnings | None:
        """Notes share one code."""
        return None

    def bend_semitones(self, voices: Sequence[int], times: Times) -> npt.NDArray[np.float64]:
        if self._one_bend and self._bends:
            return self._bends[0].at(times)
        return np.array([self._bends[voice].value(time) for voice, time in zip(voices, times.tolist(), strict=True)])

    def residual(self, voices: Sequence[int], times: Times, ahead: int) -> Residual | None:
        return None

    def decoded_keys(self, voices: Sequence[int]) -> Sequence[int | None]:
        return [None] * len(voices)

    def bend_of(self, voice: int, start: int, count: int) -> np.float32 | Array:
        return self._bends[voice].block(start, count)

    def morph(self, time: int) -> float:
        return self.codes.morph(time)

    def beat(self, time: int) -> float:
        return self.codes.beat(time)

    def beat_samples(self, time: int) -> float:
        return self.codes.beat_samples(time)


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
        """``rests``: initial values of all targets of [play], [envelope] and effects; ``bus(channel)``: as in `Makers`.

        ``sharpest_seconds``: shortest attack; None: `SHORTEST_SECONDS`.
        """
        super().__init__(codes, engine, rests, move_effect)
        self._rate = sample_rate
        self._sharpest = SHORTEST_SECONDS if sharpest_seconds is None else sharpest_seconds
        ramp = round(RAMP_SECONDS * sample_rate)
        self._bus = bus
        self._rest = Level(Ramp(0.0, ramp), Ramp(0.0, ramp), rests["gain"], rests["pan"])  # of buses to come
        self._rest.left, self._rest.right = (Ramp(gain, ramp) for gain in self._gains(self._rest))
        self._levels: dict[int, Level] = {}  # by bus

    def level(self, bus: int) -> Level:
        if bus not in self._levels:
            rest = self._rest
            self._levels[bus] = Level(rest.left.copy(), rest.right.copy(), rest.gain, rest.pan)
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

    def forget(self, time: int) -> None:
        self._codes.forget(time)
        for level in (self._rest, *self._levels.values()):
            level.left.forget(time)
            level.right.forget(time)

    def shape(self, time: int, added: Mapping[str, float]) -> Envelope:
        """Envelope of a new note; ``added``: its offsets by target."""

        def samples(name: str, shortest: float = SHORTEST_SECONDS) -> int:
            return round(max(shortest, self._with(added, name)) * self._rate)

        return Envelope(
            on=time,
            attack=samples("envelope.attack_seconds", self._sharpest),
            decay=samples("envelope.decay_seconds"),
            sustain=self._with(added, "envelope.sustain"),
            release=samples("envelope.release_seconds"),
        )

    def release_samples(self, added: Mapping[str, float]) -> int:
        return round(max(SHORTEST_SECONDS, self._with(added, "envelope.release_seconds")) * self._rate)

    def _with(self, added: Mapping[str, float], name: str) -> float:
        value = self._values[name]
        return PLAY_CONTROLS[name].within(value + added[name]) if name in added else value

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
