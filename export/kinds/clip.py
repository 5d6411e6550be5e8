"""First presets and demos of clips, and their amplitudes for code searches."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...host.arrays import Array
from ...host.events import Event, NoteOff, NoteOn
from ...host.kinds.clip import ClipKind
from ...host.model.card import Card
from ...host.model.model import Model
from ...host.preset.library import Patch, default_knobs
from ...host.preset.preset import CCMap, EnvelopeSettings, PlaySettings, Preset
from ...host.units import MIDDLE_C
from .kind import RATE, ExportKind, preset_of
from .kit_keys import kit
from .search_view import TargetSound, View, short_spectra, sizes

WINDOW_SECONDS, OVERLAP = 0.032, 4  # of spectra of samples: separates the partials of voices


class SampleView(View):
    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.length = min(2 ** round(math.log2(card.sample_rate * WINDOW_SECONDS)), card.frame_length)

    def target_sound(self, frames: Array) -> TargetSound:
        return TargetSound(self.decoded(torch.from_numpy(frames))[0])

    def decoded(self, frames: Tensor) -> Tensor:
        return sizes(short_spectra(frames, self.length, self.length // OVERLAP))


class MagnitudeView(View):
    def __init__(self, card: Card) -> None:
        super().__init__(card)
        assert card.transform_length is not None
        self.length = card.transform_length

    def target_sound(self, frames: Array) -> TargetSound:
        sounds, point_count = torch.from_numpy(frames), self.card.envelope_points
        envelope = sounds[0].view(point_count, -1).square().mean(1).sqrt() if point_count else None
        return TargetSound(sizes(short_spectra(sounds, self.length, self.card.hop_length))[0], None, envelope)

    def decoded(self, frames: Tensor) -> Tensor:
        bin_count = self.length // 2 + 1
        return frames[:, : self.card.spectra * bin_count].reshape(-1, self.card.spectra, bin_count)


KNOBS = (
    CCMap(number=16, target="clip.pitch", low=-12.0, high=12.0),
    CCMap(number=17, target="clip.start", low=0.0, high=0.5),
)
HIT_SECONDS = 0.2  # of a step in a kit's bar
BAR_STEPS, REST_STEPS = 16, 8
# Parts of a kit's bar: candidate keys (the first available plays), steps, and relative velocity.
PATTERN: Sequence[tuple[tuple[int, ...], tuple[int, ...], float]] = (
    ((36, 35), (0, 3, 8, 10), 1.0),
    ((38, 40, 39, 37), (4, 12), 1.0),
    ((42, 44), (0, 2, 4, 6, 8, 10, 12, 14), 0.6),
    ((46, 51, 49, 39), (7, 15), 0.8),
)


def _preset(model: Model) -> Preset:
    return preset_of(
        model,
        play=PlaySettings(mode="poly", voices=16),
        keys=kit(model.card),
        envelope=EnvelopeSettings(attack_seconds=0.0, decay_seconds=0.1, sustain=1.0, release_seconds=0.05),
        cc=[*default_knobs(model.card), *KNOBS],
    )


def _demo(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    step_samples = round(HIT_SECONDS * RATE)
    keys = sorted(entry.key for entry in patch.preset.keys) or [MIDDLE_C]
    hits = [(2 * key_index, key, velocity) for key_index, key in enumerate(keys)]
    bar_start = 2 * len(keys)
    for part_index, (candidate_keys, beats, relative_velocity) in enumerate(PATTERN):
        key = next((drum for drum in candidate_keys if drum in keys), keys[part_index % len(keys)])
        hits += [(bar_start + beat, key, max(1, round(relative_velocity * velocity))) for beat in beats]
    events: list[Event] = []
    for beat, key, hit_velocity in sorted(hits):
        events += [
            NoteOn(beat * step_samples, 0, key, hit_velocity),
            NoteOff(beat * step_samples + step_samples // 2, 0, key),
        ]
    return events, (bar_start + BAR_STEPS + REST_STEPS) * step_samples


def _view(card: Card) -> View:
    return SampleView(card) if card.domain == "samples" else MagnitudeView(card)


KIND = ExportKind(ClipKind.name, _preset, _demo, view=_view)
