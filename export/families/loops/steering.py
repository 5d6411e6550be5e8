"""Measures what the knobs of a network of loops do: what it plays with each turned low and high."""

import numpy as np
import torch

from ....train.families.loops.network import LoopNetwork
from ....train.families.loops.recipe import LoopRecipe
from ....train.metrics.groove import LoopMeasures, groove
from ...reports.report import SEED
from .playing import played
from .turning import Turning

STEERED_BARS = 16  # that are measured at each end of a knob
UNITS = {"density": "onsets a beat", "brightness": "octaves over 1 Hz", "swing": "steps late"}


@torch.no_grad()
def steering(network: LoopNetwork, recipe: LoopRecipe, turned: Turning) -> dict[str, dict[str, float | None]]:
    """Return what each named knob's measure is at the knob's low end, in the middle, and at its high end.

    The other knobs are in the middle. What cannot be measured, such as swing where nothing is off the beat, is None.
    """
    step, rate = recipe.frames.hop_length, recipe.frames.sample_rate
    found: dict[str, dict[str, float | None]] = {}
    nothing = torch.zeros(0, recipe.network.components)

    def at(number: int, place: float) -> LoopMeasures:
        code = torch.from_numpy(turned.middle + place * turned.ways[number]).float()
        sound = played(network, recipe, nothing, code, STEERED_BARS, SEED)
        return groove(sound, rate, step, recipe.frames.steps_per_beat)

    middle = at(0, 0.0)
    for number, name in enumerate(turned.told):
        low, high = (at(number, end) for end in turned.ends[:, number])
        measured = {"low": getattr(low, name), "middle": getattr(middle, name), "high": getattr(high, name)}
        found[name] = {end: float(value) if np.isfinite(value) else None for end, value in measured.items()}
    return found


def effects(rows: dict[str, dict[str, float | None]]) -> dict[str, str]:
    """Return in words what knobs move, by name, of what `steering` gives."""
    return {name: f"{_number(row['low'])} to {_number(row['high'])} {UNITS[name]}" for name, row in rows.items()}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
