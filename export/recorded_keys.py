"""The range of keys that an instrument was recorded in."""

import numpy as np

from ..host.model.card import in_deviations
from ..host.model.gesture import instrument_of
from ..host.preset.library import Patch

WIDE_KEYS = (36, 96)  # of models that name no range


def recorded_keys(patch: Patch) -> tuple[int, int]:
    """Return the lowest and the highest recorded key."""
    card, preset, gestures = patch.model.card, patch.preset, patch.model.gestures
    if gestures is not None:
        resting_code = np.array(preset.latent_values(card), np.float64)
        instrument_label = None if preset.gesture is None else preset.gesture.instrument
        note_keys = [
            note.key for note in instrument_of(gestures, resting_code, in_deviations(card), instrument_label).notes
        ]
        return round(min(note_keys)), round(max(note_keys))
    if card.partials is not None:
        return round(card.partials.low), round(card.partials.high)
    return max(WIDE_KEYS[0], min(patch.tuning)), min(WIDE_KEYS[1], max(patch.tuning))
