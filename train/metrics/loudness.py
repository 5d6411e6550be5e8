"""Measures the loudness of clips from moment to moment: when it has risen, and how far two courses lie apart."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

WINDOW_SECONDS = 0.01  # a half period at 50 Hz, so that a kick's own wave does not count as its loudness
STEP_SECONDS = 0.001  # a third of what attacks may differ by
ATTACK_DB = 3.0  # below the loudest: from there on a sound has risen
RANGE_DB = 50.0  # under a clip's loudest moment: what is softer does not count
SILENT_DB = -100.0  # under full scale: what is quieter is no sound


def envelope_db(clips: Array, rate: int) -> Array:
    """Root mean squares of 10 ms, whose middles lie a millisecond apart from the first sample on, in dB of full scale.

    Args:
        clips: [clips, samples].
        rate: in Hz.

    Returns:
        [clips, moments], -100 dB at least.
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
    """Return when each clip first comes within 3 dB of its loudest moment, in seconds from its beginning: [clips].

    A silent clip has risen at once.
    """
    levels = envelope_db(clips, rate)
    risen = (levels >= levels.max(1, keepdims=True) - ATTACK_DB).argmax(1)
    seconds: Array = (risen * STEP_SECONDS).astype(np.float32)
    return seconds


def envelope_distance_db(asked: Array, given: Array, rate: int) -> Array:
    """Return how far each clip's loudness is from that of the one in its place, from moment to moment, in dB: [clips].

    The root mean square of differences of `envelope_db`, of moments at which one of the two lies less than 50 dB under
    the loudest moment of the one asked for; what is softer counts as if it lay there. Gain is a difference.

    Args:
        asked, given: [clips, samples].
        rate: in Hz.
    """
    first, second = envelope_db(asked, rate), envelope_db(given, rate)
    floor = np.maximum(first.max(1, keepdims=True) - RANGE_DB, SILENT_DB)
    sounding = np.maximum(first, second) > floor
    apart = np.where(sounding, np.maximum(first, floor) - np.maximum(second, floor), 0)
    distance: Array = np.sqrt(np.square(apart).sum(1) / np.maximum(sounding.sum(1), 1))
    return distance
