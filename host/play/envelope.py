"""ADSR envelope as a function of time."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

SHORTEST_SECONDS = 0.001  # shorter ramps click
STEAL_SECONDS = 0.005  # fade of a stolen voice: too short to hear, long enough not to click


@dataclass(slots=True)
class Envelope:
    """Linear attack, cubic decay and release: similar to an exponential, but exactly 0 at the end.

    Times and lengths are in samples: ``attack`` >= 0, ``decay`` and ``release`` >= 1. ``sustain`` is 0 to 1, ``off``
    None while held. With ``closes``, for sounds that decay by themselves, the release follows the fourth root of the
    remaining part.
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
        """First sample of final silence; None while unknown."""
        if self.sustain == 0 and (self.off is None or self.off >= self.on + self.attack + self.decay):
            return self.on + self.attack + self.decay
        return None if self.off is None else self.off + self.release

    def block(self, start: int, count: int) -> np.float32 | Array:
        """Return levels over a block: a scalar if constant, else [count]."""
        settled = self.on + self.attack + (self.decay if self.sustain < 1.0 else 0)  # no decay at full sustain
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
        return float(np.max(self.block(time, 1)))

    def _held(self, start: int, count: int) -> Array:
        top, settled = self.on + self.attack, self.on + self.attack + self.decay
        if top <= start and start + count <= settled:  # the usual case in a decay
            left = (settled - np.arange(start, start + count)) / self.decay
            return (self.sustain + (1.0 - self.sustain) * (left * left * left)).astype(np.float32)
        level = np.full(count, self.sustain, np.float32)
        silent, risen, fallen = (min(max(edge - start, 0), count) for edge in (self.on, top, settled))
        level[:silent] = 0.0
        level[silent:risen] = (np.arange(start + silent, start + risen) - self.on) / self.attack
        left = (settled - np.arange(start + risen, start + fallen)) / self.decay
        level[risen:fallen] = self.sustain + (1.0 - self.sustain) * (left * left * left)
        return level
