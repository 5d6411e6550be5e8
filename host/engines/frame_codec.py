"""Steps of resynthesis that each kind of model has in its `frame_codec`."""

import importlib
import importlib.util
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles, Indices, Spectrum
from ..errors import UserError
from ..kinds.table import KINDS, kind_of
from ..model.card import Card

LEAST_COVER = 1e-3  # of the largest overlap: at the windows' zeros, division would amplify noise
TINY = np.float32(1e-20)  # keeps divisors above 0


class FrameAnalysis(NamedTuple):
    sounding: npt.NDArray[np.bool_]  # [rows]
    level: Array  # [rows, 1]: the largest magnitude; the RMS for grains
    spectra: Spectrum  # [rows, bins], of the windowed frames
    magnitudes: Array  # of these
    strongest: Indices  # [rows]: pitch classes
    codes: Array  # [rows, n_latents], bent
    pitches: Doubles  # [rows]: MIDI notes with fractions, NaN where no pitch was detected or needed
    octaves_down: Indices  # [rows]: octaves of downward transposition before encoding
    encoder_pitches: Doubles  # [rows]: gap-free pitches, as the encoder of a partials model received them


class FrameCodec(Protocol):
    def level(self, frames: Array, magnitudes: Array) -> Array:
        """Target levels, [rows, 1]."""

    def make(self, decoded: Array, analysis: FrameAnalysis, bin_offsets: Doubles | None) -> Array:
        """Frames to overlap-add, [rows, frame_length]; ``bin_offsets`` as from `HarmonicShift.apply`."""

    def compare(self, decoded: Array, frames: Array, analysis: FrameAnalysis) -> tuple[Array, float]:
        """Magnitudes, [rows, bins], and summed mean squared errors at a maximum of 1."""


def codec_of(card: Card, phase: str) -> FrameCodec:
    """Codec of a model's kind for ``phase``, ``original`` or ``own``.

    Raises:
        UserError: the kind has none, or the codec refuses frames or phase.
    """
    module_by_kind = {kind_name: f"{kind.engines or '.' + kind_name}.frame_codec" for kind_name, kind in KINDS.items()}
    supported_kinds = [
        kind_name
        for kind_name, module_name in module_by_kind.items()
        if importlib.util.find_spec(module_name, __package__)
    ]
    if card.kind not in supported_kinds:
        raise UserError(
            f"no sound can be sent through model {card.name!r} of kind {card.kind!r} yet; give one of kind "
            f"{' or '.join(map(repr, supported_kinds))}"
        )
    return importlib.import_module(module_by_kind[card.kind], __package__).make_codec(card, phase)


def hop_of(card: Card) -> int:
    return kind_of(card).hop_through(card)


def window_cover(weights: Array, hop: int) -> Array:
    """Overlapped sum of weights at each sample of a frame, [frame_length]."""
    hop_cover = np.pad(weights, (0, -len(weights) % hop)).reshape(-1, hop).sum(axis=0)
    return np.resize(np.maximum(hop_cover, LEAST_COVER * hop_cover.max()), len(weights))
