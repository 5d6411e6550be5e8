"""Attack time as a feature: decoded clips reach 3 dB below their maximum at the encoded time.

Decoded loudness errs by a decibel or two, which are milliseconds in slow vowels.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .features import logarithm
from .losses import POOLED

RISEN = 3 / 20 * math.log(10)  # nepers below the maximum, as in `metrics.loudness`
FLAT, AROUND = POOLED // 2, 10.0  # parts: full correction over 10 ms, fading to none 20 ms further
MOST = 2 / 20 * math.log(10)  # nepers: larger corrections click
UNDER = 0.05  # nepers, .4 dB: margin below the threshold before the rise, and above it at the rise
DOUBTED = 0.5 / 20 * math.log(10)  # nepers, width of the soft threshold around 3 dB
SURE = 1 - 1e-6  # keeps log(1 - share) finite


def loudness(levels: Tensor) -> Tensor:
    """Return the loudness of 10 ms around each part, in nepers: [clips, points]."""
    power = F.avg_pool1d(torch.exp(2 * levels)[:, None], POOLED, 1, POOLED // 2)[:, 0]
    return logarithm(power)


def risen(levels: Tensor) -> Tensor:
    """Return the part at which each clip first comes within 3 dB of its maximum, [clips, 1].

    The differentiable threshold is half a decibel wide; a pause just below moves the result.
    """
    loud = loudness(levels)
    there = _share(0.5 + (loud - loud.amax(1, keepdim=True) + RISEN) / DOUBTED)
    before = torch.cumsum(torch.log(1 - there * SURE), 1)
    return torch.exp(before).sum(1, keepdim=True)


def made_to_rise(levels: Tensor, parts: Tensor) -> Tensor:
    """Return levels [clips, points] raised by up to 2 dB at a part, [clips, 1], to 3 dB below the maximum.

    Earlier levels are limited to that.
    """
    time = torch.arange(levels.shape[1], dtype=levels.dtype, device=levels.device) - parts
    loud = loudness(levels)
    asked = loud.amax(1, keepdim=True) - RISEN
    there = (loud * (1 - time.abs()).clamp_min(0)).sum(1, keepdim=True)
    near = _share(1 - (time.abs() - FLAT) / AROUND)
    raised = (asked + 2 * UNDER - there).clamp_min(0).clamp_max(MOST) * near
    above = (loud + raised - asked + UNDER).clamp_min(0) * _share(FLAT - 0.5 - time)
    return levels + raised - above


def _share(values: Tensor) -> Tensor:
    return values.clamp_min(0).clamp_max(1)  # both bounds at once cannot be exported
