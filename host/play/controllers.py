"""Controller mapping: CC, NRPN and pressure to parameters, with takeover modes and macros."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..events import (
    AllOff,
    ChannelPressure,
    ControlChange,
    ControllersReset,
    DataEntry,
    Event,
    KeyPressure,
    NoteOff,
    NoteOn,
    ParameterChange,
)
from ..midi.controllers import RESTS
from ..model.card import Card
from ..preset.controls import MacroSettings, MacroTarget, macro_targets
from ..preset.midi_learn import encoder_steps
from ..preset.preset import CCMap, Preset
from ..preset.validation import reach
from ..ramps import knob, nudge
from ..units import Range
from .parameters import ParameterSet

CHANNELS = range(16)
Turn = Callable[[int, str, float, int | None], None]  # of sample, target, value and channel


@dataclass(slots=True, eq=False)
class _Binding:
    """``stood``: target value at the controller's last position; ``channel``: of pressure that stays in its channel."""

    entry: CCMap
    channel: int | None = None
    stood: float | None = None

    def turn(self, value: int, top: int, present: float) -> float | None:
        """None if the target stays."""
        (low, high), entry = self.entry.ends, self.entry
        now = knob(value, low, high, entry.curve, top)
        stood_before, self.stood = self.stood, now
        if entry.takeover == "jump" or present == stood_before:
            return now
        if stood_before is None or now == stood_before:
            return None
        if entry.takeover == "scale":
            upward = (now > stood_before) == (high > low)
            return _scaled(stood_before, now, present, high if upward else low)
        reached_value = min(max(present, min(low, high)), max(low, high))
        return now if min(stood_before, now) <= reached_value <= max(stood_before, now) else None


def _scaled(position: float, now: float, present: float, end: float) -> float:
    """Both arrive at their ends together."""
    if now == end:
        return end
    value = present + (end - present) * (now - position) / (end - position)
    return min(max(value, min(present, end)), max(present, end))


@dataclass(slots=True, eq=False)
class _Knob:
    """Without a fine half, the coarse one spans the range."""

    bindings: list[_Binding] = field(default_factory=list)
    coarse: int = 0
    fine: int | None = None
    has_moved: bool = False


class Mapper:
    def __init__(
        self,
        entries: Iterable[CCMap],
        ranges: Mapping[str, Range],
        present: Callable[[str], float],
        move: Turn,
    ) -> None:
        """``ranges``: of targets over all maps. ``present`` returns a target's destination value, ``move(time,
        target, value, channel)`` sets it, ``channel`` for pressure that stays in its channel.
        """
        self.ranges, self._present, self._move = ranges, present, move
        self._coarse: dict[tuple[int, int], _Knob] = {}  # by channel and CC number
        self._fine: dict[tuple[int, int], _Knob] = {}
        self._encoders: dict[tuple[int, int], list[_Binding]] = {}  # by channel and CC number
        self._parameters: dict[tuple[int, int], _Knob] = {}  # by channel and NRPN
        self._pressures: dict[int, _Knob] = {}  # by channel
        self._key_pressures: dict[int, _Knob] = {}
        self._pressed_keys: dict[int, dict[float, int]] = {}  # pressures of held keys, by channel and key
        self._knob_targets: set[str] = set()  # targets of knobs; pressures return to rest by themselves
        self._moved_targets: set[str] = set()
        self._careful: list[_Binding] = []  # those with another takeover than jump
        for entry in entries:
            self._knob_targets |= {entry.target} if entry.pressure is None else set()
            for channel in CHANNELS if entry.channel is None else (entry.channel - 1,):
                self._listen(channel, entry)

    def standing(self) -> dict[str, float]:
        """Values of targets moved by knobs or a `ParameterChange`."""
        return {target: self._present(target) for target in sorted(self._knob_targets & self._moved_targets)}

    def values(self) -> dict[str, float]:
        return {target: self._present(target) for target in self.ranges}

    def waiting(self) -> dict[tuple[str, str], float]:
        """Controller positions that have yet to pick up their targets, by target and source."""
        return {
            (binding.entry.target, binding.entry.source): binding.stood
            for binding in self._careful
            if binding.stood is not None and binding.stood != self._present(binding.entry.target)
        }

    def at(self, target: str) -> float:
        return self._present(target)

    def _listen(self, channel: int, entry: CCMap) -> None:
        if entry.number is not None and entry.relative is not None:
            self._encoders.setdefault((channel, entry.number), []).append(_Binding(entry))
            return
        if entry.number is not None:
            source = self._coarse.setdefault((channel, entry.number), _Knob())
            if entry.bits == 14:
                self._fine[channel, entry.number + 32] = source
        elif entry.nrpn is not None:
            source = self._parameters.setdefault((channel, entry.nrpn), _Knob())
        elif entry.pressure == "channel":
            source = self._pressures.setdefault(channel, _Knob())
        else:
            source = self._key_pressures.setdefault(channel, _Knob())
            self._pressed_keys[channel] = {}
        stays = entry.pressure is not None and entry.channel is None
        source.bindings.append(_Binding(entry, channel=channel if stays else None))
        if entry.takeover != "jump":
            self._careful.append(source.bindings[-1])

    def apply(self, event: Event) -> bool:
        """Return whether a map replaces the event's standard meaning."""
        match event:
            case ParameterChange(time, _, target, value) if target in self.ranges:
                low, high = self.ranges[target]
                self._knob_targets.add(target)
                self._send(time, target, min(max(low, value), high))  # this order maps NaN to low
            case ControlChange():
                return self._control(event)
            case DataEntry():
                return self._enter(event)
            case ChannelPressure(time, channel, value):
                self._press_channel(time, channel, value)
            case KeyPressure(time, channel, key, value):  # the highest pressure of held keys counts
                if key in (held_keys := self._pressed_keys.get(channel, {})):
                    self._press(time, channel, held_keys | {key: value})
            case NoteOn(_, channel, key) if channel in self._pressed_keys:
                self._pressed_keys[channel].setdefault(key, 0)
            case NoteOff(time, channel, key):
                if key in (held_keys := self._pressed_keys.get(channel, {})):
                    self._press(time, channel, {k: pressure for k, pressure in held_keys.items() if k != key})
            case AllOff(time, channel):
                self._press(time, channel, {})
            case ControllersReset(time, channel):
                self._reset(time, channel)
        return False

    def _control(self, event: ControlChange) -> bool:
        place = (event.channel, event.number)
        if place in self._coarse:
            self._turn_coarse(event.time, self._coarse[place], event.value)
        elif place in self._fine:
            self._turn_fine(event.time, self._fine[place], event.value)
        for binding in self._encoders.get(place, ()):
            assert binding.entry.relative is not None
            self._step(event.time, [binding], encoder_steps(binding.entry.relative, event.value))
        return place in self._coarse or place in self._fine or place in self._encoders

    def _enter(self, entry: DataEntry) -> bool:
        source = None if entry.registered else self._parameters.get((entry.channel, entry.parameter))
        if source is None:
            return False
        match entry.part:
            case "coarse":
                self._turn_coarse(entry.time, source, entry.value)
            case "fine":
                self._turn_fine(entry.time, source, entry.value)
            case "up" | "down":
                self._step(entry.time, source.bindings, 1 if entry.part == "up" else -1)
        return True

    def _reset(self, time: int, channel: int) -> None:
        self._press_channel(time, channel, 0)
        self._press(time, channel, dict.fromkeys(self._pressed_keys.get(channel, {}), 0))
        for number, resting_value in RESTS.items():
            source = self._coarse.get((channel, number))
            if source is not None and source.has_moved:
                self._turn_coarse(time, source, resting_value)
                if source.fine is not None and resting_value > 0:  # to the end of all 14 bits
                    self._turn_fine(time, source, resting_value)

    def _press_channel(self, time: int, channel: int, value: int) -> None:
        source = self._pressures.get(channel)
        if source is not None and (source.has_moved or value):  # an initial 0 must not move the target
            self._turn_coarse(time, source, value)

    def _press(self, time: int, channel: int, held_keys: dict[float, int]) -> None:
        if channel not in self._pressed_keys:
            return
        self._pressed_keys[channel] = held_keys
        source, hardest = self._key_pressures[channel], max(held_keys.values(), default=0)
        if hardest != source.coarse:
            self._turn_coarse(time, source, hardest)

    def _turn_coarse(self, time: int, source: _Knob, value: int) -> None:
        source.coarse = value
        if source.fine is not None:
            source.fine = 0  # a coarse half resets the fine half to 0 (MIDI 1.0)
        self._turn(time, source)

    def _turn_fine(self, time: int, source: _Knob, value: int) -> None:
        source.fine = value
        self._turn(time, source)

    def _turn(self, time: int, source: _Knob) -> None:
        source.has_moved = True
        value, top = source.coarse, 127
        if source.fine is not None:
            value, top = source.coarse << 7 | source.fine, 16383
        for binding in source.bindings:
            to = binding.turn(value, top, self._present(binding.entry.target))
            if to is not None:
                self._send(time, binding.entry.target, to, binding.channel)

    def _step(self, time: int, bindings: Iterable[_Binding], steps: int) -> None:
        """From present values: endless encoders have no position."""
        for binding in bindings:
            entry = binding.entry
            to = nudge(self._present(entry.target), steps, *entry.ends, entry.curve)
            binding.stood = to
            self._send(time, entry.target, to)

    def _send(self, time: int, target: str, value: float, channel: int | None = None) -> None:
        self._moved_targets.add(target)
        self._move(time, target, value, channel)


class Macros:
    """A preset's macros: add offsets to knob values, before the parameters."""

    def __init__(
        self,
        macros: Sequence[MacroSettings],
        ranges: Mapping[str, Range],
        present: Callable[[str], float],
        move: Turn,
    ) -> None:
        """``ranges`` limits the sums; ``present`` and ``move`` as in `Mapper`."""
        self._ranges, self._present, self._move = ranges, present, move
        self._rests = dict(zip(macro_targets(macros), (macro.value for macro in macros), strict=True))
        self._positions = dict(zip(self._rests, (macro.start for macro in macros), strict=True))
        self._moved: dict[str, list[str]] = {}  # the targets of each macro
        self._adding: dict[str, list[tuple[str, MacroTarget]]] = {}  # the macros of each target
        for name, macro in zip(self._rests, macros, strict=True):
            self._moved[name] = [entry.target for entry in macro.targets if entry.target in ranges]
            for entry in macro.targets:
                if entry.target in ranges:
                    self._adding.setdefault(entry.target, []).append((name, entry))
        self._own = {target: present(target) for target in self._adding}  # knob values of targets
        self._added = {target: self._sum(target) for target in self._adding}  # by the macros as they stand
        turned_macros = [
            name for name, resting_position in self._rests.items() if self._positions[name] != resting_position
        ]
        for target in dict.fromkeys(target for name in turned_macros for target in self._moved[name]):
            self._send(0, target)

    def present(self, target: str) -> float:
        """A macro's position, or a target's knob value without offsets."""
        for positions in (self._positions, self._own):
            if target in positions:
                return positions[target]
        return self._present(target)

    def turn(self, time: int, target: str, value: float, channel: int | None = None) -> None:
        """Macros and their targets are common to all channels."""
        if target in self._positions:
            self._positions[target] = value
            for moved_target in self._moved[target]:
                self._added[moved_target] = self._sum(moved_target)
                self._send(time, moved_target)
        elif target in self._own:
            self._own[target] = value
            self._send(time, target)
        else:
            self._move(time, target, value, channel)

    def _sum(self, target: str) -> float:
        return sum(entry.added(self._positions[name], self._rests[name]) for name, entry in self._adding[target])

    def _send(self, time: int, target: str) -> None:
        low, high = self._ranges[target]
        self._move(time, target, min(max(self._own[target] + self._added[target], low), high), None)


def make_mapper(
    preset: Preset, card: Card, effects: Mapping[str, Range], parameters: ParameterSet, entries: Iterable[CCMap]
) -> Mapper:
    """The mapper of a preset's maps, which moves its parameters through its macros.

    Parameters must not refer back to it: live playing disables the garbage collector. ``effects``: ranges of effect
    parameters by target; ``entries``: maps of ``parameters``.
    """
    macros_by_target = macro_targets(preset.macro)
    spans = {
        target: span
        for target, span in reach(preset, card, effects).items()
        if target in macros_by_target or target in parameters
    }
    macros = Macros(preset.macro, spans, parameters.present, parameters.turn)
    return Mapper(entries, spans, macros.present, macros.turn)
