"""Loudness envelopes of clips: attack times, and distances."""

import numpy as np

from ...host.arrays import Array

WINDOW_SECONDS = 0.01  # a half period at 50 Hz, so that a kick's own wave does not count as its loudness
STEP_SECONDS = 0.001  # a third of the tolerance of attacks
ATTACK_DB = 3.0  # below the loudest: the end of the attack
RANGE_DB = 50.0  # under a clip's loudest moment: softer sound does not count
SILENT_DB = -100.0  # under full scale: silence


def envelope_db(clips: Array, rate: int) -> Array:
    """Return the RMS of 10 ms windows of clips [clips, samples], a millisecond apart: [clips, moments].

    In dB of full scale, -100 at least; the first window is centred on the first sample.
    """
    width = max(1, round(WINDOW_SECONDS * rate))
    squares = np.pad(np.square(clips, dtype=np.float64), ((0, 0), (width // 2 + 1, width)))
    sums = np.cumsum(squares, axis=1)  # the first window is summed from its second place on
    middles = np.arange(0, clips.shape[1] / rate, STEP_SECONDS) * rate
    first = middles.astype(np.int64)
    power = np.maximum(sums[:, first + width] - sums[:, first], 0) / width
    levels: Array = (10 * np.log10(np.maximum(power, 10 ** (SILENT_DB / 10)))).astype(np.float32)
    return levels


def attack_seconds(clips: Array, rate: int) -> Array:
    """Return seconds until clips first come within 3 dB of their loudest moment: [clips]."""
    levels = envelope_db(clips, rate)
    risen = (levels >= levels.max(1, keepdims=True) - ATTACK_DB).argmax(1)
    seconds: Array = (risen * STEP_SECONDS).astype(np.float32)
    return seconds


def envelope_distance_db(asked: Array, given: Array, rate: int) -> Array:
    """Return the RMS difference of envelopes of clips [clips, samples]: [clips].

    It covers moments where either is less than 50 dB under the asked clip's loudest; softer levels count as that floor.
    """
    first, second = envelope_db(asked, rate), envelope_db(given, rate)
    floor = np.maximum(first.max(1, keepdims=True) - RANGE_DB, SILENT_DB)
    sounding = np.maximum(first, second) > floor
    apart = np.where(sounding, np.maximum(first, floor) - np.maximum(second, floor), 0)
    distance: Array = np.sqrt(np.square(apart).sum(1) / np.maximum(sounding.sum(1), 1))
    return distance
