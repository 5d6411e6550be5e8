"""Amplitudes of grains for code searches."""

import torch
from torch import Tensor

from ....host.arrays import Array
from ....host.contract.card import Card
from ..search_view import TargetSound, View, sizes, window_of


class GrainView(View):
    gain_counts = True

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.smooth = card.domain == "magnitude"

    def target_sound(self, frames: Array) -> TargetSound:
        middles = torch.from_numpy(frames[:, (frames.shape[1] - self.length) // 2 :][:, : self.length].copy())
        found = sizes(torch.fft.rfft(middles[:, None] * self._window()))
        points, envelope = self.card.envelope_points, None
        if points:
            parts = torch.nn.functional.interpolate(middles.square().mean(0)[None, None], points, mode="area")
            envelope = parts[0, 0].sqrt()
        return TargetSound(found.square().mean(0).sqrt(), None, envelope)

    def decoded(self, frames: Tensor) -> Tensor:
        if self.card.domain == "samples":
            return sizes(torch.fft.rfft(frames[:, None] * self._window()))
        return frames[:, None, : self.length // 2 + 1]

    def _window(self) -> Tensor:
        return window_of("hann" if self.card.domain == "samples" else "rectangular", self.length)
