"""Preset controls: applies events to a preset's parameters, for synthesizers and effects."""

from collections.abc import Callable, Iterable, Mapping

from ..contract.card import Card
from ..events import Clock, Event, ParameterTouch, Tempo
from ..patch.macros import macro_targets
from ..patch.preset import CCMap, Preset
from ..patch.validation import reach
from ..ramps import Ramp
from ..units import Range
from .controller_mapping import Macros, Mapper
from .motions.motion import Latents

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
        moved = macro_targets(preset.macro)
        spans = {
            target: span
            for target, span in reach(preset, card, effects).items()
            if target in moved or target in parameters
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
