"""Resynthesis of grains: scaled to the input's root mean square, and overlapped."""

import numpy as np

from ...arrays import Array, Doubles
from ...errors import UserError
from ...model.card import Card
from ...signal import uniforms, window
from ..frame_codec import TINY, FrameAnalysis, hop_of, window_cover
from .engine import OPEN, Cut, source_of

MOST_GAIN = 16.0  # the most that a decoded grain is amplified to reach the input's level


class GrainCodec:
    def __init__(self, card: Card, phase: str) -> None:
        if phase == "own":
            raise UserError(
                f"phase 'own' is for models of kind 'spectrum', {card.name!r} is of kind 'grain'; leave it out"
            )
        self._length, hop = card.frame_length, hop_of(card)
        self._source = source_of(card, self._length)
        self._shape = window("hann", self._length)
        noise = card.domain == "magnitude"  # uncorrelated grains add in power, others in amplitude
        cover = np.sqrt(window_cover(np.square(self._shape), hop)) if noise else window_cover(self._shape, hop)
        self._cover = cover.astype(np.float32)
        self._made = 0

    def level(self, frames: Array, magnitudes: Array) -> Array:
        return _root_mean_square(frames)

    def make(self, decoded: Array, heard: FrameAnalysis, away: Doubles | None) -> Array:
        places = uniforms(0, 0, self._made, len(decoded), 2).tolist()
        self._made += len(decoded)
        grains = np.stack(self._source.grains(decoded, [Cut(self._length, 1.0, OPEN)] * len(decoded), places))
        grains = grains * self._shape
        gain = heard.level / np.maximum(_root_mean_square(grains), np.maximum(heard.level / MOST_GAIN, TINY))
        made: Array = grains * gain / self._cover
        return made

    def compare(self, decoded: Array, made: Array, heard: FrameAnalysis) -> tuple[Array, float]:
        found: Array = np.abs(np.fft.rfft(made * self._cover))
        return found, 0.0


make_codec = GrainCodec


def _root_mean_square(frames: Array) -> Array:
    value: Array = np.sqrt(np.square(frames).mean(axis=1, keepdims=True))
    return value
