"""The ADSR envelope as a function of time alone, so that it can be computed for any block."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

SHORTEST_SECONDS = 0.001  # shorter edges would click
STEAL_SECONDS = 0.005  # a stolen voice fades this fast: 5 ms is too short to hear, long enough not to click


@dataclass(slots=True)
class Envelope:
    """Attack (straight), decay and release (cubic, which sounds like an exponential and ends at exactly 0).

    All times in samples: ``on`` is the note-on, ``off`` the release, None while held. ``attack``, ``decay`` and
    ``release`` are lengths >= 1; ``sustain`` is a level 0-1.
    """

    on: int
    attack: int
    decay: int
    sustain: float
    release: int
    off: int | None = None

    @property
    def end(self) -> int | None:
        """First sample from which the envelope is 0 for good, or None while held."""
        settled = self.on + self.attack + self.decay
        if self.sustain == 0 and (self.off is None or self.off >= settled):
            return settled
        return None if self.off is None else self.off + self.release

    def block(self, start: int, count: int) -> np.float32 | Array:
        """Levels at samples ``start`` to ``start + count``: one number where they are all the same, else [count]."""
        settled = self.on + self.attack + self.decay
        if start >= settled and (self.off is None or self.off >= start + count):
            return np.float32(self.sustain)
        time = np.arange(start, start + count)
        if self.off is None:
            return self._held(time)
        level = self._held(np.minimum(time, self.off))
        left = np.clip((self.off + self.release - time) / self.release, 0.0, 1.0)
        return (level * (left * left * left).astype(np.float32)).astype(np.float32)

    def level(self, time: int) -> float:
        """Level at one sample."""
        return float(np.max(self.block(time, 1)))

    def _held(self, time: npt.NDArray[np.int64]) -> Array:
        rise = np.clip((time - self.on) / self.attack, 0.0, 1.0)
        left = np.clip((self.on + self.attack + self.decay - time) / self.decay, 0.0, 1.0)
        fall = self.sustain + (1.0 - self.sustain) * (left * left * left)
        return np.where(time < self.on + self.attack, rise, fall).astype(np.float32)
