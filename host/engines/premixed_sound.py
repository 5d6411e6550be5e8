"""Sounds of voices that engines mix ahead of playback."""

from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from .protocol import VoiceSound


@dataclass(slots=True, kw_only=True)
class MixedSound(VoiceSound):
    """``pending`` is the sum of future samples, [channels, samples] from ``origin`` on."""

    origin: int
    pending: Array

    def make_room(self, now: int, end: int) -> None:
        """Extend the sum by silence to sample ``end``; drop samples before ``now``."""
        if end - self.origin <= self.pending.shape[1]:
            return
        done = max(0, now - self.origin)
        self.origin += done
        ahead, length = self.pending[:, done:].copy(), end - self.origin
        if length > self.pending.shape[1]:
            self.pending = np.empty((len(self.pending), 2 * length), np.float32)  # it seldom grows
        self.pending[:, : ahead.shape[1]] = ahead
        self.pending[:, ahead.shape[1] :] = 0

    def block(self, start: int, count: int) -> Array:
        """[channels, count], silent before the note-on."""
        at = start - self.origin
        if self.on <= start:
            return self.pending[:, at : at + count]
        begun = min(self.on - start, count)
        sound = np.zeros((len(self.pending), count), np.float32)
        sound[:, begun:] = self.pending[:, at + begun : at + count]
        return sound
