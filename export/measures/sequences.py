"""Measures of continued sound: onset accuracy, level, and clicks between frames."""

import numpy as np

from ...host.arrays import Array, Doubles
from ...host.stft import window
from ...train.metrics.rhythm import f_measure

ONSET_HOP_SECONDS, ONSET_WINDOW = 0.005, 4  # of spectra; window length in hops
WITHIN_SECONDS = 0.03  # of an onset: closer than two hits of a fast roll
SHARPEST = 0.1  # of the largest rise: smaller ones are no onsets
COMPRESSED = 100.0  # scales magnitudes before the logarithm: levels 40 dB below the loudest count little
HIGH_HZ = 10_000.0  # above it are mostly attacks, and clicks between frames
LEAST = 1e-12


def onsets(sound: Array, rate: int) -> Doubles:
    """Return onset times of a sound [samples] in seconds: peaks of spectral flux within `WITHIN_SECONDS`.

    The flux sums rises of log magnitudes over bins (Bello et al., IEEE TSAP 13:5, 2005).
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
    # The window after a rise is centered half a window later, and the first window is one window before the sound.
    times: Doubles = ((found + 1) * hop - length / 2) / rate
    return times


def onset_measure(asked: Array, given: Array, rate: int) -> float:
    """Return the F-measure of onsets, 0 to 1."""
    return f_measure(onsets(asked, rate), onsets(given, rate))


def edges_db(sound: Array, rate: int, hop: int, overlap: int) -> float:
    """Return the level above 10 kHz at frame boundaries relative to inside frames, in dB.

    Boundaries are ``overlap`` samples before multiples of ``hop``, and a click's length around.
    """
    spectrum = np.fft.rfft(sound.astype(np.float64))
    spectrum[np.fft.rfftfreq(len(sound), 1 / rate) < HIGH_HZ] = 0
    power = np.square(np.fft.irfft(spectrum, len(sound)))
    click = max(1, round(rate / HIGH_HZ))
    place = (np.arange(len(sound)) + overlap + click) % hop
    meets = place < overlap + 2 * click
    return 10 * float(np.log10((power[meets].mean() + LEAST) / (power[~meets].mean() + LEAST)))


def rms_db(sound: Array) -> float:
    """Return the RMS level in dBFS, -120 at least."""
    return 10 * float(np.log10(np.square(sound, dtype=np.float64).mean() + LEAST))
