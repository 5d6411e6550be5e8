"""Views magnitude clips by their synthesized sound: decoded magnitudes match no sound exactly."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...host.arrays import Array
from ...host.contract.card import Card
from ...host.kinds.clip.magnitude_synthesis import POOLED, QUIETEST, SpectraSound
from ..kinds.search_view import TargetSound, View, short_spectra, sizes


class ClipSoundView(View):
    """Synthesized clips; frames are samples, [rows, frame_length]."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        assert card.transform_length is not None
        self.length = card.transform_length
        self._host = SpectraSound(card.frame_length, self.length, card.hop_length, card.envelope_points)

    def target_sound(self, frames: Array) -> TargetSound:
        sounds = torch.from_numpy(frames)
        envelope = self.envelope(sounds)
        return TargetSound(self.decoded(sounds)[0], None, None if envelope is None else envelope[0])

    def decoded(self, frames: Tensor) -> Tensor:
        return sizes(short_spectra(frames, self.length, self.card.hop_length))

    def envelope(self, frames: Tensor) -> Tensor | None:
        """Return envelopes, smooth as the host's, [rows, points]."""
        points = self.card.envelope_points
        return _pooled(frames.view(len(frames), points, -1).square().mean(2)) if points else None

    def played(self, frames: Tensor) -> Tensor:
        """Synthesize as hosts do, [rows, frame_length]; not differentiable."""
        return torch.from_numpy(self._host(frames.numpy()))


def _pooled(power: Tensor) -> Tensor:
    mean = F.avg_pool1d(power[:, None], POOLED, 1, POOLED // 2)[:, 0]
    return (mean + float(QUIETEST) ** 2).sqrt()
