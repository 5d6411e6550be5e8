"""Finds in a sound the part that is a clip: as long as a model's clips are."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

STEP_SECONDS = 0.005  # in which a sound's level is told
QUIET = 10 ** (-40 / 20)  # of the loudest: before it is louder than that, it has not begun


class Whole(NamedTuple):
    """A clip's samples, [frame_length], where it lies in its sound, and how long that is in samples."""

    samples: Array
    first: int
    length: int


def whole_clip(blocks: Iterable[Array], again: Iterable[Array], length: int, rate: int) -> Whole:
    """Return the part of a sound that is a clip.

    A shorter sound is the beginning of it, and silence follows. Of a longer one it begins where the loudest sound
    begins: after the last time that it was quiet before its loudest moment, which is inside.

    Args:
        blocks: the sound, [n] each.
        again: the same once more; neither is kept in memory.
        length: of the clip, in samples.
        rate: of all, in Hz.
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
    return Whole(samples, first, total)


def _levels(blocks: Iterable[Array], step: int) -> tuple[Array, int]:
    """Return the root mean square of each step, and the number of samples."""
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
    """Return the step in which the loudest sound begins, less than ``most`` steps before its loudest moment."""
    loudest = int(levels.argmax())
    quiet = np.flatnonzero(levels[:loudest] < QUIET * levels[loudest])
    begun = int(quiet[-1]) + 1 if len(quiet) else 0
    return max(begun, loudest - math.floor(0.9 * most))
