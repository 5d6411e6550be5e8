"""Clip extraction: finds the part of a sound for a model of clips."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..arrays import Array

STEP_SECONDS = 0.005  # resolution of the level
QUIET = 10 ** (-40 / 20)  # of the loudest step: quieter steps precede the onset


class ExtractedClip(NamedTuple):
    samples: Array  # [frame_length]
    first: int  # sample in the sound
    length: int  # samples of the sound


def whole_clip(blocks: Iterable[Array], again: Iterable[Array], length: int, rate: int) -> ExtractedClip:
    """``length`` samples of a sound at ``rate`` Hz, padded with silence.

    A longer sound is cut at the onset of its loudest sound, after the last quiet step before the peak, and keeps the
    peak. ``blocks`` and ``again`` yield the sound, [n] a block.
    """
    step = max(1, round(STEP_SECONDS * rate))
    levels, total = _levels(blocks, step)
    first = 0 if total <= length else min(_onset(levels, length // step) * step, total - 1)
    samples, at = np.zeros(length, np.float32), 0
    for block in again:
        piece = block[max(0, first - at) : max(0, first + length - at)]
        begin = max(0, at - first)
        samples[begin : begin + len(piece)] = piece
        at += len(block)
    return ExtractedClip(samples, first, total)


def _levels(blocks: Iterable[Array], step: int) -> tuple[Array, int]:
    found, waiting, total = [], np.zeros(0, np.float32), 0
    for block in blocks:
        waiting, total = np.concatenate([waiting, block]), total + len(block)
        whole = len(waiting) // step * step
        found.append(np.square(waiting[:whole].reshape(-1, step)).mean(axis=1))
        waiting = waiting[whole:]
    if len(waiting):
        found.append(np.array([np.square(waiting).mean()]))
    return np.sqrt(np.concatenate([*found, np.zeros(1)])).astype(np.float32), total


def _onset(levels: Array, most: int) -> int:
    loudest = int(levels.argmax())
    quiet = np.flatnonzero(levels[:loudest] < QUIET * levels[loudest])
    begun = int(quiet[-1]) + 1 if len(quiet) else 0
    return max(begun, loudest - math.floor(0.9 * most))
