"""Sounds for processors, runs of them, and controllers that move all their parameters."""

import numpy as np
import scipy.signal

RATE, LENGTH, HOP = 22050, 64, 16
CCS = [
    {"number": 20, "target": "process.scale", "low": 0.0, "high": 2.0},
    {"number": 21, "target": "process.amount", "low": 0.0, "high": 1.0},
    {"number": 22, "target": "process.smooth_seconds", "low": 0.0, "high": 0.5},
    {"number": 23, "target": "latent.1", "low": 0.0, "high": 1.0},
    {"number": 24, "target": "process.wet", "low": 0.0, "high": 1.0},
    {"number": 25, "target": "process.freeze", "low": 0.0, "high": 1.0},
    {"number": 26, "target": "effects.0.gain_db", "low": -20.0, "high": 0.0},
]


def noise(count, seed=0, level=0.5):
    return np.random.default_rng(seed).uniform(-level, level, count).astype(np.float32)


def glide(seconds, rate):
    """A tone that rises from 200 Hz to 2 kHz, inside what any of the rates here has."""
    return (0.5 * scipy.signal.chirp(np.arange(round(seconds * rate)) / rate, 200, seconds, 2000)).astype(np.float32)


def decibels(error, of):
    return 20 * np.log10(max(np.sqrt(np.mean(np.square(error))), 1e-12) / np.sqrt(np.mean(np.square(of))))


def run(processor, sound, sizes, events=()):
    """A processor's output for a sound, [n] or [channels, n], in blocks of these sizes, in turn."""
    given, at, turn, channels = [], 0, 0, np.atleast_2d(sound)
    while at < channels.shape[1]:
        block = channels[:, at : at + sizes[turn % len(sizes)]]
        due = [event for event in events if at <= event.time < at + block.shape[1]]
        given.append(processor.process(due, block))
        at, turn = at + block.shape[1], turn + 1
    return np.concatenate(given, axis=1)
