"""Clips given as magnitudes, as they sound: the spectra of what a host makes of them.

Magnitudes that a decoder gives fit no sound exactly, and phases are found for what comes nearest; so a recording is not
compared with magnitudes, but with the spectra of the sound that is made of them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...host.contract.card import Card
from ...host.kinds.clip.spectra import POOLED, QUIETEST, SpectraSound
from .views import Array, TargetSound, View, short_spectra, sizes


class ClipSoundView(View):
    """The sounds of clips given as magnitudes; as frames of a view, [rows, frame_length] samples."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        assert card.transform_length is not None
        self.length = card.transform_length
        self._host = SpectraSound(card.frame_length, self.length, card.hop_length, card.envelope_points)

    def heard(self, frames: Array) -> TargetSound:
        """See `View.heard`."""
        sounds = torch.from_numpy(frames)
        envelope = self.envelope(sounds)
        return TargetSound(self.decoded(sounds)[0], None, None if envelope is None else envelope[0])

    def decoded(self, frames: Tensor) -> Tensor:
        """See `View.decoded`."""
        return sizes(short_spectra(frames, self.length, self.card.hop_length))

    def envelope(self, frames: Tensor) -> Tensor | None:
        """See `View.envelope`: as smooth as a host sets it."""
        points = self.card.envelope_points
        return _pooled(frames.view(len(frames), points, -1).square().mean(2)) if points else None

    def played(self, frames: Tensor) -> Tensor:
        """Return the sounds that a host makes of decoded frames, [rows, frame_length]; without slopes."""
        return torch.from_numpy(self._host(frames.numpy()))


def _pooled(power: Tensor) -> Tensor:
    """Return root mean squares of some parts around each, of the power of parts, [rows, parts]."""
    mean = F.avg_pool1d(power[:, None], POOLED, 1, POOLED // 2)[:, 0]
    return (mean + float(QUIETEST) ** 2).sqrt()
