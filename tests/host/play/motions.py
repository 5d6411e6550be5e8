"""Motions of presets, and where they take the latents."""

import numpy as np
from timbrel.host.events import Clock
from timbrel.host.ramps import RAMP_SECONDS

RATE = 22050
RAMP = round(RAMP_SECONDS * RATE)
SHAPES = ["sine", "triangle", "saw", "square", "random"]
PATH = [[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]]


def path_of(latents, times):
    """Latents at times, [times, n_latents], one at a time."""
    return np.array([latents.row(int(time)) for time in times])


def lfo(shape="sine", **keys):
    return {"target": "latent.0", "shape": shape, "depth": 0.25, "rate_hz": 2.0} | keys


TIMED_PATH = {"path": PATH, "times": [0.1, 0.2, 0.45, 0.5], "loop": True, "legs": "spherical"}
WALKING = {"walk": {"speed": 4.0, "bound": 0.8, "seed": 3}}
MOTIONS = [
    {"path": PATH, "beats": 2.0, "phase": 0.3},
    lfo("random", rate_hz=6.0),
    lfo("saw", rate_hz=None, beats=0.5, target="latent.1"),
    lfo("square", rate_hz=None, beats=1.5, depth=0.1),
]


def ticks(first, interval, count):
    return [Clock(first + round(interval * index), "tick") for index in range(count)]


MAPS = [
    {"number": 16, "bits": 14, "target": "latent.0", "low": 0.0, "high": 1.0, "takeover": "scale"},
    {"nrpn": 300, "target": "effects.0.cutoff_frequency_hz", "low": 300.0, "high": 8000.0, "takeover": "pickup"},
    {"pressure": "channel", "target": "gain", "low": 0.0, "high": -20.0},
    {"pressure": "key", "target": "latent.1", "low": 0.0, "high": 1.0},
    {"number": 20, "target": "pan", "low": -1.0, "high": 1.0, "takeover": "pickup", "channel": 1},
]
