"""Envelope of a note: its level at the attack, decay, sustain and release."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..arrays import Array

SHORTEST_SECONDS = 0.001  # shorter ramps click


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
                decay_share = min(max((self.decay - past) / self.decay, 0.0), 1.0)
                self._left = np.float32(self.sustain + (1.0 - self.sustain) * (decay_share * decay_share * decay_share))
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
    phases, times = [envelope.phase(start, start + count) for envelope in envelopes], np.arange(start, start + count)
    for phase in set(phases):
        if phases.count(phase) == len(phases):  # the usual case
            levels[:] = phase(envelopes, times)
            break
        rows = [row for row, row_phase in enumerate(phases) if row_phase is phase]
        levels[rows] = phase([envelopes[row] for row in rows], times)
    return levels


def _settled(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    return np.array([[envelope.sustain] for envelope in envelopes], np.float32)


def _decaying(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    settled = _column([envelope.on + envelope.attack + envelope.decay for envelope in envelopes])
    sustain = _column([envelope.sustain for envelope in envelopes])
    shares = np.clip((settled - times) / _column([envelope.decay for envelope in envelopes]), 0.0, 1.0)
    level: Array = (sustain + (1.0 - sustain) * (shares * shares * shares)).astype(np.float32)
    return level


def _held(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    onsets, attack = (
        _column([envelope.on for envelope in envelopes]),
        _column([envelope.attack for envelope in envelopes]),
    )
    risen = (np.maximum(times - onsets, 0.0) / np.maximum(attack, 1.0)).astype(np.float32)
    return np.where(times < onsets + attack, risen, _decaying(envelopes, times))


def _released(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    ends = _column([envelope.off + envelope.release for envelope in envelopes if envelope.off is not None])
    shares = np.clip((ends - times) / _column([envelope.release for envelope in envelopes]), 0.0, 1.0)
    fallen = shares * shares * shares
    closing = [row for row, envelope in enumerate(envelopes) if envelope.closes]
    if closing:
        fallen[closing] = np.sqrt(np.sqrt(shares[closing]))
    level: Array = np.array([[envelope.left()] for envelope in envelopes]) * fallen.astype(np.float32)
    return level


def _turning(envelopes: Sequence[Envelope], times: npt.NDArray[np.int64]) -> Array:
    offs = _column([envelope.off for envelope in envelopes if envelope.off is not None])
    return np.where(times < offs, _held(envelopes, times), _released(envelopes, times))


def _column(values: Sequence[float]) -> npt.NDArray[np.float64]:
    return np.array(values, np.float64)[:, np.newaxis]
