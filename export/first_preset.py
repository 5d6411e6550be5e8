"""The preset that comes with a new model, a sound of it to hear, and what is said of it, by family."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..host.contract.card import Card, in_deviations
from ..host.contract.model import Model
from ..host.events import ControlChange, Event, NoteOff, NoteOn
from ..host.kinds.clip import Clip, KeySettings
from ..host.kinds.grain import Grain, GrainSettings
from ..host.kinds.spectrum import Spectrum
from ..host.kinds.stream import Stream, StreamSettings
from ..host.midi.file import Performance
from ..host.patch.agreement import named
from ..host.patch.library import FIRST_KNOB_CC, Patch, default_knobs, default_macros, macro_knobs
from ..host.patch.preset import CCMap, EnvelopeSettings, LatentSettings, PlaySettings, Preset
from ..host.progress import Display
from ..host.render import render
from ..train.batches.frames import pitched_frames
from ..train.run import Run
from .listen import Obedience, listen
from .streams.playing import HEAT

RATE = 44100
SCALE = (0, 2, 4, 5, 7, 9, 11, 12)
NOTE_SECONDS = 0.5
ENOUGH = 0.95  # of rendered notes right, before an instrument is said to obey its keys; of the sound, to be all of it
WALK_STEPS, STEP_SECONDS = 8, 1.5  # of the texture to hear: from landmark to landmark
MIDDLE_C = 60
# What else of a texture a player wants at hand, on the general purpose controllers and the modulation wheel.
TEXTURE_KNOBS = (
    CCMap(number=1, target="grain.code_jitter", low=0.0, high=1.0),
    CCMap(number=16, target="grain.density", low=10.0, high=400.0, curve=2.0),
    CCMap(number=17, target="grain.length", low=0.01, high=0.5, curve=2.0),
    CCMap(number=18, target="grain.spread", low=0.0, high=1.0),
    CCMap(number=19, target="grain.pitch", low=-24.0, high=24.0),
)


FIRST_KEY, KIT_KEYS = 36, 10  # General MIDI's bass drum, and as many keys as two hands have fingers
HIT_SECONDS = 0.2  # of a step of what is heard
BAR_STEPS, REST_STEPS = 16, 8
PATTERN = (  # parts of the kit, the steps of a bar on which they play, and how loud
    (0, (0, 3, 8, 10), 120),
    (1, (4, 12), 110),
    (2, (0, 2, 4, 6, 8, 10, 12, 14), 60),
    (3, (7, 15), 90),
)
CLIP_KNOBS = (
    CCMap(number=16, target="clip.pitch", low=-12.0, high=12.0),
    CCMap(number=17, target="clip.start", low=0.0, high=0.5),
)
BARS = 8  # of what is heard of loops
STREAM_KNOBS = (
    CCMap(number=1, target="stream.heat", low=0.0, high=2.0),
    CCMap(number=16, target="stream.freeze", low=0.0, high=1.0),
)


@dataclass(frozen=True)
class First:
    """The preset, the sound file that was written, and what it is said to be."""

    preset: Preset
    heard: Path
    verdict: str


def first_preset(model: Model) -> Preset:
    """Make the first preset of a model: it starts from a real sound, and its knobs span what the corpus spans."""
    return PRESETS[model.card.kind](model)


def _for_keys(model: Model) -> Preset:
    edges = {} if model.gestures else {"attack_seconds": 0.005, "release_seconds": 0.2}  # notes bring their own
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


def kit(card: Card) -> list[KeySettings]:
    """Return up to ten keys from the bass drum's on: the labels of a model that has them, else clips far from another.

    These are landmarks: the first lies nearest to the model's default, each other farthest from those before it.
    """
    if card.labels:
        return [KeySettings(key=FIRST_KEY + place, label=label) for place, label in enumerate(card.labels[:KIT_KEYS])]
    scale = in_deviations(card)
    codes = np.array([mark.latent for mark in card.landmarks]) * scale
    middle = np.array([latent.default for latent in card.latents]) * scale
    chosen = [int(np.square(codes - middle).sum(1).argmin())]
    while len(chosen) < min(KIT_KEYS, len(codes)):
        apart = np.square(codes[:, None] - codes[chosen]).sum(2).min(1)
        chosen.append(int(apart.argmax()))
    return [
        KeySettings(key=FIRST_KEY + place, code=list(card.landmarks[mark].latent)) for place, mark in enumerate(chosen)
    ]


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
    Spectrum.name: _for_keys,
    Grain.name: _for_grains,
    Clip.name: _for_clips,
    Stream.name: _for_streams,
}


def as_text(preset: Preset, card: Card) -> str:
    """Return the preset's file, which begins with the sound that it starts from."""
    values = preset.latent_values(card)
    nearest = min(card.landmarks, key=lambda mark: float(np.sum(np.square(np.subtract(mark.latent, values)))))
    return preset.to_toml(
        f"Starts from a moment of {nearest.label}; each knob spans what the recordings span.", named(preset, card)
    )


def first_scale(output: Path, run: Run, model: Model, display: Display) -> First:
    """Listen to a chroma model, and let it play a major scale in the octave of its recordings."""
    display.stage("listening")
    obedience = listen(model, progress=display.update)
    preset = first_preset(model)
    lowest = 12 * ((model.card.chroma.octave if model.card.chroma else 4) + 1)
    length = round(NOTE_SECONDS * RATE)
    events: list[Event] = []
    for index, step in enumerate(SCALE):
        events.append(NoteOn(index * length, 0, lowest + step, 100))
        events.append(NoteOff((index + 1) * length - length // 8, 0, lowest + step))
    heard = output / "scale.wav"
    _render(Patch("preset", preset, model, output), events, len(SCALE) * length, heard)
    return First(preset, heard, _in_tune(run, obedience))


def first_texture(output: Path, run: Run, model: Model, display: Display) -> First:
    """Let a model of grains hold one key while its knobs go from landmark to landmark."""
    display.stage("rendering")
    preset, knobs = first_preset(model), default_knobs(model.card)
    step = round(STEP_SECONDS * RATE)
    marks = model.card.landmarks
    way = [marks[int(i)] for i in np.linspace(0, len(marks) - 1, WALK_STEPS)]
    events: list[Event] = [NoteOn(0, 0, MIDDLE_C, 100)]
    for index, mark in enumerate(way):
        for knob, value in zip(knobs, mark.latent, strict=False):
            low, high = knob.ends
            place = round(127 * (value - low) / (high - low))
            assert knob.number is not None
            events.append(ControlChange(index * step, 0, knob.number, min(max(place, 0), 127)))
    events.append(NoteOff(WALK_STEPS * step, 0, MIDDLE_C))
    heard = output / "texture.wav"
    _render(Patch("preset", preset, model, output), events, WALK_STEPS * step, heard)
    return First(preset, heard, "keys move its grains in pitch, knobs walk its sounds")


def first_kit(output: Path, run: Run, model: Model, display: Display) -> First:
    """Let a model of clips play each key of its kit, and then a bar on them."""
    display.stage("rendering")
    preset = first_preset(model)
    step = round(HIT_SECONDS * RATE)
    keys = [entry.key for entry in preset.keys]
    hits = [*((2 * place, key, 110) for place, key in enumerate(keys))]
    bar = 2 * len(keys)
    hits += [(bar + beat, keys[part % len(keys)], loud) for part, beats, loud in PATTERN for beat in beats]
    events: list[Event] = []
    for beat, key, loud in sorted(hits):
        events += [NoteOn(beat * step, 0, key, loud), NoteOff(beat * step + step // 2, 0, key)]
    heard = output / "kit.wav"
    _render(Patch("preset", preset, model, output), events, (bar + BAR_STEPS + REST_STEPS) * step, heard)
    return First(preset, heard, f"{len(keys)} keys from {keys[0]} on play its clips, knobs bend them")


def first_loop(output: Path, run: Run, model: Model, display: Display) -> First:
    """Let a model of loops hold a key for eight bars."""
    display.stage("rendering")
    preset, stream = first_preset(model), model.card.stream
    assert stream is not None
    length = round(BARS * stream.beats_per_bar * 60 / preset.tempo_bpm * RATE)
    heard = output / "loop.wav"
    events: list[Event] = [NoteOn(0, 0, MIDDLE_C, 100), NoteOff(length, 0, MIDDLE_C)]
    _render(Patch("preset", preset, model, output), events, length, heard)
    named = [latent.name for latent in model.card.latents if not latent.name.startswith("latent")]
    steers = f"; knobs steer its {', '.join(named)}" if named else ""
    return First(preset, heard, f"a held key plays on at {preset.tempo_bpm:g} BPM{steers}")


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


def _render(patch: Patch, events: list[Event], length: int, path: Path) -> None:
    performance = Performance(events=events, length=length, channels=[0], warnings=[])
    render({0: patch}, performance, path, sample_rate=RATE, overwrite=True)


def _in_tune(run: Run, obedience: Obedience) -> str:
    if not run.info.tonal:
        return "the recordings have no clear pitch: keys choose the colour of the sound, knobs its character"
    pitched, total = pitched_frames(run.corpus())
    share = pitched / total
    what = "it" if share >= ENOUGH else f"what has a pitch in the recordings, {share:.0%} of the sound,"
    heard = f"{100 * obedience.octave:.1f} % of {obedience.notes} notes sound their key"
    if obedience.octave >= ENOUGH:
        return f"{what} plays in tune: {heard}"
    return f"{what} is not yet in tune: {heard}; --more-minutes, or recordings of single notes, help"
