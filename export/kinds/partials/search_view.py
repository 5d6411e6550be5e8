"""Amplitudes of partials for code searches, as spectra of a key."""

import functools

import numpy as np
import torch
from torch import Tensor

from ....host.arrays import Array
from ....host.contract.card import Card
from ....host.contract.partials import spectra as spectra_of
from ....host.kinds.partials.partial_spectra import middle_of
from ..search_view import LEAST
from ..spectrum.search_view import SpectraView


class PartialsView(SpectraView):
    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self._table = functools.lru_cache(maxsize=4)(self._powers)

    def laid(self, frames: Tensor, told: Tensor) -> Tensor:
        tables = torch.stack([self._table(key) for key in told.tolist()]).to(frames)
        found: Tensor = (torch.einsum("rw,rwb->rb", frames.square(), tables) + LEAST).sqrt()
        return found

    def unpitched(self, spectra: Array) -> int:
        return round(middle_of(self.card))

    def place(self, key: int) -> tuple[int, int]:
        return key, key

    def _powers(self, key: int) -> Tensor:
        width = self.card.frame_width
        each = spectra_of(self.card, np.eye(width, dtype=np.float32), np.full(width, key))
        return torch.from_numpy(np.square(each))
