"""Resynthesis of grains: scaled to the input's root mean square, and overlapped."""

import numpy as np

from ...arrays import Array, Doubles
from ...errors import UserError
from ...model.card import Card
from ...signal import uniforms, window
from ..engine import TINY, FrameAnalysis, hop_of, window_cover
from .sources import OPEN, Cut, source_of

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
        is_noise = card.domain == "magnitude"  # uncorrelated grains add in power, others in amplitude
        cover = np.sqrt(window_cover(np.square(self._shape), hop)) if is_noise else window_cover(self._shape, hop)
        self._cover = cover.astype(np.float32)
        energy = np.square(self._shape)
        energy_cover = np.sqrt(window_cover(np.square(energy), hop)) if is_noise else window_cover(energy, hop)
        self._second_window = (self._shape / energy_cover).astype(np.float32)
        self._grain_count = 0

    def level(self, frames: Array, magnitudes: Array) -> Array:
        return _root_mean_square(frames)

    def make(self, decoded: Array, analysis: FrameAnalysis, bin_offsets: Doubles | None) -> Array:
        random_places = uniforms(0, 0, self._grain_count, len(decoded), 2).tolist()
        self._grain_count += len(decoded)
        grains = np.stack(self._source.grains(decoded, [Cut(self._length, 1.0, OPEN)] * len(decoded), random_places))
        grains = grains * self._shape
        row_gains = analysis.level / np.maximum(_root_mean_square(grains), np.maximum(analysis.level / MOST_GAIN, TINY))
        return grains * row_gains

    def fade(self, frames: Array, filtered: bool) -> Array:
        return frames * self._second_window if filtered else frames / self._cover

    def compare(self, decoded: Array, frames: Array, analysis: FrameAnalysis) -> tuple[Array, float]:
        magnitudes: Array = np.abs(np.fft.rfft(frames))
        return magnitudes, 0.0


make_codec = GrainCodec


def _root_mean_square(frames: Array) -> Array:
    return np.sqrt(np.square(frames).mean(axis=1, keepdims=True))
