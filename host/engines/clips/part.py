"""The part of a clip that a note plays: from where, how far, in which direction, and where it loops."""

from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .reading import BITS, Clip, Places, Request, Stretch

Array = npt.NDArray[np.float32]
Asked = list[Request] | list[Stretch]
Sounds = Generator[Asked, list[Array], list[Array]]  # asks to read clips, is given what they have, and returns


class Part(NamedTuple):
    """A part of a clip, in samples of it; places in it count from where it begins to sound, in parts of a sample.

    ``period`` is 0 where it does not loop. Else it goes on at ``loop`` after every ``period`` samples from there,
    while its last ``cross`` samples fade out over the first of the loop. ``fade`` is how long its end fades.
    """

    first: int
    length: int
    backwards: bool
    fade: int
    loop: int = 0
    period: int = 0
    cross: int = 0

    @classmethod
    def of(cls, whole: int, values: dict[str, float], loops: bool, sample_rate: int, fade: int) -> "Part":
        """Return the part of a clip of ``whole`` samples that the targets' ``values`` say, by their names."""
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
        """Return the place of the first time around the loop, or the second, that sounds as a place does."""
        turn, since = self.period << BITS, place - (self.loop << BITS)
        return place if not self.period or since < turn else (self.loop << BITS) + turn + since % turn

    def inside(self, place: int, step: int, count: int) -> int:
        """Return how many of so many samples from a place on it has, where places lie a step apart: all in a loop."""
        if self.period:
            return count
        return max(0, min(count, -((place - (self.length << BITS)) // step)))

    def straight(self, place: int, step: int, count: int) -> tuple[int, int] | None:
        """Return the first place in the clip and the step there of so many places, a step apart, from a place on.

        None where one of them is not to be heard as it is in the clip, or is not after the one before.
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

    def sound(self, clips: Sequence[Clip], places: Places, step: Places, row: int) -> Sounds:
        """Ask for what is needed, and return what sounds of each clip at places, [n].

        Args:
            places: rising; where it loops, from one that is `wrapped`.
            step, row: as of `Request`.
        """
        if not self.period:
            sounds = yield self._requests(clips, places, step, row)
            if self.fade and places[-1] >= (self.length - self.fade) << BITS:
                left = ((self.length << BITS) - places) * (1.0 / (self.fade << BITS))
                sounds = [sound * np.minimum(left, 1.0).astype(np.float32) for sound in sounds]
            return sounds
        begin, turn, cross = self.loop << BITS, self.period << BITS, self.cross << BITS
        since = places - begin
        again = since >= turn
        since = np.where(again, since % turn, since)
        fading = again & (since < cross)
        heads = self._requests(clips, begin + since, step, row)
        if not fading.any():
            return (yield heads)
        tails = self._requests(clips, np.where(fading, begin + turn + since, begin), step, row)
        sounds = yield [*heads, *tails]
        angle = np.where(fading, since, 0) * (np.pi / 2 / cross)
        rise, fall = np.sin(angle).astype(np.float32), np.cos(angle).astype(np.float32)
        pairs = zip(sounds[: len(clips)], sounds[len(clips) :], strict=True)
        return [np.where(fading, head * rise + tail * fall, head) for head, tail in pairs]

    def _requests(self, clips: Sequence[Clip], places: Places, step: Places, row: int) -> list[Request]:
        places = self._of_clip(places)
        return [Request(clip, places, step, row) for clip in clips]

    def _of_clip(self, places: Places) -> Places:
        """Return where places lie in the clip."""
        if self.backwards:
            return ((self.first + self.length - 1) << BITS) - places
        return (self.first << BITS) + places
