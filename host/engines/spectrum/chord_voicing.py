"""Voicing of models of partials: chords of several keys, and the residuals and modes of recorded notes."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from ...arrays import Array, Doubles, Indices
from ...kinds.card_fields import KEYS
from ...model.gesture import NO_MODES, PlacedModes, placed_modes
from ...model.model import Model
from ...model.partials import HANN_ENERGY
from ..engine import Residual
from .coherent_voicing import CoherentState, CoherentVoicing, SplitFrames
from .frames import PartialsOfFrames, VoicingSettings

REMEMBERED = 128  # placed modes of notes and keys
NEPERS = np.float32(math.log(10) / 20)  # per decibel


class BandFilter:
    def __init__(self, bands_hz: Sequence[float], bins: int, bin_hz: float) -> None:
        """Interpolate linearly between band middles ``bands_hz``, two or more, for bins ``bin_hz`` apart."""
        self.bands = len(bands_hz)
        places = np.interp(np.arange(bins) * bin_hz, bands_hz, np.arange(len(bands_hz)))
        self.low = np.minimum(places.astype(np.intp), len(bands_hz) - 2)
        self.share = (places - self.low).astype(np.float32)

    def factors(self, gains: Array) -> Array:
        """Factors, [rows, bins], of gains in dB, [rows, bands]."""
        bands = np.exp(gains * NEPERS)
        low: Array = bands.take(self.low, axis=1)
        high = bands.take(self.low + 1, axis=1)
        high -= low
        high *= self.share
        low += high
        return low


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
        self._card, self.decoded = model.card, PartialsOfFrames(model.card, layout, self._bins, self._scale)
        self.lowest_key, self.highest_key = round(layout.low), round(layout.high)  # other keys are decoded as these
        self.transposed = gestures is not None and any(one.transposed for one in gestures.instruments)
        bands_hz, bin_hz = () if gestures is None else gestures.bands_hz, model.card.sample_rate / self.frame_length
        self.band_filter = BandFilter(bands_hz, self._bins, bin_hz) if bands_hz else None
        edges = np.array(self.decoded.low_edges)
        self.low_middles = np.rint((edges[1:] + edges[:-1]) / 2).astype(np.intp)
        self.low_widths = np.diff(edges).astype(np.float32)
        self._placed_modes: dict[tuple[int, int], tuple[Doubles | None, PlacedModes]] = {}

    def _inside(self, keys: Indices) -> Indices:
        return np.clip(keys, self.lowest_key, self.highest_key)

    def _kept_ratios(self, chroma: Indices | Array, ratios: Doubles) -> Doubles:
        if self._character.keep_formants or self.transposed:  # modes have no formants
            return super()._kept_ratios(chroma, ratios)
        pitches = chroma + 12 * np.log2(ratios)
        beyond: Doubles = np.exp2((pitches - np.clip(pitches, self.lowest_key - 0.5, self.highest_key + 0.5)) / 12)
        return beyond

    def _recorded(
        self, residual: Residual, chroma: Indices | Array, rows: Array, first: Doubles, split: SplitFrames
    ) -> SplitFrames:
        if any(modes is not None for modes in residual.modes):
            split = self._with_modes(residual.modes, chroma, rows, split.strengths)
        if self.band_filter is not None:
            split = self._filtered(self.band_filter, residual.gains, first[:, np.newaxis] * split.orders, split)
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
            residue[taken], low[taken] = self.decoded.noise(power[taken])
        return SplitFrames(orders, partials, residue, low)

    def _placed(self, modes: Doubles | None, key: int) -> PlacedModes:
        known = self._placed_modes.get((id(modes), key))
        if known is None or known[0] is not modes:
            if len(self._placed_modes) >= REMEMBERED:
                del self._placed_modes[next(iter(self._placed_modes))]
            orders = self.decoded.orders if self.decoded.orders.ndim == 1 else self.decoded.orders[key]
            placed = placed_modes(NO_MODES if modes is None else modes, orders, self._card, key)
            known = self._placed_modes[id(modes), key] = modes, placed
        return known[1]

    def _filtered(self, by: BandFilter, gains: Array, places: Doubles, split: SplitFrames) -> SplitFrames:
        """At equal power."""
        factors = by.factors(gains)
        at = np.minimum(np.rint(places), self._bins - 1).astype(np.intp)
        at += (np.arange(len(at)) * self._bins)[:, np.newaxis]
        moved, noise = split.strengths * factors.take(at), split.residue * factors
        low = split.low * factors.take(self.low_middles, axis=1)
        heard = max(self.low_bins, self.lowest_bin)
        whole, after = (
            np.float32(HANN_ENERGY * self._scale) * np.vecdot(partials, partials)
            + np.vecdot(rest, rest)
            + np.vecdot(np.square(deep), self.low_widths)
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
        amounts: Doubles | None = None,
    ) -> Array:
        """As `Voicing.make`; a mask of keys needs states of `begin`."""
        if chroma.ndim == 1:
            inside = self._inside(chroma.astype(np.intp))
            return super().make(latents, inside, ratios * np.exp2((chroma - inside) / 12), states, residual, amounts)
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
        part = residual and residual.of_rows(rows.tolist())
        inside, own_amounts = self._inside(keys), None if amounts is None else amounts[rows]
        own_ratios = ratios[rows] * np.exp2((keys - inside) / 12)
        frames = super().make(latents[rows], inside, own_ratios, own, part, own_amounts)
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
