"""Resynthesis of partials: scales spectra of energy 1 to the input's energy."""

import numpy as np

from ...arrays import Array
from ..spectrum.frame_codec import SpectrumCodec


class PartialsCodec(SpectrumCodec):
    def level(self, frames: Array, magnitudes: Array) -> Array:
        whole: Array = np.sqrt(np.square(magnitudes).sum(axis=1, keepdims=True))
        return whole


make_codec = PartialsCodec
