"""Frames of spectral synthesis: window, overlap, and a sinusoid's lobe."""

import functools
from typing import NamedTuple

import numpy as np

from ...arrays import Array

BLACKMAN_HARRIS = (0.35875, 0.48829, 0.14128, 0.01168)  # side lobes below -92 dB (Harris 1978)
STEPS = 1024  # table entries of a lobe per bin


class FrameShape(NamedTuple):
    length: int  # samples, even; a multiple of ``overlap``
    overlap: int  # frames per frame length
    terms: tuple[float, ...]  # of the window, a sum of cosines
    taps: int  # bins of a lobe beside its center


@functools.lru_cache(maxsize=4)  # presets loaded while others play share it
def lobes(shape: FrameShape) -> Array:
    """The window's lobe at each fraction of a bin, [STEPS + 1, 2 * taps + 1].

    A sinusoid's positive-frequency transform per sample of a frame, for frames that overlap-add to amplitude 1.
    """
    away = np.arange(-shape.taps, shape.taps + 1) - np.linspace(-0.5, 0.5, STEPS + 1)[:, np.newaxis]
    lobe = shape.terms[0] * np.sinc(away)
    for term, share in enumerate(shape.terms[1:], start=1):
        lobe += share / 2 * (np.sinc(away - term) + np.sinc(away + term))
    return (lobe / (2 * shape.overlap * shape.terms[0])).astype(np.float32)


def window_of(shape: FrameShape) -> Array:
    turn = 2 * np.pi * np.arange(shape.length) / shape.length
    window: Array = sum((-1) ** term * share * np.cos(term * turn) for term, share in enumerate(shape.terms))
    return window.astype(np.float32)
