"""The moment at which a clip's loudness has risen, as a number of its own: told so, attacks stand where they stood.

Most of a course of loudness is told by some numbers that leave each moment a decibel or two off. Where a vowel's
loudness climbs by half a decibel in a millisecond, that moves the moment at which it comes within 3 dB of its loudest
by some milliseconds. So that moment is encoded and decoded beside, and loudness is raised to 3 dB there, and held below
before it.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .losses import POOLED

RISEN = 3 / 20 * math.log(10)  # nepers under the loudest moment, as `metrics.loudness` has it
FLAT, AROUND = POOLED // 2, 10.0  # parts: as far as ten milliseconds reach, all are corrected alike; 20 ms on, none
MOST = 2 / 20 * math.log(10)  # nepers: more would be a click of its own
UNDER = 0.05  # nepers, .4 dB: loudness is held so far under that before it rises, and raised beyond as it does
LEAST = 1e-12  # power
DOUBTED = 0.5 / 20 * math.log(10)  # nepers around 3 dB in which a part has risen in part
SURE = 1 - 1e-6  # of a part that has risen: its logarithm is taken


def loudness(levels: Tensor) -> Tensor:
    """Return loudness of ten milliseconds around each part, in nepers, of levels of parts: [clips, points] both."""
    power = F.avg_pool1d(torch.exp(2 * levels)[:, None], POOLED, 1, POOLED // 2)[:, 0]
    return 0.5 * torch.log(power.clamp_min(LEAST))


def risen(levels: Tensor) -> Tensor:
    """Return the number of the part at which each clip first lies within 3 dB of its loudest, [clips, 1].

    It moves with the levels without a jump: each part is taken for the first by how far it has come through half a
    decibel around that, and by how little the parts before it had. Where loudness stops just short of it and goes on
    later, the moment lies between.
    """
    loud = loudness(levels)
    there = _share(0.5 + (loud - loud.amax(1, keepdim=True) + RISEN) / DOUBTED)
    before = torch.cumsum(torch.log(1 - there * SURE), 1)
    return torch.exp(before).sum(1, keepdim=True)


def made_to_rise(levels: Tensor, parts: Tensor) -> Tensor:
    """Return levels of parts, [clips, points], as they are when they have risen at a part, [clips, 1], and not before.

    There they are raised to 3 dB under the loudest, by 2 dB at the most, and less with each part around; before it they
    are lowered to that where they lie above.
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
