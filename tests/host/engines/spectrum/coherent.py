"""Models and sounds of the coherent voice, and what is measured of them."""

import numpy as np
import scipy.signal
from timbrel.host.engines.spectrum.engine import SpectrumEngine
from timbrel.host.engines.spectrum.frames import VoicingSettings
from timbrel.host.units import midi_to_hz

PUBLISHED = {"sample_rate": 44100, "frame_length": 4096, "hop_length": 1024}
RATE, FRAME = PUBLISHED["sample_rate"], PUBLISHED["frame_length"]
BINS = FRAME // 2 + 1
BLOCK = 16384
LEVEL = 4 / FRAME * 10 ** (-1.4 / 20)  # amplitude of a partial whose lobe is 1 high
PURE = {"noise": 0.0}


class Given:
    """A model that decodes what a function of (latent, pitch class) says, [bins]; counts the rows."""

    gestures = None

    def __init__(self, card, frame):
        self.card, self.frame, self.rows = card, frame, 0

    def decode(self, latents, chroma):
        self.rows += len(latents)
        classes = chroma if chroma.ndim == 1 else chroma.argmax(axis=1)
        return np.array([self.frame(row, key) for row, key in zip(latents, classes, strict=True)], np.float32)


class Knobs:
    """Two knobs and a bend, functions of sample times."""

    own_codes = False

    def __init__(self, latent=lambda times: 0.5 + 0 * times, bend=lambda times: 0.0 * times):
        self.latent, self.bend = latent, bend

    def latents(self, voices, times, own_times=None):
        return np.stack([self.latent(times), np.full(len(times), 0.5)], axis=1).astype(np.float32)

    def residual(self, voices, times, ahead):
        return None

    def decoded_keys(self, voices):
        return [None] * len(voices)

    def bend_semitones(self, voices, times):
        return np.asarray(self.bend(times), np.float64)


STILL = Knobs()


def lobes(places, heights):
    """A frame of Hann lobes, [BINS]."""
    away = np.abs(np.arange(BINS) - np.asarray(places)[:, np.newaxis])
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.where(np.isclose(away, 1), 0.5, np.abs(np.sinc(away) / (1 - away**2)))
    return np.asarray(heights) @ np.where(away < 2, shape, 0.0)


def harmonics_of(pitch_class, heights):
    """Bins and heights of the harmonics of a key of octave 4."""
    first = midi_to_hz(60 + pitch_class) * FRAME / RATE
    return first * np.arange(1, len(heights) + 1), heights


def sound_of(model, keys, count, motion=STILL, sizes=(BLOCK,), on=0, **character):
    """Samples, [streams, channels, count], of keys pressed at sample ``on``, in blocks of the sizes in turn."""
    engine = SpectrumEngine(model, BLOCK, character=VoicingSettings(**character))
    streams = [engine.start_stream(key, on) for key in keys]
    blocks, at, turn = [], 0, 0
    while at < count:
        size = min(sizes[turn % len(sizes)], count - at)
        blocks.append(np.array([row.copy() for row in engine.render(streams, motion, at, size)]))
        at, turn = at + size, turn + 1
    return np.concatenate(blocks, axis=2)


def one(model, key, count, motion=STILL, **settings):
    """The first channel of one key, [count], in double precision."""
    return sound_of(model, [key], count, motion, **settings)[0, 0].astype(np.float64)


def amplitudes(sound, hz):
    """Amplitudes of sinusoids of known frequencies, by least squares, and how far below the sound the rest is, dB."""
    turn = 2 * np.pi * np.outer(np.arange(len(sound)), hz) / RATE
    basis = np.concatenate([np.cos(turn), np.sin(turn)], axis=1)
    weights = np.linalg.lstsq(basis, sound, rcond=None)[0]
    rest = sound - basis @ weights
    return np.hypot(*weights.reshape(2, -1)), level_db(rest) - level_db(sound)


def level_db(sound):
    return 10 * np.log10(np.mean(np.square(sound)) + 1e-30)


def turned(sound):
    """Amplitude, and phase in cycles, of a sound that is one sinusoid, a frame away from its ends."""
    signal = scipy.signal.hilbert(sound)
    inside = slice(2048, -2048)
    return np.abs(signal)[inside], (np.unwrap(np.angle(signal)) / (2 * np.pi))[inside]


def noisy(latent, key):
    return lobes(*harmonics_of(key, 0.8 ** np.arange(12))) + 0.02


def centroid(sound):
    hz, power = scipy.signal.welch(sound, RATE, nperseg=8192)
    return np.sum(hz * power) / power.sum()
