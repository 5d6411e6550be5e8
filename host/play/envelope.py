"""ADSR envelope as a function of time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..arrays import Array

SHORTEST_SECONDS = 0.001  # shorter ramps click
STEAL_SECONDS = 0.005  # fade of a stolen voice: too short to hear, long enough not to click


@dataclass(slots=True)
class Envelope:
    """Linear attack, cubic decay and release: similar to an exponential, but exactly 0 at the end.

    Samples: ``attack`` >= 0, ``decay`` and ``release`` >= 1. ``sustain`` is 0 to 1, ``off`` None while held. With
    ``closes``, for sounds that decay by themselves, the release follows the fourth root of the remaining part.
    """

    on: int
    attack: int
    decay: int
    sustain: float
    release: int
    off: int | None = None
    closes: bool = False
    _left: np.float32 | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def end(self) -> int | None:
        """First sample of final silence; None while unknown."""
        if self.sustain == 0 and (self.off is None or self.off >= self.on + self.attack + self.decay):
            return self.on + self.attack + self.decay
        return None if self.off is None else self.off + self.release

    def left(self) -> np.float32:
        """Level at the note-off: one of `_held`'s numbers, but sooner."""
        if self._left is None:
            assert self.off is not None
            past = self.off - self.on - self.attack
            if past < 0:
                self._left = np.float32(max(self.off - self.on, 0) / self.attack)
            else:
                rest = min(max((self.decay - past) / self.decay, 0.0), 1.0)
                self._left = np.float32(self.sustain + (1.0 - self.sustain) * (rest * rest * rest))
        return self._left

    def phase(self, start: int, end: int) -> "Phase":
        """The quickest function for samples ``start`` to ``end``."""
        if self.off is not None and self.off < end:
            return _turning if self.off > start else _released
        top = self.on + self.attack
        settled = top + self.decay if self.sustain < 1.0 else top  # no decay at full sustain
        if start >= settled:
            return _settled
        return _decaying if start >= top and end <= settled else _held


Phase = Callable[[Sequence[Envelope], npt.NDArray[np.int64]], Array]  # envelopes and samples → their levels


def envelope_levels(envelopes: Sequence[Envelope], start: int, count: int) -> Array:
    """Levels of notes over a block, [envelopes, count]."""
    levels = np.empty((len(envelopes), count), np.float32)
    phases, times = [one.phase(start, start + count) for one in envelopes], np.arange(start, start + count)
    for phase in set(phases):
        if phases.count(phase) == len(phases):  # the usual case
            levels[:] = phase(envelopes, times)
            break
        which = [row for row, other in enumerate(phases) if other is phase]
        levels[which] = phase([envelopes[row] for row in which], times)
    return levels


def _settled(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    return np.array([[one.sustain] for one in envelopes], np.float32)


def _decaying(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    settled = _column([one.on + one.attack + one.decay for one in envelopes])
    sustain = _column([one.sustain for one in envelopes])
    rest = np.clip((settled - times) / _column([one.decay for one in envelopes]), 0.0, 1.0)
    level: Array = (sustain + (1.0 - sustain) * (rest * rest * rest)).astype(np.float32)
    return level


def _held(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    on, attack = _column([one.on for one in envelopes]), _column([one.attack for one in envelopes])
    risen = (np.maximum(times - on, 0.0) / np.maximum(attack, 1.0)).astype(np.float32)
    return np.where(times < on + attack, risen, _decaying(envelopes, times))


def _released(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    ends = _column([one.off + one.release for one in envelopes if one.off is not None])
    rest = np.clip((ends - times) / _column([one.release for one in envelopes]), 0.0, 1.0)
    fallen = rest * rest * rest
    closing = [row for row, one in enumerate(envelopes) if one.closes]
    if closing:
        fallen[closing] = np.sqrt(np.sqrt(rest[closing]))
    level: Array = np.array([[one.left()] for one in envelopes]) * fallen.astype(np.float32)
    return level


def _turning(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    offs = _column([one.off for one in envelopes if one.off is not None])
    return np.where(times < offs, _held(envelopes, times), _released(envelopes, times))


def _column(values: Sequence[float]) -> npt.NDArray[np.float64]:
    return np.array(values, np.float64)[:, np.newaxis]
