"""Path simplification of code sequences (Douglas-Peucker), and median smoothing."""

import heapq

import numpy as np

from ..arrays import Doubles

SAME = 0.01  # deviations: a path within this error of all codes needs no more points
AT_ONCE = 1024  # frames filtered at once: limits memory for long sounds


def simplified(seconds: Doubles, codes: Doubles, count: int) -> list[int]:
    """Frames, increasing, to keep for a piecewise linear path through [frames, n] codes in deviations.

    Douglas and Peucker (1973, Algorithms for the reduction of the number of points), splitting the worst line first,
    until ``count`` frames are kept or all errors are within `SAME`. ``seconds``, [frames], at least two, increase.
    """

    def leg(start: int, end: int) -> tuple[float, int, int, int]:
        between = slice(start + 1, end)
        line = drawn(seconds[between], seconds[[start, end]], codes[[start, end]])
        distances = np.sqrt(np.square(codes[between] - line).sum(axis=1))
        worst = int(distances.argmax()) if len(distances) else 0
        return -float(distances[worst]) if len(distances) else 0.0, start, start + 1 + worst, end

    legs = [leg(0, len(codes) - 1)]
    kept = {0, len(codes) - 1}
    while len(kept) < count and -legs[0][0] > SAME:
        _, start, middle, end = heapq.heappop(legs)
        kept.add(middle)
        heapq.heappush(legs, leg(start, middle))
        heapq.heappush(legs, leg(middle, end))
    return sorted(kept)


def smoothed(codes: Doubles, frames: float) -> Doubles:
    """Running median of each latent over about ``frames``, [frames, n]."""
    side = round(frames / 2)
    padded = np.pad(codes, ((side, side), (0, 0)), mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1, axis=0)
    parts = [np.median(views[first : first + AT_ONCE], axis=2) for first in range(0, len(codes), AT_ONCE)]
    return np.concatenate(parts)


def drawn(seconds: Doubles, times: Doubles, path: Doubles) -> Doubles:
    """Interpolate a path linearly at times, [seconds, n]."""
    return np.stack([np.interp(seconds, times, latent) for latent in path.T], axis=1)
