"""Level of the loudest moment of a clip, as it is heard."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.engines.clip.synthesis import SpectraSound

MOMENT_SECONDS = 0.4  # the window that sets a clip's loudness: BS.1770's momentary loudness
SILENT_POWER = 1e-12  # power of a clip that is silent


class LoudestMoment(nn.Module):
    """frame [voice, width] → root mean square of its loudest 0.4 s, BS.1770-weighted, [voice, 1].

    Frames are those of `engines.clip.synthesis.SpectraSound`, with ``points``.
    """

    weights: Tensor

    def __init__(self, length: int, rate: int, transform: int, hop: int, points: int) -> None:
        super().__init__()
        bins_hz = np.arange(transform // 2 + 1) * rate / transform
        self.register_buffer("weights", torch.from_numpy(k_weights(bins_hz)).float())
        self._points, self._hop_count = points, length // hop
        self._moment_hops = max(1, round(MOMENT_SECONDS * rate / hop))

    def forward(self, frame: Tensor) -> Tensor:
        hop_count, points = self._hop_count, self._points
        bin_powers = frame[:, :-points].reshape(-1, hop_count + 1, len(self.weights))[:, :-1].square()
        k_weighted_shares = (bin_powers @ self.weights) / bin_powers.sum(2).clamp_min(SILENT_POWER)
        hop_powers = frame[:, -points:].reshape(-1, hop_count, points // hop_count).square().mean(2)
        window_hops = min(self._moment_hops, hop_count)
        window_powers = F.avg_pool1d((hop_powers * k_weighted_shares)[:, None], window_hops, 1)[:, 0] * (
            window_hops / self._moment_hops
        )
        loudest_rms: Tensor = window_powers.amax(1, keepdim=True).clamp_min(SILENT_POWER).sqrt()
        return loudest_rms


def loudness_of(length: int, rate: int, transform: int, hop: int, points: int) -> Callable[[Array], float]:
    """Return the function from samples, cut or padded to ``length``, to the level of their `LoudestMoment`."""
    synthesis = SpectraSound(length, transform, hop, points)
    loudest_moment = LoudestMoment(length, rate, transform, hop, points)

    def loudness(samples: Array) -> float:
        clip = np.pad(samples[:length], (0, max(0, length - len(samples))))
        frame = np.concatenate([np.abs(synthesis.transformed(clip)).ravel(), synthesis.levels(clip)])
        return float(loudest_moment(torch.from_numpy(frame.astype(np.float32))[None]))

    return loudness


def k_weights(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return BS.1770's K-weighting of power at frequencies in Hz, within 0.05 dB from 20 Hz to 20 kHz."""
    high_pass_weights = np.square(np.square(hertz) / (np.square(hertz) + 38.1**2))
    shelf_weights = 1 + 1.51 * hertz**4 / (hertz**4 + 1700.0**4)
    weights: npt.NDArray[np.float64] = high_pass_weights * shelf_weights
    return weights
