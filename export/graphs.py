"""Interface from families to the exporter: a model's graphs with metadata."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..host.contract.card import RecurrentState
from ..host.contract.gesture import Gestures
from ..host.contract.model import Model
from .code_description import EncodedFrames


class NetworkDecoder(nn.Module):
    """latent [voice, n] (, label [voice, labels]) → frame [voice, width], by a network's method."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        frame: Tensor = self.network.decode(latent) if label is None else self.network.decode(latent, label)
        return frame


@dataclass(frozen=True)
class Graphs:
    """A model's graphs by the contract, and the family's fields of its ``card``.

    Args:
        decoder: reads latents [voice, n], then, if the model has them, chroma [voice, 12], MIDI notes [voice, 1]
            (``pitched``), shares of labels [voice, labels], ``noise`` and each ``state`` of a stream. Returns frames,
            then each next state.
        encoder: reads audio [batch, frame_length], then chroma and notes as above. Returns latents, a stream's state
            ``previous``, and label shares (``encoder_labels``).
        strays: share of codes or frames that may differ from torch's: features step, and networks choose at the last
            bit.
        exact: matrices of at most so many elements stay in single precision.
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
