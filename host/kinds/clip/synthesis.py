"""Clip synthesis: decoded frames to samples."""

from typing import Protocol

from ...arrays import Array
from ...contract.card import Card
from .magnitude_synthesis import SpectraSound


class ClipSound(Protocol):
    """May be slow: live, no rendering thread calls it."""

    def __call__(self, frames: Array) -> Array:
        """Sounds at the model's rate, [rows, frame_length], of frames, [rows, frame_width].

        A row depends on its frame alone, to the bit; the caller owns the result.
        """


def sound_of(card: Card) -> ClipSound:
    if card.transform_length is None:
        return _samples
    return SpectraSound(card.frame_length, card.transform_length, card.hop_length, card.envelope_points)


def _samples(frames: Array) -> Array:
    return frames
