"""Makes sounds of what the decoders of clips give."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...contract.card import Card
from .spectra import SpectraSound

Array = npt.NDArray[np.float32]


class ClipSound(Protocol):
    """Makes sounds of decoded clips. It runs on a worker thread live, and may take its time."""

    def __call__(self, frames: Array) -> Array:
        """Return sounds at the model's rate, [rows, frame_length], of frames, [rows, frame_width].

        A row depends on its frame alone, to the bit; what is returned is the caller's.
        """
        ...


def sound_of(card: Card) -> ClipSound:
    """Return what makes sounds of a model's clips, as its card says that they are given."""
    if card.transform_length is None:
        return _samples
    return SpectraSound(card.frame_length, card.transform_length, card.hop_length, card.envelope_points)


def _samples(frames: Array) -> Array:
    return frames
