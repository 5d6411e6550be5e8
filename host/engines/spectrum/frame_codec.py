"""Resynthesis of spectra: scales maximum 1, or energy 1 of partials, to the input's; phases original or constructed."""

import numpy as np

from ...arrays import Array, Doubles
from ...errors import UserError
from ...model.card import Card
from ...signal import window
from ..engine import TINY, FrameAnalysis, hop_of, window_cover
from .phase_retrieval import CausalPhase


class SpectrumCodec:
    def __init__(self, card: Card, phase: str) -> None:
        self._length, hop = card.frame_length, hop_of(card)
        if phase == "own" and (card.window != "hann" or self._length % 2 or 2 * hop > self._length):
            raise UserError(
                f"phase 'own' is for even frames of a Hann window at least half of which overlap, not for those of "
                f"model {card.name!r} ({self._length} samples, {card.window}, a hop of {hop}); give 'original'"
            )
        shape = window(card.window, self._length)
        self._synthesis = (shape / window_cover(np.square(shape), hop)).astype(np.float32)
        self._own = CausalPhase(self._length, hop) if phase == "own" else None
        self._voice = None if self._own is None else self._own.start_state()

    def level(self, frames: Array, magnitudes: Array) -> Array:
        largest: Array = magnitudes.max(axis=1, keepdims=True)
        return largest

    def make(self, decoded: Array, analysis: FrameAnalysis, bin_offsets: Doubles | None) -> Array:
        wanted = decoded * analysis.level
        if self._own is not None and self._voice is not None:
            spectra = self._own.apply(wanted, [self._voice] * len(wanted), bin_offsets)
        else:
            spectra = analysis.spectra * (wanted / np.maximum(np.abs(analysis.spectra), TINY))
        return np.fft.irfft(spectra, self._length).astype(np.float32, copy=False)

    def fade(self, frames: Array, filtered: bool) -> Array:
        return frames * self._synthesis

    def compare(self, decoded: Array, frames: Array, analysis: FrameAnalysis) -> tuple[Array, float]:
        given = np.abs(analysis.spectra[analysis.sounding]) / np.maximum(analysis.level[analysis.sounding], TINY)
        squares = np.square(decoded[analysis.sounding] - given, dtype=np.float64).mean(axis=1).sum()
        return decoded * analysis.level, float(squares)


class PartialsCodec(SpectrumCodec):
    def level(self, frames: Array, magnitudes: Array) -> Array:
        whole: Array = np.sqrt(np.square(magnitudes).sum(axis=1, keepdims=True))
        return whole


def make_codec(card: Card, phase: str) -> SpectrumCodec:
    return (SpectrumCodec if card.partials is None else PartialsCodec)(card, phase)
