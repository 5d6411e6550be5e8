"""Parameters of a preset over time: knob targets, volume, pan, expression and the envelope."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Times
from ..engines.engine import Beginnings, Residual
from ..events import Clock, Event, ParameterTouch, Tempo
from ..model.card import Card
from ..preset.controls import macro_targets
from ..preset.preset import PLAY_CONTROLS, CCMap, Preset
from ..preset.validation import reach
from ..ramps import RAMP_SECONDS, Ramp
from ..units import Range, db_to_gain
from .controllers import Macros, Mapper
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


class PresetControls:
    """The maps, macros, motions and touched knobs of a preset.

    Parameters must not refer back to it: live playing disables the garbage collector.
    """

    def __init__(
        self,
        preset: Preset,
        card: Card,
        effects: Mapping[str, Range],
        codes: Latents,
        parameters: ParameterSet,
        entries: Iterable[CCMap],
    ) -> None:
        """``effects``: ranges of effect parameters by target; ``entries``: maps of ``parameters``."""
        self._codes = codes
        macro_moves = macro_targets(preset.macro)
        spans = {
            target: span
            for target, span in reach(preset, card, effects).items()
            if target in macro_moves or target in parameters
        }
        macros = Macros(preset.macro, spans, parameters.present, parameters.turn)
        self.knobs = Mapper(entries, spans, macros.present, macros.turn)

    def apply(self, event: Event) -> bool:
        """As `Mapper.apply`."""
        match event:
            case Clock():
                self._codes.clock(event)
            case Tempo(time, bpm):
                self._codes.tempo(time, bpm)
            case ParameterTouch(time, _, target, down):
                self._codes.hold(time, target, down)
            case _:
                return self.knobs.apply(event)
        return False


SHORTEST_SECONDS = 0.001  # shorter ramps click
STEAL_SECONDS = 0.005  # fade of a stolen voice: too short to hear, long enough not to click


@dataclass(slots=True)
class Envelope:
    """Linear attack, cubic decay and release: similar to an exponential, but exactly 0 at the end.

    Samples: ``attack`` >= 0, ``decay`` and ``release`` >= 1. ``sustain`` is 0 to 1, ``off`` None while held. With
    ``closes``, for sounds that decay by themselves, the release follows the fourth root of the remaining part.
    """

    on: int
    attack: int
    decay: int
    sustain: float
    release: int
    off: int | None = None
    closes: bool = False
    _left: np.float32 | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def end(self) -> int | None:
        """First sample of final silence; None while unknown."""
        if self.sustain == 0 and (self.off is None or self.off >= self.on + self.attack + self.decay):
            return self.on + self.attack + self.decay
        return None if self.off is None else self.off + self.release

    def left(self) -> np.float32:
        """Level at the note-off: one of `_held`'s numbers, but sooner."""
        if self._left is None:
            assert self.off is not None
            past = self.off - self.on - self.attack
            if past < 0:
                self._left = np.float32(max(self.off - self.on, 0) / self.attack)
            else:
                decay_share = min(max((self.decay - past) / self.decay, 0.0), 1.0)
                self._left = np.float32(self.sustain + (1.0 - self.sustain) * (decay_share * decay_share * decay_share))
        return self._left

    def phase(self, start: int, end: int) -> "Phase":
        """The quickest function for samples ``start`` to ``end``."""
        if self.off is not None and self.off < end:
            return _turning if self.off > start else _released
        top = self.on + self.attack
        settled = top + self.decay if self.sustain < 1.0 else top  # no decay at full sustain
        if start >= settled:
            return _settled
        return _decaying if start >= top and end <= settled else _held


Phase = Callable[[Sequence[Envelope], npt.NDArray[np.int64]], Array]  # envelopes and samples → their levels


def envelope_levels(envelopes: Sequence[Envelope], start: int, count: int) -> Array:
    """Levels of notes over a block, [envelopes, count]."""
    levels = np.empty((len(envelopes), count), np.float32)
    phases, times = [envelope.phase(start, start + count) for envelope in envelopes], np.arange(start, start + count)
    for phase in set(phases):
        if phases.count(phase) == len(phases):  # the usual case
            levels[:] = phase(envelopes, times)
            break
        rows = [row for row, row_phase in enumerate(phases) if row_phase is phase]
        levels[rows] = phase([envelopes[row] for row in rows], times)
    return levels


def _settled(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    return np.array([[envelope.sustain] for envelope in envelopes], np.float32)


def _decaying(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    settled = _column([envelope.on + envelope.attack + envelope.decay for envelope in envelopes])
    sustain = _column([envelope.sustain for envelope in envelopes])
    shares = np.clip((settled - times) / _column([envelope.decay for envelope in envelopes]), 0.0, 1.0)
    level: Array = (sustain + (1.0 - sustain) * (shares * shares * shares)).astype(np.float32)
    return level


def _held(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    onsets, attack = (
        _column([envelope.on for envelope in envelopes]),
        _column([envelope.attack for envelope in envelopes]),
    )
    risen = (np.maximum(times - onsets, 0.0) / np.maximum(attack, 1.0)).astype(np.float32)
    return np.where(times < onsets + attack, risen, _decaying(envelopes, times))


def _released(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    ends = _column([envelope.off + envelope.release for envelope in envelopes if envelope.off is not None])
    shares = np.clip((ends - times) / _column([envelope.release for envelope in envelopes]), 0.0, 1.0)
    fallen = shares * shares * shares
    closing = [row for row, envelope in enumerate(envelopes) if envelope.closes]
    if closing:
        fallen[closing] = np.sqrt(np.sqrt(shares[closing]))
    level: Array = np.array([[envelope.left()] for envelope in envelopes]) * fallen.astype(np.float32)
    return level


def _turning(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    offs = _column([envelope.off for envelope in envelopes if envelope.off is not None])
    return np.where(times < offs, _held(envelopes, times), _released(envelopes, times))


def _column(values: Sequence[float]) -> npt.NDArray[np.float64]:
    return np.array(values, np.float64)[:, np.newaxis]


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
            return self._bends[0].values(times)
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

    def forget(self, time: int) -> None:
        self._codes.forget(time)
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
