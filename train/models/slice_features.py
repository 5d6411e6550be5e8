"""What a network of loops sees of a slice of one: levels as in a clip, but those that the slice has in the loop."""

import torch
from torch import Tensor

from .clip_features import HIGHEST, RANGE, ClipFeatures, logarithm


class SliceFeatures(ClipFeatures):
    """Takes features of slices: logarithms of amplitudes, which count from the loudest of all that were learned.

    ``loudest`` are the largest of bands and of parts, in nepers: what lies 80 dB under them is silence.
    """

    loudest: Tensor

    def __init__(self, sample_rate: int, length: int) -> None:
        """Make the tables for slices of ``length`` samples, a multiple of a hop, at ``sample_rate`` Hz."""
        super().__init__(sample_rate, length)
        self.register_buffer("loudest", torch.zeros(2))
        self.fade.fill_(1.0)  # a slice goes on in the next

    def raw(self, slices: Tensor) -> Tensor:
        """Return the features of slices [slices, length] in nepers of full scale, [slices, width]."""
        power, _, parts = self.powers(slices)
        return torch.cat([logarithm(power).flatten(1), logarithm(parts)], 1)

    def learn(self, raw: Tensor) -> None:
        """Take the loudest of features of slices."""
        self.loudest.copy_(torch.stack([part.amax() for part in self.parts(raw)]))

    def bounded(self, raw: Tensor) -> Tensor:
        """Return features that lie no deeper than silence, [..., width]."""
        return torch.maximum(raw, self.silence())

    def silence(self) -> Tensor:
        """Return the features of silence, [width]."""
        bands, levels = (self.loudest - RANGE).unbind()
        return torch.cat([bands.expand(self.spectra * self.bands), levels.expand(self.points)])

    def frames(self, features: Tensor) -> Tensor:
        """Return frames as a card of domain magnitude has them; of silence zeros."""
        bands, levels = self.parts(features)
        silent, quiet = (self.loudest - RANGE).unbind()
        nepers = [(bands @ self.out_of).flatten(1), levels]
        heard = [
            _over(part, floor, top) for part, floor, top in zip(nepers, (silent, quiet), self.loudest, strict=True)
        ]
        return torch.cat(heard, 1)


def _over(nepers: Tensor, floor: Tensor, top: Tensor) -> Tensor:
    """Return amplitudes whose powers are those of levels, less that of silence."""
    power = torch.exp(2 * torch.minimum(nepers, top + HIGHEST)) - torch.exp(2 * floor)
    return power.clamp_min(0).sqrt()
