"""Kind descriptor: the functions that export calls, and the views of frames in which codes are searched.

A view has amplitude spectra of recorded and decoded frames, [rows, spectra, bins] in the domain of frames; a sound's
frames are combined by root mean power.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...host.arrays import Array
from ...host.events import Event, NoteOff, NoteOn
from ...host.kinds.kind import IMAGE
from ...host.model.card import Card
from ...host.model.model import Model
from ...host.preset.library import FIRST_KNOB_CC, Patch
from ...host.preset.preset import CCMap, LatentSettings, Preset, preset_class
from ...host.signal import window
from ...host.units import MIDDLE_C
from .player import NnPlayer

LEAST_POWER = 1e-12  # keeps roots differentiable, and divisors above 0
RATE = 44100  # of demos, in Hz
IMAGE_CC = 20  # of instruments whose latents have those from 70 on: MIDI leaves it free


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


@dataclass(frozen=True)
class ExportKind:
    """First preset, demo, code search and nn~ player of a kind of model.

    Args:
        preset: returns a model's preset: it starts from a real sound, and its knobs span the corpus.
        demo: returns a performance's events and length, in samples at `RATE`, for a patch and a velocity.
        holds_one_key: the demo is one held key.
        view: returns the frames' amplitudes; None: codes are not searched.
        player: returns a player with a model's rebuilt decoder; None: nn~ does not play this kind.
    """

    name: str
    preset: Callable[[Model], Preset]
    demo: Callable[[Patch, int], tuple[list[Event], int]]
    holds_one_key: bool = False
    view: Callable[[Card], View] | None = None
    player: Callable[[Model, nn.Module], NnPlayer] | None = None


def image_knob(card: Card, number: int = IMAGE_CC) -> list[CCMap]:
    """Return the map of a stereo model's image, none of a mono one's."""
    return [] if card.image is None else [CCMap(number=number, target=IMAGE, low=0.0, high=2.0)]


def preset_of(model: Model, **parts: Any) -> Preset:
    """Return a preset of a model's default code; ``parts`` are its other fields, with maps ``cc``."""
    card = model.card
    numbers = [entry.number for entry in parts["cc"] if entry.number is not None and entry.number >= FIRST_KNOB_CC]
    return preset_class([card.kind])(
        format=1,
        model=model.path.name,
        description=f"{card.name}: knobs on CC {min(numbers)} to {max(numbers)}",
        model_sha256=model.sha256,
        latent=LatentSettings(values=[latent.default for latent in card.latents]),
        **parts,
    )


def held_key(samples: int, velocity: int) -> list[Event]:
    """Return a middle C as long as ``samples``."""
    return [NoteOn(0, 0, MIDDLE_C, velocity), NoteOff(samples, 0, MIDDLE_C)]
