"""Pitch detection, also of noise-phase sound, which is not periodic."""

import functools

import numpy as np
import numpy.typing as npt

from .arrays import Array
from .units import midi_to_hz

FRAME = 8192  # samples: at 44.1 kHz two bins fit between neighbouring semitones from C3 up
HARMONICS = 16
DECAY = 0.84  # weight of each harmonic against the one below (Hermes 1988, subharmonic summation)
LOWEST, HIGHEST = 24, 108  # MIDI notes searched, C1 to C8
STEPS = 10  # a semitone


def sounding_note(sound: Array, sample_rate: int) -> float:
    """MIDI note of a sound, [samples], to a tenth of a semitone; NaN for silence.

    Subharmonic summation (Hermes, JASA 83, 1988) over the compressed mean power spectrum, minus the levels half-way
    between harmonics: a sub-octave has gaps at its harmonics, an octave has harmonics in its gaps.
    """
    if len(sound) < FRAME:
        sound = np.pad(sound, (0, FRAME - len(sound)))
    starts = range(0, len(sound) - FRAME + 1, FRAME // 4)
    shape = np.hanning(FRAME)
    power = np.mean([np.square(np.abs(np.fft.rfft(sound[s : s + FRAME] * shape))) for s in starts], axis=0)
    if power.max() <= 0:
        return float("nan")
    level = (power / power.max()) ** 0.25  # square root of magnitude: weak harmonics count too
    on, between, weights = _combs(sample_rate)
    score = (_at(level, on) - _at(level, between)) @ weights
    return LOWEST + float(np.argmax(score)) / STEPS


@functools.cache
def _combs(sample_rate: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    notes = np.arange((HIGHEST - LOWEST) * STEPS) / STEPS + LOWEST
    bins = np.array([midi_to_hz(note) for note in notes]) * FRAME / sample_rate
    order = np.arange(1.0, HARMONICS + 1)
    return bins[:, None] * order, bins[:, None] * (order - 0.5), np.power(DECAY, order - 1.0)


def _at(level: npt.NDArray[np.float64], bins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.interp(bins, np.arange(len(level)), level, right=0.0)
