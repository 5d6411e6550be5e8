"""Voicing of models of partials, with chords of several keys."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...contract.card import KEYS
from ...contract.model import Model
from ...engines.protocol import Residual
from .coherent_voicing import CoherentState, CoherentVoicing
from .frame_cache import VoicingSettings
from .partial_analysis import Floats

Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


class ChordState(CoherentState):
    __slots__ = ("keys", "number")

    def __init__(self, turns: Floats, free: Floats, noise: int, number: int) -> None:
        super().__init__(turns, free, noise)
        self.number = number
        self.keys: dict[int, CoherentState] = {}


class ChordVoicing(CoherentVoicing):
    """Decodes each key of a chord and sums the frames; a chord is as loud as one key."""

    def __init__(self, model: Model, character: VoicingSettings) -> None:
        """Decode keys beyond the recorded ones from the last recorded key."""
        gestures, layout = model.gestures, model.card.partials
        super().__init__(model, character, bands_hz=() if gestures is None else gestures.bands_hz)
        assert layout is not None
        self._lowest, self._highest = round(layout.low) - 0.5, round(layout.high) + 0.5
        self._transposed = gestures is not None and any(one.transposed for one in gestures.instruments)

    def _kept_ratios(self, chroma: Indices | Array, ratios: Floats) -> Floats:
        if self._character.keep_formants or self._transposed:  # modes have no formants
            return super()._kept_ratios(chroma, ratios)
        pitches = chroma + 12 * np.log2(ratios)
        beyond: Floats = np.exp2((pitches - np.clip(pitches, self._lowest, self._highest)) / 12)
        return beyond

    def start_state(self) -> ChordState:
        self._voices_begun += 1
        return ChordState(*self._beginning(self._voices_begun), self._voices_begun)

    def prepare(self, latents: Array, chroma: Indices | Array) -> bool:
        rows, keys = _apart(chroma)
        return bool(len(rows)) and super().prepare(latents[rows], keys)

    def keep(self, latents: Array, chroma: Indices | Array) -> None:
        rows, keys = _apart(chroma)
        super().keep(latents[rows], keys)

    def make(
        self,
        latents: Array,
        chroma: Indices | Array,
        ratios: Floats,
        states: Sequence[CoherentState],
        residual: Residual | None = None,
    ) -> Array:
        """Make frames as `Voicing.make`; a mask of keys needs states of `begin`."""
        if chroma.ndim == 1:
            return super().make(latents, chroma, ratios, states, residual)
        rows, keys = _apart(chroma)
        sums = np.zeros((len(chroma), self.channels, self.frame_length), np.float32)
        if not len(rows):
            return sums
        counts = np.bincount(rows, minlength=len(chroma))
        voice = {id(state): number for number, state in enumerate(states)}
        # Frames of one key must be adjacent and in time order.
        order = np.lexsort((rows, keys, np.array([voice[id(states[row])] for row in rows])))
        rows, keys = rows[order], keys[order]
        own = [self._of_key(states[row], key) for row, key in zip(rows.tolist(), keys.tolist(), strict=True)]
        part = None
        if residual is not None:
            part = Residual(residual.gains[rows], [residual.modes[row] for row in rows.tolist()])
        frames = super().make(latents[rows], keys, ratios[rows], own, part)
        frames /= np.sqrt(counts[rows])[:, np.newaxis, np.newaxis]
        np.add.at(sums, rows, frames)
        return sums

    def _of_key(self, state: CoherentState, key: int) -> CoherentState:
        assert isinstance(state, ChordState)
        if key not in state.keys:
            # Seeded by the voice's number: a key's phases do not depend on the block.
            state.keys[key] = CoherentState(*self._beginning(state.number * KEYS + key))
        return state.keys[key]


def _apart(chroma: Indices | Array) -> tuple[Indices, Indices]:
    if chroma.ndim == 1:
        return np.arange(len(chroma)), chroma.astype(np.intp)
    rows, keys = np.nonzero(chroma)
    return rows, keys
