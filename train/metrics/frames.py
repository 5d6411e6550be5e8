"""Distances of mel spectra to the nearest frames of recordings."""

from collections.abc import Sequence

import numpy as np

from ...host.arrays import Array, Integers
from ...host.resynthesis.log_mel import FRAME, mel
from ...host.stft import window

LOWEST_DB = -80.0  # of full scale, the floor: drums mask softer sound
TOGETHER = 4096  # spectra in memory at once: 32 MB
CELLS = 1 << 24  # distances in memory at once: 64 MB
QUANTILE = 0.99  # of the distances between recordings: those of their own rarest moments


def mel_frames(sound: Array, rate: int, hop: int) -> Array:
    """Return mel levels of a sound [samples] in dB of full scale, -80 at least: [1 + samples // hop, 64].

    Hann windows of 1024 samples are centred from the first sample on. A full-scale sine has about 0 dB in its band.
    """
    shape = window("hann", FRAME)
    padded = np.pad(sound.astype(np.float32, copy=False), FRAME // 2)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::hop]
    weights = mel(rate) / np.maximum(mel(rate).max(0), 1e-12)
    levels = np.empty((len(pieces), weights.shape[1]), np.float32)
    for first in range(0, len(pieces), TOGETHER):
        spectra = np.fft.rfft(pieces[first : first + TOGETHER] * shape)
        power = (np.square(spectra.real) + np.square(spectra.imag)) @ weights * (2 / shape.sum()) ** 2
        levels[first : first + TOGETHER] = 10 * np.log10(np.maximum(power, 10 ** (LOWEST_DB / 10)))
    return levels


class KnownFrames:
    """The mel frames of two or more clips [samples], ``hop`` samples apart.

    ``threshold_db``: 99th percentile of distances from a frame to the nearest of another clip.
    """

    def __init__(self, clips: Sequence[Array], rate: int, hop: int) -> None:
        self.rate, self.hop = rate, hop
        frames = [mel_frames(clip, rate, hop) for clip in clips]
        self._frames = np.concatenate(frames)
        owners = np.repeat(np.arange(len(frames)), [len(part) for part in frames])
        self.threshold_db = float(np.quantile(self._nearest(self._frames, owners, owners), QUANTILE))

    def distances_db(self, sound: Array) -> Array:
        """Return each frame's RMS distance to the nearest known frame."""
        return self._nearest(mel_frames(sound, self.rate, self.hop))

    def share_within(self, sound: Array) -> float:
        return float(np.mean(self.distances_db(sound) <= self.threshold_db))

    def _nearest(self, frames: Array, mine: Integers | None = None, owners: Integers | None = None) -> Array:
        """Squares are expanded around the levels' middle, where they are small and so exact."""
        known = self._frames - np.float32(LOWEST_DB / 2)
        squares = np.square(known).sum(1)
        nearest = np.empty(len(frames), np.float32)
        step = max(1, CELLS // len(known))
        for first in range(0, len(frames), step):
            part = frames[first : first + step] - np.float32(LOWEST_DB / 2)
            apart = np.square(part).sum(1)[:, np.newaxis] - 2 * (part @ known.T) + squares
            if mine is not None and owners is not None:
                apart[mine[first : first + step, np.newaxis] == owners] = np.inf
            nearest[first : first + step] = apart.min(1)
        distances: Array = np.sqrt(np.maximum(nearest, 0) / known.shape[1])
        return distances
