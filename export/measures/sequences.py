"""Measures of sound that was continued: whether it strikes as its recording does, how loud it is, what frames add."""

import numpy as np
import numpy.typing as npt

from ...host.dsp import window
from ...train.metrics.rhythm import f_measure

Array = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]

ONSET_HOP_SECONDS, ONSET_WINDOW = 0.005, 4  # of spectra, and how many hops one has
WITHIN_SECONDS = 0.03  # of an onset: nearer than two hits of a fast roll
SHARPEST = 0.1  # of the largest rise: a smaller one is no onset
COMPRESSED = 100.0  # of magnitudes, before their logarithm: what lies 40 dB under the loudest counts little
HIGH_HZ = 10_000.0  # above which there is little but attacks, and clicks where frames meet
LEAST = 1e-12


def onsets(sound: Array, rate: int) -> Double:
    """Return the seconds at which a sound [samples] strikes: where its spectrum rises most, within `WITHIN_SECONDS`.

    The rise is the sum over bins of how much the logarithm of each magnitude grows (spectral flux: Bello et al., "A
    tutorial on onset detection in music signals", IEEE TSAP 13:5, 2005).
    """
    hop = max(1, round(ONSET_HOP_SECONDS * rate))
    length = ONSET_WINDOW * hop
    padded = np.pad(sound, (length, length))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop] * window("hann", length)
    magnitudes = np.abs(np.fft.rfft(pieces))
    levels = np.log1p(COMPRESSED * magnitudes / max(float(magnitudes.max()), LEAST))
    rise = np.maximum(levels[1:] - levels[:-1], 0).sum(1)
    reach = round(WITHIN_SECONDS / ONSET_HOP_SECONDS)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(rise, reach), 2 * reach + 1).max(1)
    found = np.flatnonzero((rise >= around) & (rise > SHARPEST * max(float(rise.max()), LEAST)))
    # The piece after a rise has its middle half a window on, and the first piece lies a window before the sound.
    times: Double = ((found + 1) * hop - length / 2) / rate
    return times


def onset_measure(asked: Array, given: Array, rate: int) -> float:
    """Return the F-measure of onsets of a sound against those of another, each of which counts once; 1 where all do."""
    return f_measure(onsets(asked, rate), onsets(given, rate))


def edges_db(sound: Array, rate: int, hop: int, overlap: int) -> float:
    """Return how much louder a sound is above 10 kHz where frames meet than inside of them, in dB.

    Frames meet in the ``overlap`` samples before each multiple of ``hop``, and as near to it as a click is long.
    """
    spectrum = np.fft.rfft(sound.astype(np.float64))
    spectrum[np.fft.rfftfreq(len(sound), 1 / rate) < HIGH_HZ] = 0
    power = np.square(np.fft.irfft(spectrum, len(sound)))
    click = max(1, round(rate / HIGH_HZ))
    place = (np.arange(len(sound)) + overlap + click) % hop
    meets = place < overlap + 2 * click
    return 10 * float(np.log10((power[meets].mean() + LEAST) / (power[~meets].mean() + LEAST)))


def rms_db(sound: Array) -> float:
    """Return the level of a sound in dB of full scale, -120 at the least."""
    return 10 * float(np.log10(np.square(sound, dtype=np.float64).mean() + LEAST))
