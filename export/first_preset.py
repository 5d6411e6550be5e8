"""Makes the preset of a new model and a demo sound, by family."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..host.contract.card import Card
from ..host.contract.model import Model
from ..host.kinds.clip.kind import ClipKind
from ..host.kinds.grain.kind import GrainKind, GrainSettings
from ..host.kinds.partials.kind import PartialsKind
from ..host.kinds.spectrum.kind import SpectrumKind
from ..host.kinds.stream.kind import StreamKind, StreamSettings
from ..host.patch.library import FIRST_KNOB_CC, Patch, default_knobs, default_macros, macro_knobs
from ..host.patch.preset import CCMap, EnvelopeSettings, LatentSettings, PlaySettings, Preset
from ..host.patch.validation import named
from ..host.progress import Display
from ..host.render import render
from ..train.run import Run
from .families.loops.playing import HEAT
from .instrument.demo import RATE, demo
from .instrument.kit import key_table, kit
from .instrument.levels import HIGHEST_DBFS, peaks_dbfs

# More controls of a texture, on the general purpose controllers and the modulation wheel.
TEXTURE_KNOBS = (
    CCMap(number=1, target="grain.code_jitter", low=0.0, high=1.0),
    CCMap(number=16, target="grain.density", low=10.0, high=400.0, curve=2.0),
    CCMap(number=17, target="grain.length", low=0.01, high=0.5, curve=2.0),
    CCMap(number=18, target="grain.spread", low=0.0, high=1.0),
    CCMap(number=19, target="grain.pitch", low=-24.0, high=24.0),
)
CLIP_KNOBS = (
    CCMap(number=16, target="clip.pitch", low=-12.0, high=12.0),
    CCMap(number=17, target="clip.start", low=0.0, high=0.5),
)
STREAM_KNOBS = (
    CCMap(number=1, target="stream.heat", low=0.0, high=2.0),
    CCMap(number=16, target="stream.freeze", low=0.0, high=1.0),
)


@dataclass(frozen=True)
class FirstPreset:
    """A preset, its rendered sound file, and how it plays."""

    preset: Preset
    heard: Path
    plays: str


def first_preset(model: Model) -> Preset:
    """Make a model's preset: it starts from a real sound, and its knobs span the corpus.

    Keys of a kit that would peak above -1 dBFS at full velocity get an individual gain.
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
    """Make a model's preset without individual gains of keys."""
    return PRESETS[model.card.kind](model)


def _for_keys(model: Model) -> Preset:
    edges = {} if model.gestures else {"attack_seconds": 0.005, "release_seconds": 0.2}  # notes have their own
    return _preset(
        model,
        play=PlaySettings(mode="poly", voices=16),
        envelope=EnvelopeSettings(decay_seconds=0.1, sustain=1.0, **edges),
        cc=[*default_knobs(model.card), *macro_knobs(model.card)],
        macro=default_macros(model.card),
    )


def _for_grains(model: Model) -> Preset:
    return _preset(
        model,
        play=PlaySettings(mode="poly", voices=8),
        grain=GrainSettings(density=200.0, spread=0.7, code_jitter=0.3),
        envelope=EnvelopeSettings(attack_seconds=0.3, decay_seconds=0.1, sustain=1.0, release_seconds=1.0),
        cc=[*default_knobs(model.card), *TEXTURE_KNOBS],
    )


def _for_clips(model: Model) -> Preset:
    return _preset(
        model,
        play=PlaySettings(mode="poly", voices=16),
        keys=kit(model.card),
        envelope=EnvelopeSettings(attack_seconds=0.0, decay_seconds=0.1, sustain=1.0, release_seconds=0.05),
        cc=[*default_knobs(model.card), *CLIP_KNOBS],
    )


def _for_streams(model: Model) -> Preset:
    card, stream = model.card, model.card.stream
    assert stream is not None
    default = np.array([latent.default for latent in card.latents])
    near = min(card.landmarks, key=lambda mark: float(np.square(np.array(mark.latent) - default).sum()))
    tempo = 60 * card.sample_rate / (stream.step_length * (stream.steps_per_beat or 1))
    return _preset(
        model,
        play=PlaySettings(mode="poly", voices=4),
        stream=StreamSettings(seed_landmark=near.label, heat=HEAT),
        tempo_bpm=round(tempo, 2),
        envelope=EnvelopeSettings(attack_seconds=0.0, decay_seconds=0.1, sustain=1.0, release_seconds=0.05),
        cc=[*default_knobs(card), *STREAM_KNOBS],
    )


PRESETS: dict[str, Callable[[Model], Preset]] = {
    SpectrumKind.name: _for_keys,
    PartialsKind.name: _for_keys,
    GrainKind.name: _for_grains,
    ClipKind.name: _for_clips,
    StreamKind.name: _for_streams,
}


def as_text(preset: Preset, card: Card) -> str:
    """Return the preset's file, with a comment that names its starting sound."""
    values = preset.latent_values(card)
    nearest = min(card.landmarks, key=lambda mark: float(np.sum(np.square(np.subtract(mark.latent, values)))))
    return preset.to_toml(
        f"Starts from a moment of {nearest.label}; each knob spans what the recordings span.", named(preset, card)
    )


def first_scale(output: Path, run: Run, model: Model, display: Display) -> FirstPreset:
    """Render a major scale of a chroma model, in the octave of its recordings."""
    display.stage("rendering")
    preset = first_preset(model)
    heard = output / "scale.wav"
    _render(Patch("preset", preset, model, output), heard)
    return FirstPreset(preset, heard, "keys choose the note" if run.info.tonal else "keys choose the colour")


def first_texture(output: Path, run: Run, model: Model, display: Display) -> FirstPreset:
    """Render a held key of a grain model while its knobs move from landmark to landmark."""
    display.stage("rendering")
    preset = first_preset(model)
    heard = output / "texture.wav"
    _render(Patch("preset", preset, model, output), heard)
    return FirstPreset(preset, heard, "keys move its grains in pitch, knobs walk its sounds")


def first_kit(output: Path, run: Run, model: Model, display: Display) -> FirstPreset:
    """Render each key of a clip model's kit, then a bar on them."""
    display.stage("rendering")
    preset = first_preset(model)
    heard = output / "kit.wav"
    _render(Patch("preset", preset, model, output), heard)
    display.say(key_table(preset.keys, model.card))
    keys = [entry.key for entry in preset.keys]
    return FirstPreset(preset, heard, f"{len(keys)} keys from {keys[0]} to {keys[-1]} play its clips, knobs bend them")


def first_loop(output: Path, run: Run, model: Model, display: Display) -> FirstPreset:
    """Render eight bars of a held key of a loop model."""
    display.stage("rendering")
    preset = first_preset(model)
    heard = output / "loop.wav"
    _render(Patch("preset", preset, model, output), heard)
    named = [latent.name for latent in model.card.latents if not latent.name.startswith("latent")]
    steers = f"; knobs steer its {', '.join(named)}" if named else ""
    return FirstPreset(preset, heard, f"a held key plays on at {preset.tempo_bpm:g} BPM{steers}")


def _preset(model: Model, **parts: Any) -> Preset:
    card = model.card
    last = FIRST_KNOB_CC + len(default_knobs(card)) - 1
    return Preset(
        format=1,
        model=model.path.name,
        description=f"{card.name}: knobs on CC {FIRST_KNOB_CC} to {last}",
        model_sha256=model.sha256,
        latent=LatentSettings(values=[latent.default for latent in card.latents]),
        **parts,
    )


def _render(patch: Patch, path: Path) -> None:
    render({0: patch}, demo(patch), path, sample_rate=RATE, overwrite=True)
