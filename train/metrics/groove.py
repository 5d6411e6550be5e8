"""Measures what players call a loop by: how dense it is, how bright, and how much it swings."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .rhythm import onset_seconds

Array = npt.NDArray[np.float32]

TRANSFORM = 2048  # samples of a spectrum: bins of 20 Hz
EARLY = 0.15  # of a step, by which an onset may come before the step that it is on
LEAST = 1e-9


class LoopMeasures(NamedTuple):
    """Measures of a loop.

    Args:
        density: onsets a beat.
        brightness: middle of its spectra, weighted with amplitudes, in octaves over 1 Hz.
        swing: how much later off-beat sixteenths come than others, in steps: 0 is straight, 1/3 triplets; NaN where
            there are none.
    """

    density: float
    brightness: float
    swing: float


def groove(sound: Array, rate: int, step: int, steps_per_beat: int) -> LoopMeasures:
    """Return the measures of a loop [samples], which begins on a beat.

    Args:
        sound: a beat of it at the least.
        rate: in Hz.
        step: samples of a step, a sixteenth.
        steps_per_beat: of the grid.
    """
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
