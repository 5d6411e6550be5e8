"""Rhythm measures: onsets, F-measure, beat strength, envelope correlation, brightness and swing."""

from typing import NamedTuple

import numpy as np
import scipy

from ...host.arrays import Array, Doubles
from ...host.spectra import step_powers

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
    window_length = 2 ** round(np.log2(rate * WINDOW_SECONDS))
    window_centres = np.round(np.arange(0, max(len(sound), 1), rate / ONSET_RATE)).astype(np.int64)
    padded_sound = np.pad(sound.astype(np.float32, copy=False), (window_length // 2, window_length // 2 + 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded_sound, window_length)
    band_edge_bins = np.unique(
        np.geomspace(max(1.0, LOWEST_HZ * window_length / rate), window_length // 2, BANDS + 1).astype(np.int64)
    )
    power = np.concatenate(
        [
            np.add.reduceat(
                np.abs(np.fft.rfft(windows[batch_centres] * np.hanning(window_length))) ** 2,
                band_edge_bins[:-1],
                axis=1,
            )
            for batch_centres in np.array_split(window_centres, -(-len(window_centres) // BATCH_SPECTRA))
        ]
    )
    loudest_power = max(float(power.max()), 1e-12)
    levels_db = 10 * np.log10(np.maximum(power / loudest_power, 10 ** (-RANGE_DB / 10)))
    previous_db = np.concatenate([np.full((1, levels_db.shape[1]), -RANGE_DB), levels_db[:-1]])
    strength: Doubles = np.maximum(levels_db - previous_db, 0).mean(1).astype(np.float64)
    return strength


def onset_seconds(sound: Array, rate: int) -> Doubles:
    """Return the onsets of a sound [samples] in seconds."""
    strength = onset_strength(sound, rate)
    peak_indices, _ = scipy.signal.find_peaks(
        np.pad(strength, 1),  # a sound may begin at once
        distance=round(APART_SECONDS * ONSET_RATE),
        prominence=max(PROMINENCE * float(strength.max()), 1e-6),
    )
    seconds: Doubles = (peak_indices - 1) / ONSET_RATE
    return seconds


def f_measure(first: Doubles, second: Doubles) -> float:
    """Return the F-measure of two ascending lists of seconds, matched greedily and so optimally within 30 ms."""
    if not len(first) and not len(second):
        return 1.0
    match_count = second_index = 0
    for onset in first:
        while second_index < len(second) and second[second_index] < onset - TOLERANCE_SECONDS:
            second_index += 1
        if second_index < len(second) and second[second_index] <= onset + TOLERANCE_SECONDS:
            match_count, second_index = match_count + 1, second_index + 1
    return 2 * match_count / (len(first) + len(second))


def beat_strength(sound: Array, rate: int, beat_seconds: float) -> float:
    """Return onset strength's best correlation one beat ± 3 % apart; 0 for less than two beats."""
    strength = onset_strength(sound, rate)
    beat_lag = beat_seconds * ONSET_RATE
    tested_lags = range(max(1, int(beat_lag * (1 - LAG_SHARE))), int(np.ceil(beat_lag * (1 + LAG_SHARE))) + 1)
    if len(strength) < 2 * beat_lag:
        return 0.0
    return max(correlation(strength[:-tested_lag], strength[tested_lag:]) for tested_lag in tested_lags)


def beat_kept(sound: Array, source: Array, rate: int, beat_seconds: float) -> float:
    """Return the share of a source's beat strength that a sound keeps, 0 or more."""
    source_strength = beat_strength(source, rate, beat_seconds)
    return max(0.0, beat_strength(sound, rate, beat_seconds)) / source_strength if source_strength > 0 else 0.0


def envelope_correlation(first: Array, second: Array, rate: int) -> float:
    """Return the correlation of two sounds' loudness, in frames of 10 ms."""
    frame_length, common_length = round(ENVELOPE_SECONDS * rate), min(len(first), len(second))
    return correlation(*(np.sqrt(step_powers(sound[:common_length], frame_length)) for sound in (first, second)))


def correlation(first: Doubles, second: Doubles) -> float:
    """Return Pearson's correlation; 0 where one is constant."""
    return cosine(first - first.mean(), second - second.mean())


def cosine(first: Doubles, second: Doubles) -> float:
    """Return the cosine between two vectors; 0 where one is zero."""
    norm_product = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / norm_product if norm_product > 1e-12 else 0.0


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
    onset_steps = onset_seconds(sound, rate) * rate / step
    step_indices = np.floor(onset_steps + EARLY_SHARE)
    off_beat_delays, on_beat_delays = ((onset_steps - step_indices)[step_indices % 2 == parity] for parity in (1, 0))
    return LoopMeasures(
        density=len(onset_steps) * steps_per_beat * step / len(sound),
        brightness=float(np.log2(_middle_hz(sound, rate))),
        swing=float(off_beat_delays.mean() - on_beat_delays.mean())
        if len(off_beat_delays) and len(on_beat_delays)
        else float("nan"),
    )


def _middle_hz(sound: Array, rate: int) -> float:
    """Return the spectral centroid by amplitude."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, (0, TRANSFORM)), TRANSFORM)[:: TRANSFORM // 2]
    bin_amplitudes = np.abs(np.fft.rfft(frames * np.hanning(TRANSFORM))).sum(0) + LEAST_AMPLITUDE
    bin_hz = np.fft.rfftfreq(TRANSFORM, 1 / rate)
    return float((bin_hz * bin_amplitudes).sum() / bin_amplitudes.sum())
