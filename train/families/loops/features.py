"""Features of loop slices: levels relative to the loudest training slice."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ..clip.features import HIGHEST, LEAST, RANGE, ClipFeatures, logarithm

OCTAVES = (-4.0, 3.5)  # around the pivot of tilts: gains are constant beyond
PIVOT_HZ = 1000.0
NEPERS = math.log(10) / 20  # per decibel
FALL = 40 * NEPERS  # per step: decay of a slice that continues because the next one is late


class SliceFeatures(ClipFeatures):
    """Log amplitudes of slices.

    ``loudest`` are training maxima of bands and parts, in nepers; 80 dB below is silence.
    """

    loudest: Tensor
    slope: Tensor
    bins: Tensor

    def __init__(self, sample_rate: int, length: int) -> None:
        super().__init__(sample_rate, length)
        self.register_buffer("loudest", torch.zeros(2))
        self.fade.fill_(1.0)  # a slice continues in the next
        hertz = self.into.argmax(1).numpy() * sample_rate / self.transform
        self.register_buffer("slope", torch.from_numpy(octaves(hertz)).float(), persistent=False)
        self.register_buffer("bins", self.out_of.sum(1), persistent=False)

    def raw(self, slices: Tensor) -> Tensor:
        """Return features of slices [slices, length], in nepers re full scale, [slices, width]."""
        power, _, parts = self.powers(slices)
        return torch.cat([logarithm(power).flatten(1), logarithm(parts)], 1)

    def learn(self, raw: Tensor) -> None:
        self.loudest.copy_(torch.stack([part.amax() for part in self.parts(raw)]))

    def bounded(self, raw: Tensor) -> Tensor:
        return torch.maximum(raw, self.silence())

    def silence(self) -> Tensor:
        bands, levels = (self.loudest - RANGE).unbind()
        return torch.cat([bands.expand(self.spectra * self.bands), levels.expand(self.points)])

    def tilted(self, raw: Tensor, db_per_octave: Tensor) -> Tensor:
        """Tilt spectra of [batch, steps, width] at unchanged loudness; ``db_per_octave`` is [batch]."""
        bands, levels = self.parts(raw.flatten(0, 1))
        gains = (db_per_octave * NEPERS)[:, None] * self.slope
        more = bands + gains.repeat_interleave(raw.shape[1], 0)[:, None]
        before, after = ((2 * part).exp() @ self.bins for part in (bands, more))
        rise = 0.5 * torch.log(after.clamp_min(LEAST) / before.clamp_min(LEAST))
        rise = F.interpolate(rise[:, None], self.points, mode="linear", align_corners=True)[:, 0]
        made = torch.cat([more.flatten(1), levels + rise], 1).view(raw.shape)
        power = [(2 * part).exp().view(len(raw), -1).sum(1) for part in (levels, levels + rise)]
        louder = 0.5 * torch.log(power[0] / power[1])
        return made + louder[:, None, None]

    def rises(self, features: Tensor) -> Tensor:
        """Return slices' level increase, the mean over bands in nepers, [slices]."""
        bands, _ = self.parts(self.bounded(features))
        rises: Tensor = bands.diff(dim=1).clamp_min(0).sum(1).mean(1)
        return rises

    def delayed(self, features: Tensor, before: Tensor, steps: Tensor) -> Tensor:
        """Delay features [slices, width] by a fraction of a step, [slices, 1], while slices ``before`` decay."""
        a_step = self.length // self.hop - 1
        (bands, levels), (bands_before, levels_before) = self.parts(features), self.parts(before)
        a_part = a_step * self.hop // self.part
        return torch.cat(
            [
                _later(bands, bands_before, steps, a_step).flatten(1),
                _later(levels[..., None], levels_before[..., None], steps, a_part)[..., 0],
            ],
            1,
        )

    def frames(self, features: Tensor) -> Tensor:
        """Return frames of domain magnitude; silence is zero."""
        bands, levels = self.parts(features)
        silent, quiet = (self.loudest - RANGE).unbind()
        nepers = [(bands @ self.out_of).flatten(1), levels]
        heard = [
            _over(part, floor, top) for part, floor, top in zip(nepers, (silent, quiet), self.loudest, strict=True)
        ]
        return torch.cat(heard, 1)


def octaves(hertz: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Return clamped octaves from the tilt's pivot."""
    found: npt.NDArray[np.float64] = np.clip(np.log2(np.maximum(hertz, 1.0) / PIVOT_HZ), *OCTAVES)
    return found


def _later(rows: Tensor, before: Tensor, steps: Tensor, step: int) -> Tensor:
    count = rows.shape[1]
    places = torch.arange(count, device=rows.device)
    own = (1 - (places[:, None] - (steps * step)[..., None] - places).abs()).clamp_min(0)
    held = (places + step).clamp_max(count - 1)
    falling = (places + step - held) * (FALL / step)
    return own @ rows + (1 - own.sum(2, keepdim=True)) * (before[:, held] - falling[:, None])


def _over(nepers: Tensor, floor: Tensor, top: Tensor) -> Tensor:
    power = torch.exp(2 * torch.minimum(nepers, top + HIGHEST)) - torch.exp(2 * floor)
    return power.clamp_min(0).sqrt()
