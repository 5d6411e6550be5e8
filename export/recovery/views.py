"""Converts recorded and decoded frames to amplitude spectra for comparison.

A view returns amplitudes [rows, spectra, bins] in the domain of the model's frames: spectra of kind ``spectrum``
unchanged, the spectrum of a grain, or short windows of a clip. Frames of one sound are combined by their root mean
power.
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...host.contract.card import PITCH_CLASSES, Card
from ...host.contract.partials import spectra as laid
from ...host.dsp import chroma, window
from ...host.errors import UserError
from ...host.kinds.clip.kind import ClipKind
from ...host.kinds.grain.kind import GrainKind
from ...host.kinds.partials.kind import PartialsKind
from ...host.kinds.spectrum.fundamental import fundamentals
from ...host.kinds.spectrum.kind import SpectrumKind
from ...host.resynthesis.partial_spectra import middle_of
from ...host.units import semitones_to_ratio

Array = npt.NDArray[np.float32]

WINDOW_SECONDS, OVERLAP = 0.032, 4  # of spectra of clips given as samples: separates the partials of voices
LEAST = 1e-12  # power: keeps roots differentiable, and divisors above 0


class TargetSound(NamedTuple):
    """A sound in a model's terms.

    ``amplitudes`` are [spectra, bins]. ``told`` is the pitch class or key, for models conditioned on it. ``envelope``
    is the root mean square in equal parts, [points], for models that decode one.
    """

    amplitudes: Tensor
    told: int | None = None
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
    def heard(self, frames: Array) -> TargetSound:
        """Combine one sound's frames, [frames, samples], as in `SearchTarget`."""

    @abstractmethod
    def decoded(self, frames: Tensor) -> Tensor:
        """Return amplitudes of decoded frames, [rows, frame_width] → [rows, spectra, bins]; differentiable."""

    def laid(self, frames: Tensor, told: Tensor) -> Tensor:
        """Convert decoded frames for `decoded`; ``told`` is the pitch class or key of each, [rows]."""
        return frames

    def envelope(self, frames: Tensor) -> Tensor | None:
        """Return decoded envelopes, [rows, points], or None."""
        points = self.card.envelope_points
        return frames[:, -points:] if points else None


class SpectraView(View):
    """Frames of kind ``spectrum``: normalized, and transposed to a decoded note if the model has keys."""

    def heard(self, frames: Array) -> TargetSound:
        card, length = self.card, self.length
        middles = frames[:, (frames.shape[1] - length) // 2 :][:, :length]
        spectra = np.abs(np.fft.rfft(middles * window(card.window, length))).astype(np.float32)
        if not card.keyed:
            return TargetSound(_together(spectra))
        notes = fundamentals(spectra, card.sample_rate) if card.window == "hann" else np.full(len(frames), np.nan)
        if np.isnan(notes).all():
            return TargetSound(_together(spectra), self.unpitched(spectra))
        note = float(np.nanmedian(notes))
        key, target = self.place(math.floor(note + 0.5))
        near = np.flatnonzero(np.abs(notes - note) < 1)  # others are detection errors, or of another note
        moved = [self._moved(frames[row], target - float(notes[row])) for row in near]
        return TargetSound(_together(np.stack(moved)), key)

    def decoded(self, frames: Tensor) -> Tensor:
        return frames[:, None]

    def unpitched(self, spectra: Array) -> int:
        """Return the pitch class or key for unpitched spectra, [frames, bins]."""
        whole = np.square(spectra).mean(0) ** 0.5
        return int(chroma(whole, self.card.sample_rate, self.length).argmax())

    def place(self, key: int) -> tuple[int, int]:
        """Return a key's pitch class or key for the model, and the note to transpose its frames to."""
        assert self.card.chroma is not None
        told = key % PITCH_CLASSES
        return told, PITCH_CLASSES * (self.card.chroma.octave + 1) + told

    def _moved(self, piece: Array, semitones: float) -> Array:
        length = min(round(self.length * semitones_to_ratio(semitones)), len(piece))
        first = (len(piece) - length) // 2
        found = np.abs(np.fft.rfft(piece[first : first + length] * window(self.card.window, length)))
        bins = self.length // 2 + 1
        return np.pad(found[:bins], (0, max(0, bins - len(found)))).astype(np.float32)


class PartialsView(SpectraView):
    """Frames of kind ``partials``, as spectra of the key that they were decoded at."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self._table = functools.lru_cache(maxsize=4)(self._powers)

    def laid(self, frames: Tensor, told: Tensor) -> Tensor:
        """Add the powers of partials and noise."""
        tables = torch.stack([self._table(key) for key in told.tolist()]).to(frames)
        found: Tensor = (torch.einsum("rw,rwb->rb", frames.square(), tables) + LEAST).sqrt()
        return found

    def unpitched(self, spectra: Array) -> int:
        return round(middle_of(self.card))

    def place(self, key: int) -> tuple[int, int]:
        return key, key

    def _powers(self, key: int) -> Tensor:
        """Return the power in each bin of a frame's numbers, each set to 1: [frame_width, bins]."""
        width = self.card.frame_width
        each = laid(self.card, np.eye(width, dtype=np.float32), np.full(width, key))
        return torch.from_numpy(np.square(each))


class GrainView(View):
    """Grains: samples, magnitudes and phases, or noise magnitudes alone."""

    gain_counts = True

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.smooth = card.domain == "magnitude"

    def heard(self, frames: Array) -> TargetSound:
        middles = torch.from_numpy(frames[:, (frames.shape[1] - self.length) // 2 :][:, : self.length].copy())
        found = _amplitudes(middles[:, None], self._window())
        points, envelope = self.card.envelope_points, None
        if points:
            parts = torch.nn.functional.interpolate(middles.square().mean(0)[None, None], points, mode="area")
            envelope = parts[0, 0].sqrt()
        return TargetSound(found.square().mean(0).sqrt(), None, envelope)

    def decoded(self, frames: Tensor) -> Tensor:
        if self.card.domain == "samples":
            return _amplitudes(frames[:, None], self._window())
        return frames[:, None, : self.length // 2 + 1]

    def _window(self) -> Tensor:
        return _window("hann" if self.card.domain == "samples" else "rectangular", self.length)


class SampleView(View):
    """Clips given as samples."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.length = min(2 ** round(math.log2(card.sample_rate * WINDOW_SECONDS)), card.frame_length)

    def heard(self, frames: Array) -> TargetSound:
        return TargetSound(self.decoded(torch.from_numpy(frames))[0])

    def decoded(self, frames: Tensor) -> Tensor:
        """Return amplitudes of samples, decoded or recorded."""
        return sizes(short_spectra(frames, self.length, self.length // OVERLAP))


class MagnitudeView(View):
    """Clips given as magnitudes of many spectra, normalized."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        assert card.transform_length is not None
        self.length = card.transform_length

    def heard(self, frames: Array) -> TargetSound:
        sounds, points = torch.from_numpy(frames), self.card.envelope_points
        envelope = sounds[0].view(points, -1).square().mean(1).sqrt() if points else None
        return TargetSound(sizes(short_spectra(sounds, self.length, self.card.hop_length))[0], None, envelope)

    def decoded(self, frames: Tensor) -> Tensor:
        bins = self.length // 2 + 1
        return frames[:, : self.card.spectra * bins].reshape(-1, self.card.spectra, bins)


def _clips(card: Card) -> View:
    return SampleView(card) if card.domain == "samples" else MagnitudeView(card)


VIEWS: dict[str, Callable[[Card], View]] = {
    SpectrumKind.name: SpectraView,
    PartialsKind.name: PartialsView,
    GrainKind.name: GrainView,
    ClipKind.name: _clips,
}


def view_of(card: Card) -> View:
    """Return the view of a model's frames.

    Raises:
        UserError: a kind without a view.
    """
    if card.kind not in VIEWS:
        known = ", ".join(map(repr, VIEWS))
        raise UserError(f"model {card.name!r} is of kind {card.kind!r}, and codes are searched for models of {known}")
    return VIEWS[card.kind](card)


@functools.cache
def _window(name: str, length: int) -> Tensor:
    return torch.from_numpy(window(name, length).copy())


def _together(spectra: Array) -> Tensor:
    """Return the root mean power of spectra, each normalized, scaled to a maximum of 1: [1, bins]."""
    each = spectra / np.maximum(spectra.max(1, keepdims=True), LEAST)
    whole = np.sqrt(np.square(each).mean(0, keepdims=True))
    return torch.from_numpy((whole / np.maximum(whole.max(), LEAST)).astype(np.float32))


def short_spectra(sounds: Tensor, length: int, hop: int) -> Tensor:
    """Return Hann-windowed spectra ``hop`` apart, the first centered on the first sample, [rows, spectra, bins]."""
    side = length // 2
    spectra = sounds.shape[1] // hop + 1
    padded = torch.nn.functional.pad(sounds, (side, side + hop))
    found: Tensor = torch.fft.rfft(padded.unfold(1, length, hop)[:, :spectra] * hann(length).to(sounds))
    return found


def hann(length: int) -> Tensor:
    """Return the window of clip spectra, [length]."""
    return _window("hann", length)


def _amplitudes(pieces: Tensor, shape: Tensor) -> Tensor:
    return sizes(torch.fft.rfft(pieces * shape))


def sizes(found: Tensor) -> Tensor:
    """Return the amplitudes of spectra, with finite gradients at 0."""
    amplitudes: Tensor = (found.real.square() + found.imag.square() + LEAST).sqrt()
    return amplitudes
