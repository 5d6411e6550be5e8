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

    All times in samples: ``on`` is the note-on, ``off`` the release, None while held. ``decay`` and ``release`` are
    lengths >= 1, and so is ``attack``, or it is 0: full level at once; ``sustain`` is a level 0-1. A release that
    ``closes`` only ends what falls by itself: it hardly falls until its end (the fourth root of what is left).
    """

    on: int
    attack: int
    decay: int
    sustain: float
    release: int
    off: int | None = None
    closes: bool = False

    @property
    def end(self) -> int | None:
        """Return the first sample from which the envelope is 0 for good, or None while held."""
        if self.sustain == 0 and (self.off is None or self.off >= self.on + self.attack + self.decay):
            return self.on + self.attack + self.decay
        return None if self.off is None else self.off + self.release

    def block(self, start: int, count: int) -> np.float32 | Array:
        """Return levels at samples ``start`` to ``start + count``: one number where all are the same, else [count]."""
        settled = self.on + self.attack + (self.decay if self.sustain < 1.0 else 0)  # a decay to full level is none
        if start >= settled and (self.off is None or self.off >= start + count):
            return np.float32(self.sustain)
        if self.off is None:
            return self._held(start, count)
        held = min(max(self.off - start, 0), count)
        level = np.empty(count, np.float32)
        if held:
            level[:held] = self._held(start, held)
        left = np.clip((self.off + self.release - np.arange(start + held, start + count)) / self.release, 0.0, 1.0)
        fallen = np.sqrt(np.sqrt(left)) if self.closes else left * left * left
        level[held:] = self._held(self.off, 1) * fallen.astype(np.float32)
        return level

    def level(self, time: int) -> float:
        """Return the level at one sample."""
        return float(np.max(self.block(time, 1)))

    def _held(self, start: int, count: int) -> Array:
        """Return the levels of a note that is held, [count]; each part is computed only where it lies."""
        top, settled = self.on + self.attack, self.on + self.attack + self.decay
        if top <= start and start + count <= settled:  # as most blocks of a note that decays
            left = (settled - np.arange(start, start + count)) / self.decay
            return (self.sustain + (1.0 - self.sustain) * (left * left * left)).astype(np.float32)
        level = np.full(count, self.sustain, np.float32)
        silent, risen, fallen = (min(max(edge - start, 0), count) for edge in (self.on, top, settled))
        level[:silent] = 0.0
        level[silent:risen] = (np.arange(start + silent, start + risen) - self.on) / self.attack
        left = (settled - np.arange(start + risen, start + fallen)) / self.decay
        level[risen:fallen] = self.sustain + (1.0 - self.sustain) * (left * left * left)
        return level
