"""Measures how loud a model is as it plays, so that all instruments play at one level."""

import math
from pathlib import Path

from ..host.contract.model import Model
from ..host.engines.request import VOICE_LUFS
from ..host.patch.library import Patch
from .first_preset import untrimmed
from .instrument.demo import VELOCITY
from .instrument.levels import FULL_VELOCITY, HIGHEST_DBFS, loudness_lufs, peaks_dbfs

PLAIN_LUFS = VOICE_LUFS  # a card with this loudness makes the host play at gain 1


def loudness(model: Model) -> float:
    """Return the loudness in LUFS that a model's card states: that of its notes at full velocity, as it plays.

    It is that of the demo of its first preset, with its gestures, kit and knobs, and without what the demo's velocity
    takes away. Where a key at full velocity would then peak above -1 dBFS it is more, by as much; keys of a kit have
    gains of their own for that.

    ``model``'s card must say `PLAIN_LUFS`.
    """
    patch = Patch("measured", untrimmed(model), model, Path())
    softer_db = 40 * patch.preset.play.velocity_curve * math.log10(FULL_VELOCITY / VELOCITY)
    loud = loudness_lufs(patch) + softer_db
    if patch.preset.keys:
        return loud
    return max(loud, max(peaks_dbfs(patch).values()) - HIGHEST_DBFS + VOICE_LUFS)
