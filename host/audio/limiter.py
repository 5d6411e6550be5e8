"""Limiter of the output."""

import numpy as np

from ..arrays import Array

LIMIT_KNEE = 0.7  # -3 dB: below this the output is bit-exact
LOUDEST = np.float32(1e6)  # beyond this, the knee would overflow float32


def limit(audio: Array) -> Array:
    """Limit to ±1 without memory: bit-exact up to -3 dB, then a smooth knee; NaN becomes 0."""
    level = np.abs(audio)
    if not np.all(level <= LIMIT_KNEE):  # also true where there is NaN
        audio = np.clip(np.nan_to_num(audio, nan=0.0), -LOUDEST, LOUDEST)
        level = np.abs(audio)
        room = np.float32(1.0 - LIMIT_KNEE)
        over = np.maximum(level - np.float32(LIMIT_KNEE), 0)
        bent = np.float32(LIMIT_KNEE) + over / (over / room + np.float32(1))
        audio = np.where(level <= np.float32(LIMIT_KNEE), audio, np.copysign(bent, audio))
    return audio


def limited(audio: Array) -> float:
    """Share, 0 to 1, of samples that `limit` bent in its output."""
    return float(np.mean(np.abs(audio) > LIMIT_KNEE))
