"""Measures how loud a model is, so that all instruments play at one level."""

from pathlib import Path

import numpy as np

from ..host.contract.model import Model
from ..host.engines.table import VOICE_LUFS
from ..host.events import NoteOn
from ..host.kinds.table import kind_of
from ..host.patch.library import Patch
from ..host.patch.preset import EnvelopeSettings, PlaySettings, Preset
from ..host.play.instrument import Instrument

PLAIN_LUFS = VOICE_LUFS  # a card with this loudness makes the host play at gain 1
LIFT_DB = 60.0  # a bare frame is far below the meter's gate at -70 LUFS
PITCH_CLASSES = (0, 3, 6, 9)
SECONDS = 2.0


def loudness(model: Model) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770) of one voice held at the default code, the mean over four keys.

    Spectra are played with stored noise phases, which any host can do: what other voices differ by, they make up for.

    ``model``'s card must say `PLAIN_LUFS`.
    """
    import pyloudnorm

    card = model.card
    rate = card.sample_rate
    lowest = 12 * ((card.chroma.octave if card.chroma else 4) + 1)
    play = PlaySettings(**kind_of(card).plain)
    preset = Preset(format=1, model=str(model.path), play=play, envelope=EnvelopeSettings(attack_seconds=0.0))
    meter = pyloudnorm.Meter(rate)
    levels = []
    for pitch_class in PITCH_CLASSES:
        instrument = Instrument(Patch("measured", preset, model, Path()), rate)
        count = round(SECONDS * rate)
        sound = np.concatenate(
            [instrument.process([NoteOn(0, 0, lowest + pitch_class, 127)], 8192)]
            + [instrument.process([], 8192) for _ in range(count // 8192)],
            axis=1,
        )
        level = meter.integrated_loudness(sound.T.astype(np.float64) * 10 ** (LIFT_DB / 20)) - LIFT_DB
        levels.append(max(level, -120.0))
    return float(np.mean(levels))
