"""Amplitude spectra of recorded and decoded frames for code searches.

Amplitudes are [rows, spectra, bins] in the domain of frames; a sound's frames are combined by root mean power.
"""

import functools
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from ...host.arrays import Array
from ...host.model.card import Card
from ...host.signal import window

LEAST_POWER = 1e-12  # keeps roots differentiable, and divisors above 0


class TargetSound(NamedTuple):
    """A sound in a model's terms.

    Args:
        amplitudes: [spectra, bins].
        condition: pitch class or key, for models conditioned on it.
        envelope: root mean square in parts, [points], for models that decode one.
    """

    amplitudes: Tensor
    condition: int | None = None
    envelope: Tensor | None = None


class View(ABC):
    """Amplitudes of frames.

    Attributes:
        length: of the transform of a spectrum, in samples.
        gain_counts: whether the code determines loudness; else velocity does.
        smooth: whether only bands are compared, since frames are noise.
    """

    length: int
    gain_counts = False
    smooth = False

    def __init__(self, card: Card) -> None:
        self.card = card
        self.length = card.frame_length

    @abstractmethod
    def target_sound(self, frames: Array) -> TargetSound:
        """Combine a sound's frames, [frames, samples], as in `SearchTarget`."""

    @abstractmethod
    def decoded(self, frames: Tensor) -> Tensor:
        """Return amplitudes, [rows, frame_width] → [rows, spectra, bins]; differentiable."""

    def convert_frames(self, frames: Tensor, conditions: Tensor) -> Tensor:
        """Convert frames for `decoded`; ``conditions``: pitch classes or keys, [rows]."""
        return frames

    def envelope(self, frames: Tensor) -> Tensor | None:
        point_count = self.card.envelope_points
        return frames[:, -point_count:] if point_count else None


@functools.cache
def window_of(name: str, length: int) -> Tensor:
    return torch.from_numpy(window(name, length).copy())


def short_spectra(sounds: Tensor, length: int, hop: int) -> Tensor:
    """Return Hann-windowed spectra, the first centered on the first sample: [rows, spectra, bins]."""
    half_length = length // 2
    spectrum_count = sounds.shape[1] // hop + 1
    padded = torch.nn.functional.pad(sounds, (half_length, half_length + hop))
    spectra: Tensor = torch.fft.rfft(
        padded.unfold(1, length, hop)[:, :spectrum_count] * window_of("hann", length).to(sounds)
    )
    return spectra


def sizes(spectra: Tensor) -> Tensor:
    """Return amplitudes, with finite gradients at 0."""
    amplitudes: Tensor = (spectra.real.square() + spectra.imag.square() + LEAST_POWER).sqrt()
    return amplitudes
