"""Detects faults of endless sound: runaway loudness, constant or repeated frames."""

from collections.abc import Sequence

import numpy as np

from ...host.arrays import Array, Doubles
from .frames import mel_frames
from .rhythm import cosine

SILENT_DB = -100.0  # of full scale
CONSTANT_DB = 0.5  # deviation of a band's levels in a constant sound, a median over bands
STRETCH = 8  # frames a stretch: a fault repeats more than once or twice
REPEATED = 0.99  # correlation of a stretch with itself a frame later
OTHERWISE = 0.9  # at most, at other lags, or it is a tone


def loudness_db(sound: Array, frame_length: int) -> Doubles:
    """Return frames' RMS in dB of full scale, -100 at least."""
    frames = sound[: len(sound) // frame_length * frame_length].reshape(-1, frame_length)
    power = np.square(frames, dtype=np.float64).mean(1)
    levels: Doubles = 10 * np.log10(np.maximum(power, 10 ** (SILENT_DB / 10)))
    return levels


def loudness_range(clips: Sequence[Array], frame_length: int) -> tuple[float, float]:
    levels = np.concatenate([loudness_db(clip, frame_length) for clip in clips])
    return float(levels.min()), float(levels.max())


def share_in_range(sound: Array, frame_length: int, lowest_db: float, highest_db: float) -> float:
    levels = loudness_db(sound, frame_length)
    return float(np.mean((levels >= lowest_db) & (levels <= highest_db)))


def constant_share(sound: Array, rate: int, frame_length: int) -> float:
    """Return the share of stretches of eight frames whose mel powers hardly vary, as in silence or a held tone."""
    quarters = 10 ** (mel_frames(sound, rate, max(1, frame_length // 4)).astype(np.float64) / 10)
    size = 4 * STRETCH
    frames = quarters[: len(quarters) // size * size].reshape(-1, STRETCH, 4, quarters.shape[1]).mean(2)
    moving = (10 * np.log10(frames)).std(1)
    return float(np.mean(np.median(moving, axis=1) < CONSTANT_DB)) if len(moving) else 0.0


def repeating_share(sound: Array, frame_length: int) -> float:
    """Return the share of stretches of eight frames that repeat one.

    They correlate with themselves a frame later, but, unlike tones, not eighths of a frame later.
    """
    size, part = STRETCH * frame_length, max(1, frame_length // 8)
    stretches = sound[: len(sound) // size * size].reshape(-1, size)
    stuck = [
        cosine(piece[:-frame_length], piece[frame_length:]) >= REPEATED
        and max(cosine(piece[:-lag], piece[lag:]) for lag in range(part, frame_length - part + 1, part)) < OTHERWISE
        for piece in stretches.astype(np.float64)
    ]
    return float(np.mean(stuck)) if stuck else 0.0
