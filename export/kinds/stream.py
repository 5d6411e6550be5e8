"""First presets and demos of streams."""

import numpy as np

from ...host.events import Event
from ...host.kinds.stream import StreamKind, StreamSettings
from ...host.model.model import Model
from ...host.preset.library import Patch, default_knobs
from ...host.preset.motions import TEMPO_BPM
from ...host.preset.preset import CCMap, EnvelopeSettings, PlaySettings, Preset
from .kind import RATE, ExportKind, held_key, image_knob, preset_of

HEAT = 1.3  # of a first preset and of measurements: at 1 it repeats beats of its loops
BARS = 8
KNOBS = (
    CCMap(number=1, target="stream.heat", low=0.0, high=2.0),
    CCMap(number=16, target="stream.freeze", low=0.0, high=1.0),
)


def _preset(model: Model) -> Preset:
    card, stream = model.card, model.card.stream
    assert stream is not None
    default_code = np.array([latent.default for latent in card.latents])
    nearest_mark = min(card.landmarks, key=lambda mark: float(np.square(np.array(mark.latent) - default_code).sum()))
    tempo = TEMPO_BPM
    if stream.steps_per_beat is not None:
        tempo = 60 * card.sample_rate / (stream.step_length * stream.steps_per_beat)
    return preset_of(
        model,
        play=PlaySettings(mode="poly", voices=4),
        stream=StreamSettings(seed_landmark=nearest_mark.label, heat=HEAT),
        tempo_bpm=round(tempo, 2),
        envelope=EnvelopeSettings(attack_seconds=0.0, decay_seconds=0.1, sustain=1.0, release_seconds=0.05),
        cc=[*default_knobs(card), *KNOBS, *image_knob(card)],
    )


def _demo(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    stream = patch.model.card.stream
    assert stream is not None
    length_samples = round(BARS * stream.beats_per_bar * 60 / patch.preset.tempo_bpm * RATE)
    return held_key(length_samples, velocity), length_samples


KIND = ExportKind(StreamKind.name, _preset, _demo, holds_one_key=True)
