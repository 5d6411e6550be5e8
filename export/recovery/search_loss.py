"""Distance of decoded frames to target sounds."""

from collections.abc import Callable, Sequence

import librosa
import torch
from torch import Tensor
from torch.nn import functional as F

from ..kinds.search_view import TargetSound, View

BANDS = 64  # mel bands, as in the evaluation of sounds
SOFTEST = 1e-4  # power below a sound's loudest band, -40 dB: softer is masked
LEVELS, FINE = 1.0, 1.0  # weights: of a root mean square of 10 dB, and of all single amplitudes

Further = Callable[[Tensor, Tensor], Tensor]  # decoded frames and their target indices → residuals [rows, m]


class FrameDistance:
    """Compares frames with targets by amplitudes, at equal energy unless gain counts."""

    def __init__(self, view: View, targets: Sequence[TargetSound], further: Further | None = None) -> None:
        self._view, self._further = view, further
        self._target = self._levelled(torch.stack([target.amplitudes for target in targets]))
        bands = min(BANDS, view.length // 4)
        mel = librosa.filters.mel(sr=view.card.sample_rate, n_fft=view.length, n_mels=bands)
        self._mel = torch.from_numpy(mel.T[:, mel.any(1)].copy())
        power = self._target.square() @ self._mel
        self._loudest = power.amax((1, 2), keepdim=True).clamp_min(1e-12)
        self._levels = _log_levels(power, self._loudest)
        roots = self._target.sqrt()
        self._size = roots.square().sum((1, 2), keepdim=True).sqrt().clamp_min(1e-12)
        self._roots = roots / self._size
        envelopes = [target.envelope for target in targets if target.envelope is not None]
        self._envelope = _envelope_levels(torch.stack(envelopes)) if envelopes else None

    def difference(self, frames: Tensor, which: Tensor, pooled: int = 1) -> Tensor:
        """Return the mean absolute difference of amplitudes, relative to the target's mean, [rows].

        (Keyes et al. 2020, equation 1; the divisor does not move the minimum.)

        Args:
            frames: decoded, [rows, frame_width].
            which: target indices, [rows].
            pooled: size of average pooling, which removes local minima.
        """
        given, asked = self._levelled(self._view.decoded(frames)), self._target[which]
        if pooled > 1:
            size = (min(pooled, given.shape[1]), pooled)
            given, asked = (F.avg_pool2d(part[:, None], size, ceil_mode=True)[:, 0] for part in (given, asked))
        return (given - asked).abs().sum((1, 2)) / asked.sum((1, 2)).clamp_min(1e-12)

    def residuals(self, frames: Tensor, which: Tensor) -> Tensor:
        """Return residuals, [rows, m], of mel-band levels, envelopes and, unless noise, roots of amplitudes."""
        given = self._levelled(self._view.decoded(frames))
        power = given.square() @ self._mel
        loudest = power.amax((1, 2), keepdim=True) if not self._view.gain_counts else self._loudest[which]
        levels = (_log_levels(power, loudest) - self._levels[which]).flatten(1)
        parts = [levels * (LEVELS / levels.shape[1] ** 0.5)]
        envelope = self._view.envelope(frames)
        if envelope is not None and self._envelope is not None:
            parts.append((_envelope_levels(envelope) - self._envelope[which]) * (LEVELS / envelope.shape[1] ** 0.5))
        if not self._view.smooth:
            parts.append(FINE * ((given + 1e-9).sqrt() / self._size[which] - self._roots[which]).flatten(1))
        if self._further is not None:
            parts.append(self._further(frames, which))
        return torch.cat(parts, 1)

    def _levelled(self, amplitudes: Tensor) -> Tensor:
        if self._view.gain_counts:
            return amplitudes
        energy = amplitudes.square().sum((1, 2), keepdim=True)
        return amplitudes * (energy + 1e-12).rsqrt()


def _log_levels(power: Tensor, loudest: Tensor) -> Tensor:
    return (power / (loudest + 1e-12) + SOFTEST).log10()


def _envelope_levels(envelope: Tensor) -> Tensor:
    power = envelope.square()
    return _log_levels(power, power.amax(1, keepdim=True))
