"""Gains in bands of the audible spectrum, as factors of bins."""

import math
from collections.abc import Sequence

import numpy as np

from ...arrays import Array

NEPERS = np.float32(math.log(10) / 20)  # per decibel


class BandFilter:
    def __init__(self, bands_hz: Sequence[float], bins: int, bin_hz: float) -> None:
        """Interpolate linearly between band middles ``bands_hz``, two or more, for bins ``bin_hz`` apart."""
        places = np.interp(np.arange(bins) * bin_hz, bands_hz, np.arange(len(bands_hz)))
        self._low = np.minimum(places.astype(np.intp), len(bands_hz) - 2)
        self._share = (places - self._low).astype(np.float32)

    def factors(self, gains: Array) -> Array:
        """Factors, [rows, bins], of gains in dB, [rows, bands]."""
        bands = np.exp(gains * NEPERS)
        low: Array = bands.take(self._low, axis=1)
        high = bands.take(self._low + 1, axis=1)
        high -= low
        high *= self._share
        low += high
        return low
