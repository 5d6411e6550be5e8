"""Resynthesizes notes from their own partials and noise, without a network: an upper bound for models."""

from typing import Any

import numpy as np
from pydantic import ValidationError

from ...host.arrays import Array
from ...host.contract.card import Card
from ...host.kinds.spectrum.coherent_voicing import CoherentVoicing
from ...host.kinds.spectrum.frame_cache import BATCH, PLAIN
from ...host.stft import window
from ...train.families.partials.batches import first_audible_bin, taken
from ...train.families.partials.recipe import PartialsFrames

FEWEST_ROWS = 1000  # the least that a recipe allows; unused here


class _Stored:
    """A model of stored frames: the code of each is its index."""

    def __init__(self, card: Card, frames: Array) -> None:
        self.card, self._frames = card, frames

    def decode(self, latent: Array, condition: Any) -> Array:
        return self._frames[latent[:, 0].astype(np.intp)]


def can_be_stored(card: Card) -> bool:
    """Return whether a card's partials have the layout of a recipe."""
    return frames_of(card) is not None


def frames_of(card: Card) -> PartialsFrames | None:
    """Return the recipe's frames of a card of partials; None if no recipe has its layout."""
    layout = card.partials
    if layout is None:
        return None
    try:
        frames = PartialsFrames(
            sample_rate=card.sample_rate,
            frame_length=card.frame_length,
            hop_length=card.hop_length,
            harmonics=layout.harmonics,
            bands=layout.bands,
            low=layout.low,
            high=layout.high,
            stretch=layout.stretch or False,
            rows=FEWEST_ROWS,
        )
    except ValidationError:
        return None
    return frames if np.allclose(frames.edges_hz, layout.edges_hz, rtol=1e-6) else None


def from_partials(sound: Array, key: int, card: Card) -> Array:
    """Analyze an in-tune note, [samples] at the card's rate, and resynthesize it with the coherent voice: [samples].

    Each frame is analyzed from the card's frame length around its center. The card must pass `can_be_stored`.
    """
    frames, length = frames_of(card), card.frame_length
    assert frames is not None
    nothing: Any = _Stored(card, np.zeros((0, card.frame_width), np.float32))
    times = CoherentVoicing(nothing, PLAIN)
    hop, size = times.hop_length, times.frame_length
    count = -(-(len(sound) + size) // hop)
    around = np.pad(sound, (length // 2, length + size)).astype(np.float32)
    pieces = np.lib.stride_tricks.sliding_window_view(around, length)[: count * hop : hop]
    keys = np.full(count, key)
    heard = np.abs(np.fft.rfft(pieces * window("hann", length)))[:, first_audible_bin(frames) :]
    strengths = np.sqrt(np.square(heard).sum(1, keepdims=True))
    heights = 10 ** (taken(pieces, keys.astype(np.float32), frames) / 20) * strengths
    stored: Any = _Stored(card, heights.astype(np.float32))
    voicing = CoherentVoicing(stored, PLAIN)
    state, numbers = voicing.start_state(), np.arange(count, dtype=np.float32)[:, np.newaxis]
    made = np.zeros(count * hop + size, np.float32)
    for at in range(0, count, BATCH):
        part = slice(at, at + BATCH)
        rows = voicing.make(numbers[part], keys[part], np.ones(len(keys[part])), [state] * len(keys[part]))
        for place, frame in enumerate(rows[:, 0], at):
            made[place * hop : place * hop + size] += frame
    return made[size // 2 : size // 2 + len(sound)]
