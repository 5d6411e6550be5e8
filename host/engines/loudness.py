"""Loudness of a voice: the common level to which gains bring all models."""

from ..units import db_to_gain

VOICE_LUFS = -20.0  # of a voice at full velocity: peaks of eight voices just reach the limiter's knee


def voice_gain(loudness_lufs: float) -> float:
    """Return the gain of a model with this loudness."""
    return db_to_gain(VOICE_LUFS - loudness_lufs)
