"""Makes a new model's preset and demo sound."""

import math
from pathlib import Path

import numpy as np

from ..host.contract.card import Card
from ..host.contract.model import Model
from ..host.patch.library import Patch
from ..host.patch.preset import Preset
from ..host.patch.validation import named
from ..host.progress import Display
from ..host.render import render
from .instrument.demo import demo
from .instrument.levels import HIGHEST_DBFS, peaks_dbfs
from .kinds.clip.kit_keys import key_table
from .kinds.kind import RATE
from .kinds.table import KINDS


def first_preset(model: Model) -> Preset:
    """Make a model's preset; keys of kits that would peak above -1 dBFS at full velocity get a gain."""
    preset = untrimmed(model)
    if not preset.keys:
        return preset
    peaks = peaks_dbfs(Patch("measured", preset, model, model.path.parent))
    too_loud = {key: math.floor(10 * (HIGHEST_DBFS - peak)) / 10 for key, peak in peaks.items() if peak > HIGHEST_DBFS}
    keys = [
        entry.model_copy(update={"gain_db": too_loud[entry.key]} if entry.key in too_loud else {})
        for entry in preset.keys
    ]
    return preset.model_copy(update={"keys": keys})


def untrimmed(model: Model) -> Preset:
    """Make a preset without gains of keys."""
    return KINDS[model.card.kind].preset(model)


def as_text(preset: Preset, card: Card) -> str:
    values = preset.latent_values(card)
    nearest = min(card.landmarks, key=lambda mark: float(np.sum(np.square(np.subtract(mark.latent, values)))))
    return preset.to_toml(
        f"Starts from a moment of {nearest.label}; each knob spans what the recordings span.", named(preset, card)
    )


def rendered(model: Model, heard: Path, display: Display) -> Preset:
    """Make a preset, render its demo to ``heard``, and show a kit's keys."""
    display.stage("rendering")
    preset = first_preset(model)
    patch = Patch("preset", preset, model, heard.parent)
    render({0: patch}, demo(patch), heard, sample_rate=RATE, overwrite=True)
    if preset.keys:
        display.say(key_table(preset.keys, model.card))
    return preset
