"""The shape of the frames that a voice puts together, and the lobe that a sinusoid has in their transforms."""

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

BLACKMAN_HARRIS = (0.35875, 0.48829, 0.14128, 0.01168)  # beyond its lobe nothing is above -92 dB (Harris 1978)
STEPS = 1024  # places between two bins at which a lobe is tabulated


class FrameShape(NamedTuple):
    """The shape of the frames that are put together.

    Attributes:
        length: samples, even.
        overlap: how many frames sound at a time; ``length`` is a multiple of it.
        terms: of the window, a sum of cosines.
        taps: bins on either side of its centre that a lobe of the window has.
    """

    length: int
    overlap: int
    terms: tuple[float, ...]
    taps: int


@functools.lru_cache(maxsize=4)  # presets that are loaded while others sound share it
def lobes(shape: FrameShape) -> Array:
    """Return a lobe of the window at every place between two bins, [STEPS + 1, 2 * taps + 1].

    It is the part above 0 Hz of a sinusoid's transform, for frames that add up to amplitude 1, per sample of a frame.
    """
    away = np.arange(-shape.taps, shape.taps + 1) - np.linspace(-0.5, 0.5, STEPS + 1)[:, np.newaxis]
    lobe = shape.terms[0] * np.sinc(away)
    for term, share in enumerate(shape.terms[1:], start=1):
        lobe += share / 2 * (np.sinc(away - term) + np.sinc(away + term))
    return (lobe / (2 * shape.overlap * shape.terms[0])).astype(np.float32)


def window_of(shape: FrameShape) -> Array:
    """Return the window of frames, [length], whose transform is the lobe."""
    turn = 2 * np.pi * np.arange(shape.length) / shape.length
    window: Array = sum((-1) ** term * share * np.cos(term * turn) for term, share in enumerate(shape.terms))
    return window.astype(np.float32)
