"""Notes of grains, and what is measured of them."""

import numpy as np
from timbrel.host.engines.grain.engine import GrainEngine
from timbrel.host.kinds.grain import GrainSettings
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.library import Patch
from timbrel.host.preset.preset import Preset

RATE, LENGTH = 22050, 1024
SHARP = {"attack_seconds": 0.0, "decay_seconds": 0.0, "release_seconds": 0.0}
LATENTS = 3


class Still:
    """Knobs that stand, and a bend."""

    def __init__(self, code=(0.0,) * LATENTS, bend=0.0):
        self.code, self.bend = code, bend

    def latents(self, voices, times, own_times=None):
        return np.tile(np.asarray(self.code, np.float32), (len(voices), 1))

    def bend_semitones(self, voices, times):
        return np.full(len(voices), self.bend)


def slope(bins=LENGTH // 2 + 1):
    """A smooth spectrum of a noise, 12 dB from end to end and with a hill."""
    at = np.arange(bins) / bins
    return 3.0 * 10 ** (-0.6 * at) * (1 + np.exp(-(((at - 0.4) / 0.1) ** 2)))


def sound(model, seconds, block=512, on=0, motion=None, key=60, notes=1, **grain):
    """[2, samples] of notes that begin together and are held."""
    engine = GrainEngine(model, GrainSettings(**grain))
    streams = [engine.start_stream(key, on) for _ in range(notes)]
    count = round(seconds * RATE)
    blocks = []
    for start in range(0, count, block):
        blocks.append(sum(engine.render(streams, motion or Still(), start, min(block, count - start))))
    return np.concatenate(blocks, axis=1)


def level_db(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


def onsets(samples):
    """Samples that sound after one that does not."""
    heard = np.abs(samples) > 0
    return np.flatnonzero(heard & ~np.concatenate([[False], heard[:-1]]))


def grain_instrument(model, folder, grain=None, **keys):
    preset = {"format": 1, "model": "grains", "envelope": SHARP, **keys}
    made = Preset.model_validate(preset | ({"grain": grain} if grain else {}))
    return ChannelInstrument(Patch("grains", made, model, folder), RATE)
