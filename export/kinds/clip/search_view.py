"""Amplitudes of clips for code searches."""

import math

import torch
from torch import Tensor

from ....host.arrays import Array
from ....host.contract.card import Card
from ..search_view import TargetSound, View, short_spectra, sizes

WINDOW_SECONDS, OVERLAP = 0.032, 4  # of spectra of samples: separates the partials of voices


class SampleView(View):
    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.length = min(2 ** round(math.log2(card.sample_rate * WINDOW_SECONDS)), card.frame_length)

    def target_sound(self, frames: Array) -> TargetSound:
        return TargetSound(self.decoded(torch.from_numpy(frames))[0])

    def decoded(self, frames: Tensor) -> Tensor:
        return sizes(short_spectra(frames, self.length, self.length // OVERLAP))


class MagnitudeView(View):
    def __init__(self, card: Card) -> None:
        super().__init__(card)
        assert card.transform_length is not None
        self.length = card.transform_length

    def target_sound(self, frames: Array) -> TargetSound:
        sounds, points = torch.from_numpy(frames), self.card.envelope_points
        envelope = sounds[0].view(points, -1).square().mean(1).sqrt() if points else None
        return TargetSound(sizes(short_spectra(sounds, self.length, self.card.hop_length))[0], None, envelope)

    def decoded(self, frames: Tensor) -> Tensor:
        bins = self.length // 2 + 1
        return frames[:, : self.card.spectra * bins].reshape(-1, self.card.spectra, bins)
