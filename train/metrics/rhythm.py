"""Rhythm measures: onsets, F-measure, beat strength, envelope correlation, brightness and swing."""

from typing import NamedTuple

import numpy as np
import scipy

from ...host.arrays import Array, Doubles

ONSET_RATE = 200  # values of onset strength a second: onsets within 30 ms of each other are six apart
WINDOW_SECONDS = 0.023  # of its spectra: shorter than sixteenths at 200 bpm, longer than a period of 50 Hz
BANDS, LOWEST_HZ = 24, 40.0  # geometric: a hat counts as much as a kick
RANGE_DB = 60.0  # under the loudest band of a sound: rises below that do not count
BATCH_SPECTRA = 8192  # spectra in memory at once
APART_SECONDS = 0.05  # between onsets: a flam is one
PROMINENCE = 0.1  # minimum prominence, of the strongest onset's strength
TOLERANCE_SECONDS = 0.03  # between matching onsets
LAG_SHARE = 0.03  # around the beat's lag, to search for its peak
ENVELOPE_SECONDS = 0.01  # of loudness: a half period at 50 Hz


def onset_strength(sound: Array, rate: int) -> Doubles:
    """Return the mean rise of band levels of a sound [samples] in dB, 200 times a second.

    (Spectral flux of levels: Böck and Widmer, DAFx 2013, without its filter against vibrato.)
    """
    width = 2 ** round(np.log2(rate * WINDOW_SECONDS))
    middles = np.round(np.arange(0, max(len(sound), 1), rate / ONSET_RATE)).astype(np.int64)
    padded = np.pad(sound.astype(np.float32, copy=False), (width // 2, width // 2 + 1))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, width)
    edges = np.unique(np.geomspace(max(1.0, LOWEST_HZ * width / rate), width // 2, BANDS + 1).astype(np.int64))
    power = np.concatenate(
        [
            np.add.reduceat(np.abs(np.fft.rfft(pieces[centres] * np.hanning(width))) ** 2, edges[:-1], axis=1)
            for centres in np.array_split(middles, -(-len(middles) // BATCH_SPECTRA))
        ]
    )
    loudest = max(float(power.max()), 1e-12)
    levels = 10 * np.log10(np.maximum(power / loudest, 10 ** (-RANGE_DB / 10)))
    previous_levels = np.concatenate([np.full((1, levels.shape[1]), -RANGE_DB), levels[:-1]])
    strength: Doubles = np.maximum(levels - previous_levels, 0).mean(1).astype(np.float64)
    return strength


def onset_seconds(sound: Array, rate: int) -> Doubles:
    strength = onset_strength(sound, rate)
    peaks, _ = scipy.signal.find_peaks(
        np.pad(strength, 1),  # a sound may begin at once
        distance=round(APART_SECONDS * ONSET_RATE),
        prominence=max(PROMINENCE * float(strength.max()), 1e-6),
    )
    seconds: Doubles = (peaks - 1) / ONSET_RATE
    return seconds


def f_measure(first: Doubles, second: Doubles) -> float:
    """Return the F-measure of two ascending lists of seconds, matched greedily and so optimally within 30 ms."""
    if not len(first) and not len(second):
        return 1.0
    matched = index = 0
    for time in first:
        while index < len(second) and second[index] < time - TOLERANCE_SECONDS:
            index += 1
        if index < len(second) and second[index] <= time + TOLERANCE_SECONDS:
            matched, index = matched + 1, index + 1
    return 2 * matched / (len(first) + len(second))


def beat_strength(sound: Array, rate: int, beat_seconds: float) -> float:
    """Return onset strength's best correlation one beat ± 3 % apart; 0 for less than two beats."""
    strength = onset_strength(sound, rate)
    lag = beat_seconds * ONSET_RATE
    lags = range(max(1, int(lag * (1 - LAG_SHARE))), int(np.ceil(lag * (1 + LAG_SHARE))) + 1)
    if len(strength) < 2 * lag:
        return 0.0
    return max(correlation(strength[:-shift], strength[shift:]) for shift in lags)


def beat_kept(sound: Array, source: Array, rate: int, beat_seconds: float) -> float:
    source_strength = beat_strength(source, rate, beat_seconds)
    return max(0.0, beat_strength(sound, rate, beat_seconds)) / source_strength if source_strength > 0 else 0.0


def envelope_correlation(first: Array, second: Array, rate: int) -> float:
    step, length = round(ENVELOPE_SECONDS * rate), min(len(first), len(second))
    parts = (part[: length - length % step].reshape(-1, step) for part in (first, second))
    return correlation(*(np.sqrt(np.square(part, dtype=np.float64).mean(1)) for part in parts))


def correlation(first: Doubles, second: Doubles) -> float:
    """Return Pearson's correlation; 0 where one is constant."""
    return cosine(first - first.mean(), second - second.mean())


def cosine(first: Doubles, second: Doubles) -> float:
    power = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / power if power > 1e-12 else 0.0


TRANSFORM = 2048  # samples of a spectrum: bins of 20 Hz
EARLY_SHARE = 0.15  # of a step, the most that an onset may precede its step
LEAST_AMPLITUDE = 1e-9


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
    steps = np.floor(places + EARLY_SHARE)
    off_beats, on_beats = ((places - steps)[steps % 2 == odd] for odd in (1, 0))
    return LoopMeasures(
        density=len(places) * steps_per_beat * step / len(sound),
        brightness=float(np.log2(_middle_hz(sound, rate))),
        swing=float(off_beats.mean() - on_beats.mean()) if len(off_beats) and len(on_beats) else float("nan"),
    )


def _middle_hz(sound: Array, rate: int) -> float:
    pieces = np.lib.stride_tricks.sliding_window_view(np.pad(sound, (0, TRANSFORM)), TRANSFORM)[:: TRANSFORM // 2]
    amplitudes = np.abs(np.fft.rfft(pieces * np.hanning(TRANSFORM))).sum(0) + LEAST_AMPLITUDE
    hertz = np.fft.rfftfreq(TRANSFORM, 1 / rate)
    return float((hertz * amplitudes).sum() / amplitudes.sum())
