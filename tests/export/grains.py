"""Noise that is the same each time."""

import numpy as np

RATE, LENGTH = 8000, 256


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
