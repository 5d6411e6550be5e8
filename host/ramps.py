"""Parameter ramps: values that glide without steps; controller curves."""

import functools
from bisect import bisect_right
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

RAMP_SECONDS = 0.02  # long enough to hide the 128 steps of a knob, short enough to feel immediate
MOST_LOOPED = 8  # up to so many times, a loop is faster than arrays


class _Segment(NamedTuple):
    start: int
    length: float
    first: float
    last: float

    def value(self, time: int) -> float:
        """One number of `_glide`, ten times as fast."""
        progress = min(max((time - self.start) / self.length, 0.0), 1.0)
        return self.first + (self.last - self.first) * progress if progress < 1.0 else self.last


_start = attrgetter("start")


class Ramp:
    """A value that glides to its target.

    Moves keep the past: blocks are computed after all their events, with equal numbers for any block size.
    """

    def __init__(self, value: float, ramp_samples: int) -> None:
        self._ramp_samples = max(1, ramp_samples)
        self._segments = [_Segment(0, 1, value, value)]

    def copy(self) -> "Ramp":
        ramp_copy = Ramp(0.0, self._ramp_samples)
        ramp_copy._segments = list(self._segments)
        return ramp_copy

    @property
    def segments(self) -> list[_Segment]:
        """[start, length, first, last] of each glide, the earliest first; read only."""
        return self._segments

    @property
    def target(self) -> float:
        return self._segments[-1].last

    def move(self, time: int, value: float, samples: float | None = None) -> None:
        """Glide to ``value`` from sample ``time`` on, in ``samples`` > 0 or the ramp's own; times never decrease."""
        last_segment = self._segments[-1]
        if value == last_segment.last:
            return
        start_value = last_segment.value(time)
        self._segments.append(_Segment(time, samples or self._ramp_samples, start_value, value))

    def jump(self, time: int, value: float) -> None:
        """Set ``value`` from sample ``time`` on, where a step is inaudible."""
        self._segments.append(_Segment(time, 1, value, value))

    def settle(self, time: int) -> None:
        """Have the target from sample ``time`` on, also where moves since then are on their way: nobody hears it."""
        start_sample, length, first_value, target = self._segments[-1]
        if start_sample <= time and (first_value == target or start_sample + length <= time):
            return
        while len(self._segments) > 1 and self._segments[-1].start >= time:
            del self._segments[-1]
        self.jump(time, target)

    def value(self, time: int) -> float:
        """Value at a sample, bit-identical to `values`."""
        if len(self._segments) == 1:
            start_sample, length, _, end_value = segment = self._segments[0]
            return end_value if time - start_sample >= length else segment.value(time)
        return self._segments[max(0, bisect_right(self._segments, time, key=_start) - 1)].value(time)

    def values(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Values at times, [times], in any order, none before the last `forget`."""
        if len(times) <= MOST_LOOPED:
            return np.array([self.value(time) for time in times.tolist()], np.float64)
        if len(self._segments) == 1:
            return _glide(times, *self._segments[0])
        segment_columns = [np.array(column) for column in zip(*self._segments, strict=True)]
        segment_indices = np.maximum(np.searchsorted(segment_columns[0], times, side="right") - 1, 0)
        return _glide(times, *(column[segment_indices] for column in segment_columns))

    def under_way(self, time: int) -> tuple[float, float, float]:
        """Value at a sample, target of the glide there, and its samples left, at least 1; none before `forget`."""
        start_sample, length, _, target = self._segments[max(0, bisect_right(self._segments, time, key=_start) - 1)]
        return self.value(time), target, max(1.0, start_sample + length - time)

    def has_settled(self, time: int) -> bool:
        """Return whether the value is constant from a sample on."""
        first_segment = self._segments[0]
        return len(self._segments) == 1 and time >= first_segment.start + first_segment.length

    def block(self, start: int, count: int) -> np.float32 | npt.NDArray[np.float32]:
        """[count], or a scalar if constant."""
        if self.has_settled(start):
            return np.float32(self.target)
        return self.values(np.arange(start, start + count)).astype(np.float32)

    def forget(self, time: int) -> None:
        """Drop the segments that have ended before ``time``."""
        while len(self._segments) > 1 and self._segments[1].start <= time:
            del self._segments[0]


def _glide(time: Any, start: Any, length: Any, first: Any, last: Any) -> npt.NDArray[np.float64]:
    """Values at ``time`` of segments that go from ``first`` to ``last`` within ``length``."""
    progress = np.clip((time - start) / length, 0.0, 1.0)
    return np.where(progress < 1.0, first + (last - first) * progress, last)


@functools.lru_cache(maxsize=4096)  # controllers repeat the same values
def knob(value: int, low: float, high: float, curve: float, top: int = 127) -> float:
    """Map a controller value, 0 to ``top``, to ``low + (high - low) * (value / top) ** curve``.

    Ends are exact, and rounding never leaves the range: effects refuse values outside.
    """
    return position_to_value(value / top, low, high, curve)


def nudge(value: float, steps: int, low: float, high: float, curve: float) -> float:
    """Move a controller by ``steps`` 127ths of its travel, clamped."""
    if low == high:
        return low
    position = min(max((value - low) / (high - low), 0.0), 1.0) ** (1 / curve)
    return position_to_value(min(max(position + steps / 127, 0.0), 1.0), low, high, curve)


def position_to_value(position: float, low: float, high: float, curve: float) -> float:
    """As `knob`, for a position from 0 to 1."""
    weight = float(position**curve)
    value = low * (1.0 - weight) + high * weight
    return min(max(value, min(low, high)), max(low, high))
