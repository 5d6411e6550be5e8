"""Both sides of a loop from its mono sound: short causal filters give the levels and correlations of a stereo image.

A filter that rings before an attack is audible there. So each side's gains have the least delay (minimum phase:
Oppenheim and Schafer, "Discrete-Time Signal Processing", section 13.5). The difference of the sides comes through a
chain of short all-passes (Schroeder, "Natural sounding artificial reverberation", JAES 10, 1962), added on the left and
subtracted on the right.
"""

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Doubles
from ...model.image import LEFT, OTHER, OWN, RIGHT, image_curves
from ...signal import fast_length

DELAYS_SECONDS = (0.0004, 0.0009, 0.0019, 0.0031)  # of the all-passes: no two in a simple ratio
FEEDBACK = 0.4  # 99 % of a click's energy lies within 13 ms; with .5 it is 14 ms, and levels are farther off
TAPS_SECONDS = 0.03  # the rest of a click is 50 dB below it
FINENESS = 4  # times as many bins as a filter has taps need: the cepstrum does not wrap around
LEAST_GAIN = 1e-3  # -60 dB: of no gain at all there is no logarithm
PRIMES = (2, 3, 5, 7)  # prime factors of fast transforms


class SideFilters:
    def __init__(self, image: Doubles, amount: float, sample_rate: int) -> None:
        """``image``, ``amount``: as in `image_curves`."""
        self._taps = max(2, round(TAPS_SECONDS * sample_rate))
        length = FINENESS * fast_length(self._taps, PRIMES, step=2)
        curves = image_curves(image, amount, 1.0, sample_rate, length // 2 + 1).astype(np.float64)
        own_spectrum, other_spectrum = (_minimum_phase(curves[row]) for row in (OWN, OTHER))
        other_spectrum *= _all_passes(length, sample_rate)
        mixtures = own_spectrum + other_spectrum, own_spectrum - other_spectrum
        spectra = [_minimum_phase(curves[row]) * mix for row, mix in zip((LEFT, RIGHT), mixtures, strict=True)]
        self._filters: Array = np.fft.irfft(spectra, length)[:, : self._taps].astype(np.float32)

    @property
    def memory_samples(self) -> int:
        """Samples before a sound that reach into it."""
        return self._taps - 1

    def __call__(self, sound: Array, past_sound: Array | None = None) -> Array:
        """Return both sides, [2, length], of a sound, [length].

        ``past_sound``: the samples before it, [samples]; None is silence.
        """
        count = len(sound)
        if past_sound is not None:
            sound = np.concatenate([past_sound[-self.memory_samples :], sound])
        length = fast_length(len(sound) + self._taps - 1, PRIMES, step=2)
        spectra = np.fft.rfft(sound, length) * np.fft.rfft(self._filters, length)
        return np.fft.irfft(spectra, length)[:, len(sound) - count : len(sound)].astype(np.float32, copy=False)


def _minimum_phase(gains: Doubles) -> npt.NDArray[np.complex128]:
    """The spectrum of least delay with these gains, [bins]."""
    length = 2 * (len(gains) - 1)
    cepstrum = np.fft.irfft(np.log(np.maximum(gains, LEAST_GAIN)), length)
    cepstrum[1 : length // 2] *= 2
    cepstrum[length // 2 + 1 :] = 0
    return np.exp(np.fft.rfft(cepstrum))


def _all_passes(length: int, sample_rate: int) -> npt.NDArray[np.complex128]:
    """The spectrum of the chain of all-passes, [bins]."""
    spectrum = np.ones(length // 2 + 1, np.complex128)
    for delay_seconds in DELAYS_SECONDS:
        delayed = np.exp(-2j * np.pi * np.arange(len(spectrum)) / length * max(1, round(delay_seconds * sample_rate)))
        spectrum *= (delayed - FEEDBACK) / (1 - FEEDBACK * delayed)
    return spectrum
