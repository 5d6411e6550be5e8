"""First presets and demos of clips, kits of their sounds, and their amplitudes for code searches."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...host.arrays import Array
from ...host.events import Event, NoteOff, NoteOn
from ...host.kinds.card_fields import UniformPrior
from ...host.kinds.clip import ClipKind, KeySettings, recordings_of
from ...host.kinds.general_midi_drums import hit_keys
from ...host.model.card import Card, in_deviations
from ...host.model.model import Model
from ...host.preset.library import Patch, default_knobs
from ...host.preset.preset import CCMap, EnvelopeSettings, PlaySettings, Preset
from ...host.units import MIDDLE_C
from .kind import RATE, ExportKind, TargetSound, View, preset_of, short_spectra, sizes

FIRST_KEY = 36  # General MIDI's bass drum
DRAWN_KEYS = 10  # of a model that has learned no codes of recordings, one per finger
KEYS = (*range(FIRST_KEY, 128), *range(FIRST_KEY - 1, -1, -1))  # free keys, in order of assignment
HATS = {42, 44, 46}  # closed, pedal and open hats choke each other
WINDOW_SECONDS, OVERLAP = 0.032, 4  # of spectra of samples: separates the partials of voices


def kit(card: Card) -> list[KeySettings]:
    """Return ascending keys: one per label, or one per recording; at most 128.

    Of more recordings, and of drawn codes ten, those far from each other get keys: first the landmark nearest to the
    default, then each time the farthest from chosen ones.
    """
    if not card.labels and isinstance(card.prior, UniformPrior):
        return [
            KeySettings(key=FIRST_KEY + key_offset, code=list(card.landmarks[mark_index].latent))
            for key_offset, mark_index in enumerate(_spread_landmarks(card, DRAWN_KEYS))
        ]
    sounds = {recording.name: recording.sound for recording in card.recordings if recording.sound}
    key_labels = card.labels
    if not key_labels:
        marks = [card.landmarks[mark_index].label for mark_index in sorted(_spread_landmarks(card, len(KEYS)))]
        key_labels = list(dict.fromkeys(sounds.get(mark, mark) for mark in marks))
    entries = sorted(label_keys(key_labels).items(), key=lambda entry: entry[1])
    hat_keys = HATS & {key for _, key in entries}
    choke_settings = {"choke": "hats"} if len(hat_keys) > 1 else {}
    return [
        KeySettings.model_validate({"key": key, **_sound(label, card), **(choke_settings if key in HATS else {})})
        for label, key in entries
    ]


def _sound(label: str, card: Card) -> dict[str, str]:
    """Return the setting of a key with a label: its recording by name, or the label of none or several."""
    indices = recordings_of(KeySettings(key=FIRST_KEY, label=label), card)
    return {"recording": card.recordings[indices[0]].name} if len(indices) == 1 else {"label": label}


def _spread_landmarks(card: Card, count: int) -> list[int]:
    """Return indices of landmarks, at most ``count``."""
    scale = in_deviations(card)
    codes = np.array([mark.latent for mark in card.landmarks]) * scale
    default_code = np.array([latent.default for latent in card.latents]) * scale
    indices = [int(np.square(codes - default_code).sum(1).argmin())]
    nearest_distances = np.full(len(codes), np.inf)
    while len(indices) < min(count, len(codes)):
        nearest_distances = np.minimum(nearest_distances, np.square(codes - codes[indices[-1]]).sum(1))
        nearest_distances[indices[-1]] = -1.0  # also of equal codes each has its turn
        indices.append(int(nearest_distances.argmax()))
    return indices


def label_keys(labels: Sequence[str]) -> dict[str, int]:
    """Return each label's key: its drum's in General MIDI, or the next free one upward from the bass drum's."""
    keys = hit_keys(labels)
    for label in labels:
        free_keys = [key for key in KEYS if key not in keys.values()] if label not in keys else []
        keys |= {label: free_keys[0]} if free_keys else {}
    return keys


def key_table(keys: Sequence[KeySettings], card: Card) -> str:
    """Return lines of keys and their sounds, and of how many sounds have no key."""
    labels_by_code = {tuple(mark.latent): mark.label for mark in card.landmarks}
    words = {recording.name: recording.label for recording in card.recordings if recording.label}
    names = {
        entry.key: f"{words[entry.sound]} ({entry.sound})" if entry.sound in words else entry.sound for entry in keys
    }
    key_lines = [f"  {entry.key:>3}  {names[entry.key] or labels_by_code[tuple(entry.code or ())]}" for entry in keys]
    if len(keys) == len(KEYS) and (excess_count := (len(card.labels) or card.training.clips) - len(keys)) > 0:
        noun = "labels" if card.labels else "sounds; knobs reach them, and those farthest apart have keys"
        key_lines.append(f"  MIDI has 128 keys, and none for {excess_count} more {noun}")
    return "\n".join(["keys", *key_lines])


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
