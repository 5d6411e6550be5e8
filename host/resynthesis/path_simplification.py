"""Paths through the codes of a sound: few of them, between which straight lines come near to all."""

import heapq

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

SAME = 0.01  # deviations: a path that is as near as this to all codes needs no more points
AT_ONCE = 1024  # frames looked at together, so that a long sound needs no more memory


def simplified(seconds: Doubles, codes: Doubles, count: int) -> list[int]:
    """Return which frames to keep so that straight lines between them come near to all.

    Begins with the first and the last and adds the frame that is farthest from its line, as Douglas and Peucker do
    (1973, Algorithms for the reduction of the number of points), but the worst of all lines first, until ``count`` are
    kept or all are as near as makes no difference.

    Args:
        seconds: when each frame is, rising, [frames], at least two.
        codes: [frames, n], in units in which 1 is a deviation.

    Returns:
        Numbers of frames, rising.
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
    """Return the median of each latent over about as many frames as given, [frames, n]."""
    side = round(frames / 2)
    padded = np.pad(codes, ((side, side), (0, 0)), mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1, axis=0)
    parts = [np.median(views[first : first + AT_ONCE], axis=2) for first in range(0, len(codes), AT_ONCE)]
    return np.concatenate(parts)


def drawn(seconds: Doubles, times: Doubles, path: Doubles) -> Doubles:
    """Return where a path of straight lines is, [seconds, n]."""
    return np.stack([np.interp(seconds, times, latent) for latent in path.T], axis=1)
