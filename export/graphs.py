"""The graphs that a family gives to the exporter."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..host.contract.card import RecurrentState
from ..host.contract.gesture import Gestures
from ..host.contract.model import Model
from .describe import EncodedFrames


@dataclass(frozen=True)
class Graphs:
    """The two graphs of a model as the contract wants them, and what only its family knows of the model.

    ``decoder`` takes latents [voice, n], with ``decoder_chroma`` chroma [voice, 12] or where the card has labels how
    much there is of each, [voice, labels], where the card's stream has it ``noise``, and each ``state``; it gives
    frames, and after them each state as it is for the next step. Where they are ``pitched``, both take MIDI notes,
    [voice, 1], after their first input. ``encoder`` takes audio [batch, frame_length] and,
    with ``encoder_chroma``, chroma; it gives latents, of a stream what its decoder is fed for them, the state
    ``previous``, and with ``encoder_labels``, how much a sound is taken for each label; a network may have none.
    ``card`` has the fields of the card that are the family's: kind, domain, hop, window, prior and chroma, and those
    that only it has. ``strays`` is the share of sounds whose codes, and of codes whose frames, may differ from torch's:
    where features step or a network chooses, the last bit can throw them over. ``exact`` is how many numbers a matrix
    has at the most that keeps single precision where others are halved. ``gestures`` makes those of the model as it is
    written; it may give none.
    """

    decoder: nn.Module
    encoder: nn.Module | None
    decoder_chroma: bool
    encoder_chroma: bool
    codes: EncodedFrames
    card: dict[str, Any]
    strays: float = 0.0
    exact: int = 0
    encoder_labels: bool = False
    pitched: bool = False
    state: Sequence[RecurrentState] = ()
    gestures: Callable[[Model], Gestures | None] = lambda model: None
