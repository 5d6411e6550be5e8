"""Decodes the first rows of future notes while no parameter moves: each note's codes are its own."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...arrays import Array, Indices
from ..engine import Motion

RESTED = 4  # hops of constant latents before future note-ons are prepared: about 0.1 s


class KeepingDecoder(Protocol):
    def keep(self, latents: Array, chroma: Indices | Array) -> None:
        """Keep prepared rows until `let_go`."""

    def let_go(self) -> None: ...


@dataclass(slots=True)
class FirstRows:
    """State of this decoding, from block to block."""

    identity: Hashable = None
    hop: int = -1
    rested: int = 0  # hops
    codes: Iterator[tuple[float, Array]] | None = None
    rows: tuple[Array, Indices] | None = None  # prepared last

    def take(
        self, motion: Motion, hop: int, decoder: KeepingDecoder, condition: Callable[[float], int]
    ) -> tuple[Array, Indices] | None:
        """Return the next rows to prepare, latents and conditions, if any; keep the last ones.

        Args:
            motion: of the voices.
            hop: the first sample of the current hop.
            decoder: prepared the last rows.
            condition: of a pitch, 69.0 for 440 Hz.
        """
        if self.rows is not None:
            decoder.keep(*self.rows)
            self.rows = None
        if hop != self.hop:
            self.hop, found = hop, motion.beginnings(hop) if motion.own_codes else None
            identity = None if found is None else found.identity
            if identity != self.identity:
                self.identity, self.codes, self.rested = identity, None, 0
                decoder.let_go()
            self.rested += 1
            if found is not None and self.codes is None and self.rested > RESTED:
                self.codes = found.codes
        if self.codes is None or (pair := next(self.codes, None)) is None:
            return None
        pitch, latents = pair
        self.rows = latents, np.full(len(latents), condition(pitch), np.intp)
        return self.rows
