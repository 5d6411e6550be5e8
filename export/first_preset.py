"""Makes a new model's preset and demo sound, by family."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..host.contract.card import Card
from ..host.contract.model import Model
from ..host.patch.library import Patch
from ..host.patch.preset import Preset
from ..host.patch.validation import named
from ..host.progress import Display
from ..host.render import render
from ..train.run import Run
from .instrument.demo import demo
from .instrument.levels import HIGHEST_DBFS, peaks_dbfs
from .kinds.clip.kit import key_table
from .kinds.kind import RATE
from .kinds.table import KINDS


@dataclass(frozen=True)
class FirstPreset:
    """A new instrument's preset, its rendered demo, and a sentence on how it plays."""

    preset: Preset
    heard: Path
    plays: str


def first_preset(model: Model) -> Preset:
    """Make a model's preset.

    Keys of a kit that would peak above -1 dBFS at full velocity get their own gain.
    """
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
    """Make a model's preset without gains of keys."""
    return KINDS[model.card.kind].preset(model)


def as_text(preset: Preset, card: Card) -> str:
    """Return the preset's file, with a comment on its starting sound."""
    values = preset.latent_values(card)
    nearest = min(card.landmarks, key=lambda mark: float(np.sum(np.square(np.subtract(mark.latent, values)))))
    return preset.to_toml(
        f"Starts from a moment of {nearest.label}; each knob spans what the recordings span.", named(preset, card)
    )


def first_scale(output: Path, run: Run, model: Model, display: Display) -> FirstPreset:
    display.stage("rendering")
    preset = first_preset(model)
    heard = output / "scale.wav"
    _render(Patch("preset", preset, model, output), heard)
    return FirstPreset(preset, heard, "keys choose the note" if run.info.tonal else "keys choose the colour")


def first_texture(output: Path, run: Run, model: Model, display: Display) -> FirstPreset:
    display.stage("rendering")
    preset = first_preset(model)
    heard = output / "texture.wav"
    _render(Patch("preset", preset, model, output), heard)
    return FirstPreset(preset, heard, "keys move its grains in pitch, knobs walk its sounds")


def first_kit(output: Path, run: Run, model: Model, display: Display) -> FirstPreset:
    display.stage("rendering")
    preset = first_preset(model)
    heard = output / "kit.wav"
    _render(Patch("preset", preset, model, output), heard)
    display.say(key_table(preset.keys, model.card))
    keys = [entry.key for entry in preset.keys]
    return FirstPreset(preset, heard, f"{len(keys)} keys from {keys[0]} to {keys[-1]} play its clips, knobs bend them")


def first_loop(output: Path, run: Run, model: Model, display: Display) -> FirstPreset:
    display.stage("rendering")
    preset = first_preset(model)
    heard = output / "loop.wav"
    _render(Patch("preset", preset, model, output), heard)
    named = [latent.name for latent in model.card.latents if not latent.name.startswith("latent")]
    steers = f"; knobs steer its {', '.join(named)}" if named else ""
    return FirstPreset(preset, heard, f"a held key plays on at {preset.tempo_bpm:g} BPM{steers}")


def _render(patch: Patch, path: Path) -> None:
    render({0: patch}, demo(patch), path, sample_rate=RATE, overwrite=True)
