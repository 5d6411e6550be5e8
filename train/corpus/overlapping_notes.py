"""Onset and pitch of a note that begins while the note before still sounds.

The remainder, a sound less itself a period earlier, contains no note of that period (cancellation: De Cheveigné,
J. Acoust. Soc. Am. 93(6), 1993). It rises where the next note begins, even under a louder release. If all partials of
the next note are partials of the note before, nothing remains; their own level must rise.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ...host.arrays import Doubles
from ...host.units import midi_to_hz, semitones_to_ratio
from .pitch import VOICED, Samples, Sliceable, windows, yin

HOPS = 8  # of a spectrum, 46 ms: partials of notes from 90 Hz on are apart
PARTIALS = 10  # of a note, which show its onset
APART_BINS = 1.5  # between partials of two notes that a spectrum can tell apart
DRIFT = 0.25  # semitones of vibrato, which the period of the note before follows
LEVEL_HOPS = 2  # of the level of the remainder, 12 ms
SMOOTH = 5  # frames: noise makes single ones quiet
DEEP_DB = 32.0  # below the first peak of a note, nothing of it is heard
FOOT = 0.25  # of the rise in dB, where a note begins; noise and vibrato pass a smaller part
RISE_DB = 4.0  # least rise of an onset
SUBHARMONICS: tuple[int, ...] = (5, 4, 3, 2)
LOOKED_AT = 15  # of a heard pitch's partials
BELOW_DB = 14.0  # of other partials under those of a subharmonic
COMMON = 0.3  # semitones between a note that sounds on and a multiple of the pitch: a common period
FAR_BELOW = 8.0  # semitones under the note before: the common period of a third or a wider interval
LOWEST_HZ = 60.0  # of a remainder's pitch, with two periods in a spectrum's window
CLEAR = 0.5  # share of frames whose remainder must have a pitch


def is_multiple(pitch: float, other: float) -> bool:
    times = round(semitones_to_ratio(pitch - other))
    return times >= 1 and abs(pitch - other - 12 * math.log2(times)) < COMMON


def spectra(samples: Sliceable, hop: int, first: int, stop: int) -> Samples:
    """Return the magnitudes of the frames from ``first`` to ``stop``, [frames, bins]."""
    width = HOPS * hop
    cut = windows(samples, first * hop, stop - first, hop, width)
    magnitudes: Samples = np.abs(np.fft.rfft(cut * np.hanning(width).astype(np.float32))).astype(np.float32)
    return magnitudes


def level_of_partials(magnitudes: Samples, rate: int, pitch: float, other: float | None) -> Doubles:
    """Return the level of a note's partials in dB, [frames], of those apart from another note's if there are two."""
    hertz = midi_to_hz(pitch) * np.arange(1, PARTIALS + 1)
    hertz = hertz[hertz < 0.45 * rate]
    if other is not None:
        ratio, bin_hertz = hertz / midi_to_hz(other), rate / (2 * (magnitudes.shape[1] - 1))
        apart = np.abs(ratio - np.round(ratio)) * midi_to_hz(other) > APART_BINS * bin_hertz
        hertz = hertz[apart] if apart.sum() >= 2 else hertz
    power = np.square(_peaks(magnitudes, rate, hertz)).sum(1)
    level: Doubles = 10 * np.log10(power + 1e-18)
    return level


def level_without(samples: Sliceable, rate: int, hop: int, first: int, stop: int, other: float) -> Doubles:
    """Return the level of the remainder without a note that sounds on, in dB, [frames].

    Each frame's period is the one within `DRIFT` that leaves least.
    """
    width, period = LEVEL_HOPS * hop, rate / midi_to_hz(other)
    shortest = max(int(period / semitones_to_ratio(DRIFT)) - 1, 1)
    longest = int(period * semitones_to_ratio(DRIFT)) + 2
    start, end = first * hop - width // 2 - longest, (stop - 1) * hop + width // 2
    inside = samples[max(start, 0) : min(end, len(samples))]
    sound = np.pad(inside, (max(-start, 0), max(end - len(samples), 0))).astype(np.float64)
    power = np.empty((longest - shortest + 1, stop - first))
    for row, lag in enumerate(range(shortest, longest + 1)):
        remainder = sound[longest:] - sound[longest - lag : len(sound) - lag]
        sums = np.cumsum(np.pad(np.square(remainder), (1, 0)))
        power[row] = sums[width::hop] - sums[:-width:hop]
    before, at, after = power[:-2], power[1:-1], power[2:]
    slope, curve = before - after, np.maximum(before - 2 * at + after, 1e-12)
    least = np.where((at <= before) & (at <= after), at - slope**2 / (8 * curve), at).min(0)  # YIN's step 5
    level: Doubles = 10 * np.log10(np.maximum(least, 0) / width + 1e-12)
    return level


def rise(level: Doubles, begin: int, otherwise: int) -> int:
    """Return the frame where the rise to the first peak from ``begin`` on starts, else ``otherwise``.

    It is the last one near the lowest level before the peak.
    """
    late = level[begin:]
    peak = begin + int(np.argmax(late >= late.max() - 3.0))
    around = np.pad(level, SMOOTH // 2, mode="edge")
    smooth = np.convolve(around, np.full(SMOOTH, 1 / SMOOTH), mode="valid")
    lowest = max(float(smooth[: peak + 1].min()), level[peak] - DEEP_DB)
    risen = level[peak] - lowest
    below = np.flatnonzero(level[: peak + 1] <= lowest + FOOT * risen)
    return int(below[-1]) + 1 if risen >= RISE_DB and len(below) else otherwise


def overtone(magnitudes: Samples, rate: int, pitch: float, other: float | None) -> int:
    """Return the number of the partial that is the note's true pitch: 1, or more if ``pitch`` is a subharmonic.

    Partials of another note that still sounds do not count: two notes repeat in a common period.
    """
    numbers, candidates = np.arange(1, LOOKED_AT + 1), SUBHARMONICS[-1:]
    numbers = numbers[numbers * midi_to_hz(pitch) < 0.45 * rate]
    if other is not None and is_multiple(other, pitch) and other - pitch > COMMON:
        numbers = numbers[numbers % round(semitones_to_ratio(other - pitch)) > 0]
        candidates = SUBHARMONICS
    power = np.square(_peaks(magnitudes, rate, midi_to_hz(pitch) * numbers)).mean(0)
    for number in candidates:
        own = numbers % number == 0
        if own.any() and not own.all() and power[~own].max() < power[own].max() * 10 ** (-BELOW_DB / 10):
            return number
    return 1


def pitch_without(samples: Sliceable, rate: int, hop: int, first: int, stop: int, pitch: float, other: float) -> float:
    """Return the remainder's pitch if ``pitch`` may be the two notes' common period, else ``pitch``.

    A common period lies far below the note before, and the remainder's pitch is a multiple of it.
    """
    if other - pitch < FAR_BELOW or is_multiple(pitch, other):
        return pitch
    width, lag = HOPS * hop, round(rate / midi_to_hz(other))
    longest = min(int(np.ceil(rate / LOWEST_HZ)) + 1, width // 2)
    cut = windows(samples, first * hop + longest // 2, stop - first, hop, width + lag)
    found, depth = yin(cut[:, lag:] - cut[:, :-lag], rate, longest)
    heard = found[depth < VOICED]
    if len(heard) < CLEAR * len(found):
        return pitch
    remaining = float(np.median(heard))
    times = round(semitones_to_ratio(remaining - pitch))
    return remaining if 1 < times <= max(SUBHARMONICS) and is_multiple(remaining, pitch) else pitch


def _peaks(magnitudes: Samples, rate: int, hertz: npt.NDArray[np.floating[Any]]) -> Doubles:
    bins = magnitudes.shape[1]
    middle = np.round(hertz * 2 * (bins - 1) / rate).astype(np.intp)
    around = [magnitudes[:, np.clip(middle + step, 0, bins - 1)] for step in (-1, 0, 1)]
    peaks: Doubles = np.max(around, axis=0).astype(np.float64)
    return peaks
