"""Voicing of models of partials, with chords of several keys."""

import itertools
from collections.abc import Sequence

import numpy as np

from ...arrays import Array, Doubles, Indices
from ...contract.card import KEYS
from ...contract.model import Model
from ...contract.modes import NO_MODES, PlacedModes, placed_modes
from ...contract.partials import HANN_ENERGY
from ...engines.protocol import Residual
from .band_filter import BandFilter
from .coherent_voicing import CoherentState, CoherentVoicing, SplitFrames
from .decoded_partials import PartialsOfFrames
from .frame_cache import VoicingSettings

REMEMBERED = 128  # placed modes of notes and keys
SILENT = np.float32(1e-30)  # power of an empty frame


class ChordState(CoherentState):
    __slots__ = ("keys", "number")

    def __init__(self, turns: Doubles, free: Doubles, noise: int, number: int) -> None:
        super().__init__(turns, free, noise)
        self.number = number
        self.keys: dict[int, CoherentState] = {}


class ChordVoicing(CoherentVoicing):
    """Sums the frames of a chord's keys; a chord is as loud as one key."""

    def __init__(self, model: Model, character: VoicingSettings) -> None:
        gestures, layout = model.gestures, model.card.partials
        super().__init__(model, character)
        assert layout is not None
        self._card, self._decoded = model.card, PartialsOfFrames(model.card, layout, self._bins, self._scale)
        self._lowest, self._highest = round(layout.low), round(layout.high)  # other keys are decoded as these
        self._transposed = gestures is not None and any(one.transposed for one in gestures.instruments)
        bands_hz, bin_hz = () if gestures is None else gestures.bands_hz, model.card.sample_rate / self.frame_length
        self._filter = BandFilter(bands_hz, self._bins, bin_hz) if bands_hz else None
        edges = np.array(self._decoded.low_edges)
        self._low_middles = np.rint((edges[1:] + edges[:-1]) / 2).astype(np.intp)
        self._low_widths = np.diff(edges).astype(np.float32)
        self._placed_modes: dict[tuple[int, int], tuple[Doubles | None, PlacedModes]] = {}

    def _inside(self, keys: Indices) -> Indices:
        return np.clip(keys, self._lowest, self._highest)

    def _kept_ratios(self, chroma: Indices | Array, ratios: Doubles) -> Doubles:
        if self._character.keep_formants or self._transposed:  # modes have no formants
            return super()._kept_ratios(chroma, ratios)
        pitches = chroma + 12 * np.log2(ratios)
        beyond: Doubles = np.exp2((pitches - np.clip(pitches, self._lowest - 0.5, self._highest + 0.5)) / 12)
        return beyond

    def _recorded(
        self, residual: Residual, chroma: Indices | Array, rows: Array, first: Doubles, split: SplitFrames
    ) -> SplitFrames:
        if any(modes is not None for modes in residual.modes):
            split = self._with_modes(residual.modes, chroma, rows, split.strengths)
        if self._filter is not None:
            split = self._filtered(self._filter, residual.gains, first[:, np.newaxis] * split.orders, split)
        return split

    def _with_modes(
        self, modes: Sequence[Doubles | None], chroma: Indices | Array, rows: Array, strengths: Array
    ) -> SplitFrames:
        placed = [self._placed(one, int(key)) for one, key in zip(modes, chroma.tolist(), strict=True)]
        widest = max(len(each.orders) for each in placed)
        orders, partials = np.ones((len(rows), widest)), np.zeros((len(rows), widest), np.float32)
        residue, low = self._layout.residue(rows), self._layout.low(rows)
        power, taken = self._layout.band_power(rows).copy(), np.array([len(each.takers) > 0 for each in placed])
        for _, group in itertools.groupby(range(len(rows)), key=lambda row: id(placed[row])):
            own = list(group)
            some, each = slice(own[0], own[-1] + 1), placed[own[0]]
            orders[some, : len(each.orders)] = each.orders
            partials[some, : len(each.orders)], power[some] = each.applied(strengths[some], power[some])
        if taken.any():
            residue, low = residue.copy(), low.copy()
            residue[taken], low[taken] = self._decoded.noise(power[taken])
        return SplitFrames(orders, partials, residue, low)

    def _placed(self, modes: Doubles | None, key: int) -> PlacedModes:
        known = self._placed_modes.get((id(modes), key))
        if known is None or known[0] is not modes:
            if len(self._placed_modes) >= REMEMBERED:
                del self._placed_modes[next(iter(self._placed_modes))]
            orders = self._decoded.orders if self._decoded.orders.ndim == 1 else self._decoded.orders[key]
            placed = placed_modes(NO_MODES if modes is None else modes, orders, self._card, key)
            known = self._placed_modes[id(modes), key] = modes, placed
        return known[1]

    def _filtered(self, by: BandFilter, gains: Array, places: Doubles, split: SplitFrames) -> SplitFrames:
        """At equal power."""
        factors = by.factors(gains)
        at = np.minimum(np.rint(places), self._bins - 1).astype(np.intp)
        at += (np.arange(len(at)) * self._bins)[:, np.newaxis]
        moved, noise = split.strengths * factors.take(at), split.residue * factors
        low = split.low * factors.take(self._low_middles, axis=1)
        heard = max(self._low_bins, self._lowest_bin)
        whole, after = (
            np.float32(HANN_ENERGY * self._scale) * np.vecdot(partials, partials)
            + np.vecdot(rest, rest)
            + np.vecdot(np.square(deep), self._low_widths)
            for partials, rest, deep in (
                (split.strengths, split.residue[:, heard:], split.low),
                (moved, noise[:, heard:], low),
            )
        )
        kept = np.sqrt(whole / np.maximum(after, SILENT))[:, np.newaxis]
        return split._replace(strengths=moved * kept, residue=noise * kept, low=low * kept)

    def start_state(self) -> ChordState:
        self._voices_begun += 1
        return ChordState(*self._beginning(self._voices_begun), self._voices_begun)

    def prepare(self, latents: Array, chroma: Indices | Array) -> bool:
        rows, keys = _apart(chroma)
        return bool(len(rows)) and super().prepare(latents[rows], self._inside(keys))

    def keep(self, latents: Array, chroma: Indices | Array) -> None:
        rows, keys = _apart(chroma)
        super().keep(latents[rows], self._inside(keys))

    def make(
        self,
        latents: Array,
        chroma: Indices | Array,
        ratios: Doubles,
        states: Sequence[CoherentState],
        residual: Residual | None = None,
    ) -> Array:
        """As `Voicing.make`; a mask of keys needs states of `begin`."""
        if chroma.ndim == 1:
            inside = self._inside(chroma.astype(np.intp))
            return super().make(latents, inside, ratios * np.exp2((chroma - inside) / 12), states, residual)
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
            part = residual._replace(gains=residual.gains[rows], modes=[residual.modes[row] for row in rows.tolist()])
        inside = self._inside(keys)
        frames = super().make(latents[rows], inside, ratios[rows] * np.exp2((keys - inside) / 12), own, part)
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
