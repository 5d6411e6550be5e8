"""Amplitudes of spectra for code searches, normalized, and transposed if the model has keys."""

import math

import numpy as np
import torch
from torch import Tensor

from ....host.arrays import Array
from ....host.contract.card import PITCH_CLASSES
from ....host.kinds.spectrum.pitch_detection import fundamentals
from ....host.stft import chroma, window
from ....host.units import semitones_to_ratio
from ..search_view import LEAST, TargetSound, View


class SpectraView(View):
    def target_sound(self, frames: Array) -> TargetSound:
        card, length = self.card, self.length
        middles = frames[:, (frames.shape[1] - length) // 2 :][:, :length]
        spectra = np.abs(np.fft.rfft(middles * window(card.window, length))).astype(np.float32)
        if not card.keyed:
            return TargetSound(_together(spectra))
        notes = fundamentals(spectra, card.sample_rate) if card.window == "hann" else np.full(len(frames), np.nan)
        if np.isnan(notes).all():
            return TargetSound(_together(spectra), self.unpitched(spectra))
        note = float(np.nanmedian(notes))
        key, target = self.place(math.floor(note + 0.5))
        near = np.flatnonzero(np.abs(notes - note) < 1)  # others are detection errors, or of another note
        moved = [self._moved(frames[row], target - float(notes[row])) for row in near]
        return TargetSound(_together(np.stack(moved)), key)

    def decoded(self, frames: Tensor) -> Tensor:
        return frames[:, None]

    def unpitched(self, spectra: Array) -> int:
        whole = np.sqrt(np.square(spectra).mean(0))
        return int(chroma(whole, self.card.sample_rate, self.length).argmax())

    def place(self, key: int) -> tuple[int, int]:
        """Return a key's condition for the model, and the note to transpose to."""
        assert self.card.chroma is not None
        told = key % PITCH_CLASSES
        return told, PITCH_CLASSES * (self.card.chroma.octave + 1) + told

    def _moved(self, piece: Array, semitones: float) -> Array:
        length = min(round(self.length * semitones_to_ratio(semitones)), len(piece))
        first = (len(piece) - length) // 2
        found = np.abs(np.fft.rfft(piece[first : first + length] * window(self.card.window, length)))
        bins = self.length // 2 + 1
        return np.pad(found[:bins], (0, max(0, bins - len(found)))).astype(np.float32)


def _together(spectra: Array) -> Tensor:
    each = spectra / np.maximum(spectra.max(1, keepdims=True), LEAST)
    whole = np.sqrt(np.square(each).mean(0, keepdims=True))
    return torch.from_numpy((whole / np.maximum(whole.max(), LEAST)).astype(np.float32))
