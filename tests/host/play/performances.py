"""Performances, and how loud they are."""

import numpy as np
from timbrel.host.events import ControlChange

LARGE = {"sample_rate": 44100, "frame_length": 4096, "hop_length": 1024}
SHARP = {"attack_seconds": 0.0, "release_seconds": 0.0}
MAPS = [
    {"number": 16, "target": "latent.0", "low": 0.0, "high": 1.0},
    {"number": 17, "target": "latent.1", "low": 1.0, "high": 0.0, "curve": 2.0},
    {"number": 18, "target": "gain", "low": -60.0, "high": 6.0},
    {"number": 19, "target": "pan", "low": -1.0, "high": 1.0},
    {"number": 70, "target": "envelope.attack_seconds", "low": 0.0, "high": 0.1},
    {"number": 71, "target": "envelope.release_seconds", "low": 0.0, "high": 0.3},
    {"number": 72, "target": "envelope.sustain", "low": 0.0, "high": 1.0},
    {"number": 73, "target": "envelope.decay_seconds", "low": 0.0, "high": 0.2},
]


def level_db(sound):
    return 10 * np.log10(np.mean(np.square(sound)) + 1e-20)


def rpn(time, semitones, cents=None):
    """The messages that set the bend range."""
    numbers = [(101, 0), (100, 0), (6, semitones)] + ([] if cents is None else [(38, cents)])
    return [ControlChange(time, 0, number, value) for number, value in numbers]
