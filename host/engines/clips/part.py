"""The part of a clip that a note plays: from where, how far, in which direction, and where it loops."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .reading import BITS, ONE, Clip, Places, Reader

Array = npt.NDArray[np.float32]


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

    def plain(self, place: int, count: int) -> slice | None:
        """Return where so many samples from a place on are samples of the clip; None where they are not as they are."""
        whole = place >> BITS
        if place & (ONE - 1) or whole + count > (self.loop + self.period or self.length - self.fade):
            return None
        if not self.backwards:
            return slice(self.first + whole, self.first + whole + count)
        last = self.first + self.length - 1 - whole
        return slice(last, last - count if last >= count else None, -1)

    def sound(self, reader: Reader, clip: Clip, places: Places, step: Places, row: int) -> Array:
        """Return what sounds at places, [n], not before the loop's first time around and rising.

        Args:
            step, row: as `Reader.read`.
        """
        if not self.period:
            sound = reader.read(clip, self._of_clip(places), step, row)
            if self.fade and places[-1] >= (self.length - self.fade) << BITS:
                left = ((self.length << BITS) - places) * (1.0 / (self.fade << BITS))
                sound = sound * np.minimum(left, 1.0).astype(np.float32)
            return sound
        begin, turn = self.loop << BITS, self.period << BITS
        since = places - begin
        again = since >= turn
        if not again.any():
            return reader.read(clip, self._of_clip(places), step, row)
        since = np.where(again, since % turn, since)
        sound = reader.read(clip, self._of_clip(begin + since), step, row)
        fading = again & (since < self.cross << BITS)
        if fading.any():
            tail = np.where(fading, begin + turn + since, begin)
            angle = np.where(fading, since, 0) * (np.pi / 2 / (self.cross << BITS))
            before = reader.read(clip, self._of_clip(tail), step, row)
            mixed = sound * np.sin(angle).astype(np.float32) + before * np.cos(angle).astype(np.float32)
            sound = np.where(fading, mixed, sound)
        return sound

    def _of_clip(self, places: Places) -> Places:
        """Return where places lie in the clip."""
        if self.backwards:
            return ((self.first + self.length - 1) << BITS) - places
        return (self.first << BITS) + places
