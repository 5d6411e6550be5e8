"""Drum kit mapping: assigns a clip model's sounds to keys, drums to their General MIDI keys."""

from collections.abc import Sequence

import numpy as np

from ...host.kinds.card_fields import UniformPrior
from ...host.kinds.clip import KeySettings
from ...host.kinds.general_midi_drums import hit_keys
from ...host.model.card import Card, in_deviations

FIRST_KEY = 36  # General MIDI's bass drum
DRAWN_KEYS = 10  # of a model that has learned no codes of recordings, one per finger
KEYS = (*range(FIRST_KEY, 128), *range(FIRST_KEY - 1, -1, -1))  # free keys, in order of assignment
HATS = {42, 44, 46}  # closed, pedal and open hats choke each other


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
    key_labels = card.labels or [
        card.landmarks[mark_index].label for mark_index in sorted(_spread_landmarks(card, len(KEYS)))
    ]
    entries = sorted(label_keys(key_labels).items(), key=lambda entry: entry[1])
    hat_keys = HATS & {key for _, key in entries}
    choke_settings = {"choke": "hats"} if len(hat_keys) > 1 else {}
    return [
        KeySettings.model_validate({"key": key, "label": label, **(choke_settings if key in HATS else {})})
        for label, key in entries
    ]


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
    key_lines = [f"  {entry.key:>3}  {entry.label or labels_by_code[tuple(entry.code or ())]}" for entry in keys]
    if len(keys) == len(KEYS) and (excess_count := (len(card.labels) or card.training.clips) - len(keys)) > 0:
        noun = "labels" if card.labels else "sounds; knobs reach them, and those farthest apart have keys"
        key_lines.append(f"  MIDI has 128 keys, and none for {excess_count} more {noun}")
    return "\n".join(["keys", *key_lines])
