"""Measures the effect of a loop network's knobs on its sound."""

import numpy as np
import torch

from ....train.families.loops.network import LoopNetwork
from ....train.families.loops.recipe import LoopRecipe
from ....train.metrics.groove import LoopMeasures, groove
from ...reports.report import SEED
from .loop_generation import played
from .steering_rotation import SteeringRotation

STEERED_BARS = 16  # measured at each end of a knob
UNITS = {"density": "onsets a beat", "brightness": "octaves over 1 Hz", "swing": "steps late"}


@torch.no_grad()
def steering(
    network: LoopNetwork, recipe: LoopRecipe, rotation: SteeringRotation
) -> dict[str, dict[str, float | None]]:
    """Return named knobs' measures at low end, middle and high end; None if undefined."""
    step, rate = recipe.frames.hop_length, recipe.frames.sample_rate
    found: dict[str, dict[str, float | None]] = {}
    nothing = torch.zeros(0, recipe.network.components)

    def at(number: int, place: float) -> LoopMeasures:
        code = torch.from_numpy(rotation.middle + place * rotation.directions[number]).float()
        sound = played(network, recipe, nothing, code, STEERED_BARS, SEED)
        return groove(sound, rate, step, recipe.frames.steps_per_beat)

    middle = at(0, 0.0)
    for number, name in enumerate(rotation.correlations):
        low, high = (at(number, end) for end in rotation.ends[:, number])
        measured = {"low": getattr(low, name), "middle": getattr(middle, name), "high": getattr(high, name)}
        found[name] = {end: float(value) if np.isfinite(value) else None for end, value in measured.items()}
    return found


def effects(rows: dict[str, dict[str, float | None]]) -> dict[str, str]:
    return {name: f"{_number(row['low'])} to {_number(row['high'])} {UNITS[name]}" for name, row in rows.items()}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
