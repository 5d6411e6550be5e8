"""Measures a loop's onset density, brightness and swing."""

from typing import NamedTuple

import numpy as np

from ...host.arrays import Array
from .rhythm import onset_seconds

TRANSFORM = 2048  # samples of a spectrum: bins of 20 Hz
EARLY = 0.15  # of a step, the most that an onset may precede its step
LEAST = 1e-9


class LoopMeasures(NamedTuple):
    """Measures of a loop.

    Args:
        density: onsets a beat.
        brightness: spectral centroid by amplitude, in octaves over 1 Hz.
        swing: delay of off-beat sixteenths, in steps: 0 is straight, 1/3 triplets; NaN without onsets.
    """

    density: float
    brightness: float
    swing: float


def groove(sound: Array, rate: int, step: int, steps_per_beat: int) -> LoopMeasures:
    """Measure a loop [samples] that begins on a beat; ``step`` is a sixteenth in samples."""
    places = onset_seconds(sound, rate) * rate / step
    steps = np.floor(places + EARLY)
    off, on = ((places - steps)[steps % 2 == odd] for odd in (1, 0))
    return LoopMeasures(
        density=len(places) * steps_per_beat * step / len(sound),
        brightness=float(np.log2(_middle_hz(sound, rate))),
        swing=float(off.mean() - on.mean()) if len(off) and len(on) else float("nan"),
    )


def _middle_hz(sound: Array, rate: int) -> float:
    pieces = np.lib.stride_tricks.sliding_window_view(np.pad(sound, (0, TRANSFORM)), TRANSFORM)[:: TRANSFORM // 2]
    amplitudes = np.abs(np.fft.rfft(pieces * np.hanning(TRANSFORM))).sum(0) + LEAST
    hertz = np.fft.rfftfreq(TRANSFORM, 1 / rate)
    return float((hertz * amplitudes).sum() / amplitudes.sum())
