"""Clip segments: start, length, direction and loop of a note's playback."""

from typing import NamedTuple

import numpy as np

from ...arrays import Array
from .resampled_clip import ResampledClip
from .resampling import BITS, Places, Request


class ClipSegment(NamedTuple):
    """Counts in samples; fixed-point positions count from its first played sample."""

    first: int
    length: int
    backwards: bool
    fade: int  # samples of the final fade-out
    loop: int = 0  # returns here after each ``period`` samples
    period: int = 0  # 0 without a loop
    cross: int = 0  # samples at its end that fade out over its first ones

    @classmethod
    def of(cls, whole: int, values: dict[str, float], loops: bool, sample_rate: int, fade: int) -> "ClipSegment":
        first = min(round(values["clip.start"] * whole), whole - 1)
        length = max(1, min(round(values["clip.length"] * whole), whole - first))
        backwards = values["clip.reverse"] >= 0.5
        if not loops:
            as_recorded = not backwards and first + length == whole
            return cls(first, length, backwards, 0 if as_recorded else min(fade, length // 2))
        loop = min(round(values["clip.loop_start"] * length), length - 1)
        cross = min(round(values["clip.crossfade_seconds"] * sample_rate), (length - loop) // 2)
        return cls(first, length, backwards, 0, loop, length - loop - cross, cross)

    def wrapped(self, place: int) -> int:
        """Equivalent position in the loop's first two passes."""
        turn, since = self.period << BITS, place - (self.loop << BITS)
        return place if not self.period or since < turn else (self.loop << BITS) + turn + since % turn

    def inside(self, place: int, step: int, count: int) -> int:
        """Count positions in the segment, ``step`` apart."""
        if self.period:
            return count
        return max(0, min(count, -((place - (self.length << BITS)) // step)))

    def straight(self, place: int, step: int, count: int) -> tuple[int, int] | None:
        """Clip position and step of ``count`` positions, ``step`` apart; None if one is faded or crossfaded, or the
        loop restarts.
        """
        last = place + step * (count - 1)
        if last >= (self.loop + self.period if self.period else self.length - self.fade) << BITS:
            turn, since = self.period << BITS, (self.loop + self.period) << BITS
            if not self.period or place - since < self.cross << BITS or last - since >= turn:
                return None
            place -= turn
        if self.backwards:
            return ((self.first + self.length - 1) << BITS) - place, -step
        return (self.first << BITS) + place, step

    def ahead(self, place: int, step: int) -> int:
        """Number of `straight` positions from ``place`` on, ``step`` apart."""
        end = (self.loop + self.period if self.period else self.length - self.fade) << BITS
        if self.period and place >= end + (self.cross << BITS):
            end += self.period << BITS
        return max(0, -((place - end) // step))

    def asks(
        self, clip: ResampledClip, coming: ResampledClip | None, share: Array | None, places: Places, step: Places
    ) -> list[tuple[Request, int, Array | None]]:
        """Requests, first places and weights, [n] each, whose weighted sum is the sound at ``places``, [n].

        ``places`` rise, in a loop from a `wrapped` position on.
        """
        if not self.period:
            weight = None
            if self.fade and places[-1] >= (self.length - self.fade) << BITS:
                left = ((self.length << BITS) - places) * (1.0 / (self.fade << BITS))
                weight = np.minimum(left, 1.0).astype(np.float32)
            return [(Request(clip, self._of_clip(places), step, coming, share), 0, weight)]
        begin, turn, cross = self.loop << BITS, self.period << BITS, self.cross << BITS
        since = places - begin
        again = since >= turn
        since = np.where(again, since % turn, since)
        fading = again & (since < cross)
        head = Request(clip, self._of_clip(begin + since), step, coming, share)
        if not fading.any():
            return [(head, 0, None)]
        angle = np.where(fading, since, 0) * (np.pi / 2 / cross)
        rise = np.where(fading, np.sin(angle), 1.0).astype(np.float32)
        fall = np.where(fading, np.cos(angle), 0.0).astype(np.float32)
        there = np.flatnonzero(fading)
        first, last = int(there[0]), int(there[-1]) + 1
        late = begin + turn + np.where(fading, since, 0)[first:last]
        tail = Request(
            clip,
            self._of_clip(late),
            step if len(step) == 1 else step[first:last],
            coming,
            None if share is None else share[first:last],
        )
        return [(head, 0, rise), (tail, first, fall[first:last])]

    def _of_clip(self, places: Places) -> Places:
        if self.backwards:
            return ((self.first + self.length - 1) << BITS) - places
        return (self.first << BITS) + places
