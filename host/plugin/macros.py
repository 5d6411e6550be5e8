"""The sixteen plugin parameters, each 0 to 1: macros, or latents, then other targets."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..events import ParameterChange
from ..patch.macros import macro_targets
from ..patch.preset import Preset
from ..session.preset_view import ControlView
from .shared_memory import MACROS

OWN_GAIN = "gain"  # a target without a parameter: plugins have their own gain


class PluginParameter(NamedTuple):
    name: str
    target: str
    low: float
    high: float
    rest: float

    def turn(self, time: int, place: float) -> ParameterChange:
        """Event for a value, clamped to 0 to 1; the 32-bit float of ``rest`` maps to ``rest`` exactly."""
        place = min(max(place, 0.0), 1.0) if math.isfinite(place) else 0.0
        rests = np.float32(place) == np.float32(self.place(self.rest)) and self.low <= self.rest <= self.high
        return ParameterChange(time, 0, self.target, self.rest if rests else self.low + place * (self.high - self.low))

    def place(self, value: float) -> float:
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)


def slots_of(preset: Preset, controls: Iterable[ControlView]) -> list[PluginParameter]:
    """At most `MACROS`."""
    if macros := preset.macro:
        targets = macro_targets(macros)
        return [
            PluginParameter(one.name, target, 0.0, 1.0, one.start) for one, target in zip(macros, targets, strict=True)
        ]
    kept = [one for one in controls if one.high > one.low and one.target != OWN_GAIN]
    return [
        PluginParameter(control.title, control.target, control.low, control.high, control.rest)
        for control in kept[:MACROS]
    ]
