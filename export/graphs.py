"""What a family gives to the exporter, and the table of families."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from .describe import Codes


@dataclass(frozen=True)
class Graphs:
    """The two graphs of a model as the contract wants them, and what only its family knows of it.

    ``decoder`` takes latents [voice, n] and, with ``decoder_chroma``, chroma [voice, 12]; ``encoder`` takes audio
    [batch, frame_length] and, with ``encoder_chroma``, chroma. ``card`` has the fields of the card that are the
    family's: kind, domain, hop, window, prior and chroma, and those that only it has. ``strays`` is the share of sounds
    whose codes may differ from torch's: where features step, the last bit of a transform can throw them over.
    """

    decoder: nn.Module
    encoder: nn.Module
    decoder_chroma: bool
    encoder_chroma: bool
    codes: Codes
    card: dict[str, Any]
    strays: float = 0.0
