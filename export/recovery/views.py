"""Turns recorded and decoded frames into what they are compared by: the amplitudes of spectra, one after another.

A view of a model turns both into amplitudes [rows, spectra, bins], in the domain of the model's own frames: spectra of
kind ``spectrum`` as they are, of grains that of the grain, of clips those of short windows. Many frames of one sound
are looked at together, as the root of their mean power.
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

WINDOW_SECONDS, OVERLAP = 0.032, 4  # of spectra of clips given as samples: partials of voices stand apart
LEAST = 1e-12  # power: keeps roots differentiable, and divisors above 0


class TargetSound(NamedTuple):
    """A sound in a model's own terms.

    ``amplitudes`` are [spectra, bins]; ``told`` is the pitch class or the key for models that are told one;
    ``envelope`` is the sound's root mean square in equal parts, [points], where a model decodes such.
    """

    amplitudes: Tensor
    told: int | None = None
    envelope: Tensor | None = None


class View(ABC):
    """Amplitudes of frames.

    Attributes:
        length: of the transform behind a spectrum, in samples.
        gain_counts: how loud a sound is lies in its code too; else it is left to velocity.
        smooth: single bins mean nothing, only bands of them: frames are noise.
    """

    length: int
    gain_counts = False
    smooth = False

    def __init__(self, card: Card) -> None:
        self.card = card
        self.length = card.frame_length

    @abstractmethod
    def heard(self, frames: Array) -> TargetSound:
        """Return what one sound's frames are together, [frames, samples], as `Sought` has them."""

    @abstractmethod
    def decoded(self, frames: Tensor) -> Tensor:
        """Return the amplitudes of decoded frames, [rows, frame_width] → [rows, spectra, bins]; differentiable."""

    def laid(self, frames: Tensor, told: Tensor) -> Tensor:
        """Return decoded frames as `decoded` takes them; ``told`` is the pitch class or key of each, [rows]."""
        return frames

    def envelope(self, frames: Tensor) -> Tensor | None:
        """Return the root mean square of decoded frames in equal parts, [rows, points], where these hold such."""
        points = self.card.envelope_points
        return frames[:, -points:] if points else None


class Spectra(View):
    """Frames of kind ``spectrum``: each as loud as any, and where keys choose the note moved to one that is decoded."""

    def heard(self, frames: Array) -> TargetSound:
        """See `View.heard`; a frame without pitch stays where it is."""
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
        near = np.flatnonzero(np.abs(notes - note) < 1)  # others are mistaken, or of another note
        moved = [self._moved(frames[row], target - float(notes[row])) for row in near]
        return TargetSound(_together(np.stack(moved)), key)

    def decoded(self, frames: Tensor) -> Tensor:
        """See `View.decoded`."""
        return frames[:, None]

    def unpitched(self, spectra: Array) -> int:
        """Return what is told of frames without a pitch, whose spectra are [frames, bins]."""
        whole = np.square(spectra).mean(0) ** 0.5
        return int(chroma(whole, self.card.sample_rate, self.length).argmax())

    def place(self, key: int) -> tuple[int, int]:
        """Return what is told of a key, and the note to which its frames are moved."""
        assert self.card.chroma is not None
        told = key % PITCH_CLASSES
        return told, PITCH_CLASSES * (self.card.chroma.octave + 1) + told

    def _moved(self, piece: Array, semitones: float) -> Array:
        """Return the spectrum of a frame as it would be at another pitch, as training has it (`moved_frame`)."""
        length = min(round(self.length * semitones_to_ratio(semitones)), len(piece))
        first = (len(piece) - length) // 2
        found = np.abs(np.fft.rfft(piece[first : first + length] * window(self.card.window, length)))
        bins = self.length // 2 + 1
        return np.pad(found[:bins], (0, max(0, bins - len(found)))).astype(np.float32)


class Lobes(Spectra):
    """Frames of kind ``partials``, laid out as spectra of the key for which they were decoded."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self._table = functools.lru_cache(maxsize=4)(self._powers)

    def laid(self, frames: Tensor, told: Tensor) -> Tensor:
        """See `View.laid`: powers of partials and of noise add up."""
        tables = torch.stack([self._table(key) for key in told.tolist()]).to(frames)
        found: Tensor = (torch.einsum("rw,rwb->rb", frames.square(), tables) + LEAST).sqrt()
        return found

    def unpitched(self, spectra: Array) -> int:
        """See `Spectra.unpitched`: the key in the middle of those that training heard."""
        return round(middle_of(self.card))

    def place(self, key: int) -> tuple[int, int]:
        """See `Spectra.place`: its own."""
        return key, key

    def _powers(self, key: int) -> Tensor:
        """Return the power that each number of a frame gives to each bin, where it is 1: [frame_width, bins]."""
        width = self.card.frame_width
        each = laid(self.card, np.eye(width, dtype=np.float32), np.full(width, key))
        return torch.from_numpy(np.square(each))


class Grains(View):
    """Grains: samples, magnitudes and phases, or noise that has magnitudes alone."""

    gain_counts = True

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.smooth = card.domain == "magnitude"

    def heard(self, frames: Array) -> TargetSound:
        """See `View.heard`."""
        middles = torch.from_numpy(frames[:, (frames.shape[1] - self.length) // 2 :][:, : self.length].copy())
        found = _amplitudes(middles[:, None], self._window())
        points, envelope = self.card.envelope_points, None
        if points:
            parts = torch.nn.functional.interpolate(middles.square().mean(0)[None, None], points, mode="area")
            envelope = parts[0, 0].sqrt()
        return TargetSound(found.square().mean(0).sqrt(), None, envelope)

    def decoded(self, frames: Tensor) -> Tensor:
        """See `View.decoded`."""
        if self.card.domain == "samples":
            return _amplitudes(frames[:, None], self._window())
        return frames[:, None, : self.length // 2 + 1]

    def _window(self) -> Tensor:
        """Return the window of transforms; those that are decoded have none."""
        return _window("hann" if self.card.domain == "samples" else "rectangular", self.length)


class SampleView(View):
    """Clips that are given as samples."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.length = min(2 ** round(math.log2(card.sample_rate * WINDOW_SECONDS)), card.frame_length)

    def heard(self, frames: Array) -> TargetSound:
        """See `View.heard`."""
        return TargetSound(self.decoded(torch.from_numpy(frames))[0])

    def decoded(self, frames: Tensor) -> Tensor:
        """See `View.decoded`; frames are samples, also of recordings."""
        return sizes(short_spectra(frames, self.length, self.length // OVERLAP))


class Magnitudes(View):
    """Clips that are given as magnitudes of many spectra, each clip as loud as any."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        assert card.transform_length is not None
        self.length = card.transform_length

    def heard(self, frames: Array) -> TargetSound:
        """See `View.heard`."""
        sounds, points = torch.from_numpy(frames), self.card.envelope_points
        envelope = sounds[0].view(points, -1).square().mean(1).sqrt() if points else None
        return TargetSound(sizes(short_spectra(sounds, self.length, self.card.hop_length))[0], None, envelope)

    def decoded(self, frames: Tensor) -> Tensor:
        """See `View.decoded`."""
        bins = self.length // 2 + 1
        return frames[:, : self.card.spectra * bins].reshape(-1, self.card.spectra, bins)


def _clips(card: Card) -> View:
    return SampleView(card) if card.domain == "samples" else Magnitudes(card)


VIEWS: dict[str, Callable[[Card], View]] = {
    SpectrumKind.name: Spectra,
    PartialsKind.name: Lobes,
    GrainKind.name: Grains,
    ClipKind.name: _clips,
}


def view_of(card: Card) -> View:
    """Return the view of a model's frames.

    Raises:
        UserError: they are of a kind for which there is none.
    """
    if card.kind not in VIEWS:
        known = ", ".join(map(repr, VIEWS))
        raise UserError(f"model {card.name!r} is of kind {card.kind!r}, and codes are searched for models of {known}")
    return VIEWS[card.kind](card)


@functools.cache
def _window(name: str, length: int) -> Tensor:
    return torch.from_numpy(window(name, length).copy())


def _together(spectra: Array) -> Tensor:
    """Return the root of the mean power of spectra, each as loud as any, at a largest amplitude of 1: [1, bins]."""
    each = spectra / np.maximum(spectra.max(1, keepdims=True), LEAST)
    whole = np.sqrt(np.square(each).mean(0, keepdims=True))
    return torch.from_numpy((whole / np.maximum(whole.max(), LEAST)).astype(np.float32))


def short_spectra(sounds: Tensor, length: int, hop: int) -> Tensor:
    """Return spectra of Hann windows ``hop`` apart, the first around the first sample, [rows, spectra, bins]."""
    side = length // 2
    spectra = sounds.shape[1] // hop + 1
    padded = torch.nn.functional.pad(sounds, (side, side + hop))
    found: Tensor = torch.fft.rfft(padded.unfold(1, length, hop)[:, :spectra] * hann(length).to(sounds))
    return found


def hann(length: int) -> Tensor:
    """Return the window that spectra of clips have, [length]."""
    return _window("hann", length)


def _amplitudes(pieces: Tensor, shape: Tensor) -> Tensor:
    return sizes(torch.fft.rfft(pieces * shape))


def sizes(found: Tensor) -> Tensor:
    """Return the amplitudes of spectra, whose slopes are finite at 0 too."""
    amplitudes: Tensor = (found.real.square() + found.imag.square() + LEAST).sqrt()
    return amplitudes
