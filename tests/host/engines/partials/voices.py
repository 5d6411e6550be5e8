"""Frames of partials, chords in one voice, and knobs that filter decoded frames."""

from types import SimpleNamespace

import numpy as np
from timbrel.host.engines.engine import Residual
from timbrel.host.engines.spectrum.engine import SpectrumEngine
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.ramps import Ramp

from ..spectrum.coherent import FRAME, LEVEL, PURE, RATE, STILL, Knobs

HEIGHTS = 0.8 ** np.arange(12)
EDGES = [0.0, 50.0, 400.0, 2000.0, 6000.0, 22050.0]
BANDS_HZ = [200.0, 800.0, 3000.0, 9000.0]
BELL = [[0.62, 0, 0.9], [2.07, 2, 0.0], [2.93, 3, 0.5], [5.43, 0, 0.6]]


def tonal(latent, key):
    return np.concatenate([HEIGHTS, np.zeros(5)])


def chord_of(model, classes, key, count, sizes=(512,), motion=STILL):
    """The sound of a chord in one voice; ``classes`` has pitch classes by the sample from which they sound."""
    engine = SpectrumEngine(model, max(sizes), VoicingSettings(**PURE))
    stream = engine.start_stream(key, 0)
    stream.chord, stream.pitch = Ramp(0, 1), Ramp(float(key), 1)
    for time, which in classes.items():
        stream.chord.jump(time, sum(1 << one for one in which))
    parts, at, turn = [], 0, 0
    while at < count:
        size = min(sizes[turn % len(sizes)], count - at)
        parts.append(engine.render([stream], motion, at, size)[0][0].copy())
        at, turn = at + size, turn + 1
    return np.concatenate(parts).astype(np.float64)


def density_db(sound, low, high):
    """The mean power of a bin between two frequencies, in dB, in the measure of bands."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 16384)[::4096] * np.blackman(16384)
    power = np.square(np.abs(np.fft.rfft(frames))).mean(0) / np.square(np.blackman(16384)).sum()
    hertz = np.arange(len(power)) * RATE / 16384
    return 10 * np.log10(power[(hertz >= low) & (hertz < high)].mean() / (LEVEL**2 * FRAME / 6))


class Filtered(Knobs):
    """Knobs at rest, and gains of bands by time, in dB, with modes, the key that is decoded, and semitones."""

    def __init__(self, gains=lambda time: np.zeros(4), modes=None, decoded=None, vibrato=0.0):
        super().__init__()
        self.vibrato = vibrato
        self.gains, self.modes, self.decoded = gains, None if modes is None else np.array(modes), decoded

    def residual(self, voices, times, ahead):
        gains = np.array([self.gains(time + ahead) for time in times.tolist()], np.float32)
        return Residual(gains, [self.modes] * len(voices), np.full(len(voices), self.vibrato))

    def decoded_keys(self, voices):
        return [self.decoded] * len(voices)


def with_bands(model):
    model.gestures = SimpleNamespace(bands_hz=BANDS_HZ, instruments=())
    return model
