"""Peaks of a note's long spectrum: the frequencies of its partials."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...host.arrays import Array, Doubles
from ...host.stft import window

SECONDS, SHORTEST = 0.75, 4096  # of the long spectrum, and the fewest samples
PADDED = 4  # zero-padding: a parabola then finds a peak within a hundredth of a bin
SOFTEST_DB = 50.0  # below the strongest peak
APART_HZ = 21.5  # nearer peaks are one partial that beats: two bins of 4096 samples at 44.1 kHz
STANDS_OUT_DB, AROUND_HZ = 15.0, 65.0  # of a clear peak, over the median around it
LOUD_DB = 30.0  # below the strongest peak: partials of `partial_cents`
FAR_CENTS = 50.0  # a partial that is missing counts as so far away


class SpectralPeaks(NamedTuple):
    """The strongest peak comes first.

    Attributes:
        hertz: frequencies, [peaks].
        levels: in dB below the strongest, [peaks].
        clear: whether they stand out, [peaks].
        power: of the whole spectrum, [bins].
        bin_hz: distance of bins.
    """

    hertz: Doubles
    levels: Doubles
    clear: npt.NDArray[np.bool_]
    power: Doubles
    bin_hz: float


def spectral_peaks(sound: Array, rate: int) -> SpectralPeaks:
    """Return the peaks of the first 0.75 s after a note's loudest sample."""
    sound = np.pad(sound, (0, max(SHORTEST - len(sound), 0)))
    sound = sound[min(int(np.abs(sound).argmax()), len(sound) - SHORTEST) :][: round(SECONDS * rate)]
    size = PADDED * len(sound)
    power = np.square(np.abs(np.fft.rfft(sound.astype(np.float64) * window("hann", len(sound)), size)))
    levels = 10 * np.log10(np.maximum(power, 1e-24))
    bin_hz = rate / size
    inside = np.arange(int(APART_HZ / 2 / bin_hz), len(levels) - 1)
    top = inside[(levels[inside] > levels[inside - 1]) & (levels[inside] >= levels[inside + 1])]
    top = top[levels[top] > levels.max() - SOFTEST_DB]
    kept: list[int] = []
    for at in top[np.argsort(-levels[top])].tolist():
        if all(abs(at - other) > APART_HZ / bin_hz for other in kept):
            kept.append(at)
    middle = np.array(kept, np.intp)
    below, here, above = levels[middle - 1], levels[middle], levels[middle + 1]
    off = np.clip((below - above) / np.minimum(2 * (below - 2 * here + above), -1e-9), -0.5, 0.5)
    reach = int(AROUND_HZ / bin_hz)
    around = np.array([np.median(levels[max(at - reach, 0) : at + reach]) for at in kept])
    return SpectralPeaks(
        (middle + off) * bin_hz, here - here.max(initial=-240.0), here - around > STANDS_OUT_DB, power, bin_hz
    )


def partial_cents(asked: Array, given: Array, rate: int) -> float | None:
    """Return the median distance of a recording's partials to those of another sound, in cents; None without partials.

    Clear peaks within 30 dB of the strongest count. One without a partner within 50 cents counts as 50.
    """
    own, other = spectral_peaks(asked, rate), spectral_peaks(given, rate)
    heard = own.hertz[own.clear & (own.levels > -LOUD_DB)]
    if not len(heard) or not len(other.hertz):
        return None
    cents = np.abs(1200 * np.log2(other.hertz / heard[:, np.newaxis])).min(1)
    return float(np.median(np.minimum(cents, FAR_CENTS)))
