"""Measures models' loudness, for one level of all instruments."""

import math
from pathlib import Path

from ..host.engines.engine import VOICE_LUFS
from ..host.model.model import Model
from ..host.preset.library import Patch
from .first_preset import FULL_VELOCITY, HIGHEST_DBFS, VELOCITY, loudness_lufs, peaks_dbfs, untrimmed

PLAIN_LUFS = VOICE_LUFS  # a card with this loudness makes the host play at gain 1


def loudness(model: Model) -> float:
    """Return the loudness in LUFS for a model's card: of its first preset's demo at full velocity.

    Key peaks over -1 dBFS are added, except for kits. ``model``'s card must state `PLAIN_LUFS`.
    """
    patch = Patch("measured", untrimmed(model), model, Path())
    softer_db = 40 * patch.preset.play.velocity_curve * math.log10(FULL_VELOCITY / VELOCITY)
    loud = loudness_lufs(patch) + softer_db
    if patch.preset.keys:
        return loud
    return max(loud, max(peaks_dbfs(patch).values()) - HIGHEST_DBFS + VOICE_LUFS)
