"""First presets and demos of grains."""

import numpy as np

from ....host.contract.model import Model
from ....host.events import ControlChange, Event
from ....host.kinds.grain.kind import GrainKind, GrainSettings
from ....host.patch.library import Patch, default_knobs
from ....host.patch.preset import CCMap, EnvelopeSettings, PlaySettings, Preset
from ..kind import RATE, ExportKind, held_key, preset_of
from .player import GrainPlayer
from .search_view import GrainView

STEPS, STEP_SECONDS = 8, 1.5  # of the walk
# More controls of a texture, on the general purpose controllers and the modulation wheel.
KNOBS = (
    CCMap(number=1, target="grain.code_jitter", low=0.0, high=1.0),
    CCMap(number=16, target="grain.density", low=10.0, high=400.0, curve=2.0),
    CCMap(number=17, target="grain.length", low=0.01, high=0.5, curve=2.0),
    CCMap(number=18, target="grain.spread", low=0.0, high=1.0),
    CCMap(number=19, target="grain.pitch", low=-24.0, high=24.0),
)


def _preset(model: Model) -> Preset:
    return preset_of(
        model,
        play=PlaySettings(mode="poly", voices=8),
        grain=GrainSettings(density=200.0, spread=0.7, code_jitter=0.3),
        envelope=EnvelopeSettings(attack_seconds=0.3, decay_seconds=0.1, sustain=1.0, release_seconds=1.0),
        cc=[*default_knobs(model.card), *KNOBS],
    )


def _demo(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    step, marks = round(STEP_SECONDS * RATE), patch.model.card.landmarks
    down, up = held_key(STEPS * step, velocity)
    events = [down]
    for index, mark in enumerate(np.linspace(0, len(marks) - 1, STEPS).astype(int).tolist() if marks else []):
        for knob in patch.preset.cc:
            number = knob.target.removeprefix("latent.")
            if knob.number is not None and number.isdecimal():
                low, high = knob.ends
                place = round(127 * (marks[mark].latent[int(number)] - low) / (high - low))
                events.append(ControlChange(index * step, 0, knob.number, min(max(place, 0), 127)))
    return [*events, up], STEPS * step


KIND = ExportKind(GrainKind.name, _preset, _demo, held=True, view=GrainView, player=GrainPlayer)
