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
        self.transposed = gestures is not None and any(instrument.transposed for instrument in gestures.instruments)
        bands_hz, bin_hz = () if gestures is None else gestures.bands_hz, model.card.sample_rate / self.frame_length
        self.band_filter = BandFilter(bands_hz, self._bins, bin_hz) if bands_hz else None
        edges = np.array(self.decoded.low_edges)
        self.low_middles = np.rint((edges[1:] + edges[:-1]) / 2).astype(np.intp)
        self.low_widths = np.diff(edges).astype(np.float32)
        self._placed_modes: dict[tuple[int, int], tuple[Doubles | None, PlacedModes]] = {}

    def _clamped_keys(self, keys: Indices) -> Indices:
        return np.clip(keys, self.lowest_key, self.highest_key)

    def _formant_ratios(self, chroma: Indices | Array, ratios: Doubles) -> Doubles:
        if self._character.keep_formants or self.transposed:  # modes have no formants
            return super()._formant_ratios(chroma, ratios)
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
        modes_by_row = [
            self._modes_at(note_modes, int(key)) for note_modes, key in zip(modes, chroma.tolist(), strict=True)
        ]
        widest = max(len(row_modes.orders) for row_modes in modes_by_row)
        orders, partials = np.ones((len(rows), widest)), np.zeros((len(rows), widest), np.float32)
        residue, low = self._layout.residue(rows), self._layout.low(rows)
        power, has_takers = (
            self._layout.band_power(rows).copy(),
            np.array([len(row_modes.takers) > 0 for row_modes in modes_by_row]),
        )
        for _, group in itertools.groupby(range(len(rows)), key=lambda row: id(modes_by_row[row])):
            group_rows = list(group)
            row_slice, group_modes = slice(group_rows[0], group_rows[-1] + 1), modes_by_row[group_rows[0]]
            orders[row_slice, : len(group_modes.orders)] = group_modes.orders
            partials[row_slice, : len(group_modes.orders)], power[row_slice] = group_modes.applied(
                strengths[row_slice], power[row_slice]
            )
        if has_takers.any():
            residue, low = residue.copy(), low.copy()
            residue[has_takers], low[has_takers] = self.decoded.noise(power[has_takers])
        return SplitFrames(orders, partials, residue, low)

    def _modes_at(self, modes: Doubles | None, key: int) -> PlacedModes:
        entry = self._placed_modes.get((id(modes), key))
        if entry is None or entry[0] is not modes:
            if len(self._placed_modes) >= REMEMBERED:
                del self._placed_modes[next(iter(self._placed_modes))]
            orders = self.decoded.orders if self.decoded.orders.ndim == 1 else self.decoded.orders[key]
            positions = placed_modes(NO_MODES if modes is None else modes, orders, self._card, key)
            entry = self._placed_modes[id(modes), key] = modes, positions
        return entry[1]

    def _filtered(self, band_filter: BandFilter, gains: Array, places: Doubles, split: SplitFrames) -> SplitFrames:
        """At equal power."""
        factors = band_filter.factors(gains)
        bin_indices = np.minimum(np.rint(places), self._bins - 1).astype(np.intp)
        bin_indices += (np.arange(len(bin_indices)) * self._bins)[:, np.newaxis]
        strengths, noise = split.strengths * factors.take(bin_indices), split.residue * factors
        low = split.low * factors.take(self.low_middles, axis=1)
        lowest_bin = max(self.low_bins, self.lowest_bin)
        power_before, power_after = (
            np.float32(HANN_ENERGY * self._scale) * np.vecdot(partials, partials)
            + np.vecdot(noise_levels, noise_levels)
            + np.vecdot(np.square(low_levels), self.low_widths)
            for partials, noise_levels, low_levels in (
                (split.strengths, split.residue[:, lowest_bin:], split.low),
                (strengths, noise[:, lowest_bin:], low),
            )
        )
        correction = np.sqrt(power_before / np.maximum(power_after, SILENT))[:, np.newaxis]
        return split._replace(strengths=strengths * correction, residue=noise * correction, low=low * correction)

    def start_state(self) -> ChordState:
        self._voices_begun += 1
        return ChordState(*self._beginning(self._voices_begun), self._voices_begun)

    def prepare(self, latents: Array, chroma: Indices | Array) -> bool:
        rows, keys = _rows_and_keys(chroma)
        return bool(len(rows)) and super().prepare(latents[rows], self._clamped_keys(keys))

    def keep(self, latents: Array, chroma: Indices | Array) -> None:
        rows, keys = _rows_and_keys(chroma)
        super().keep(latents[rows], self._clamped_keys(keys))

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
            decoded_keys = self._clamped_keys(chroma.astype(np.intp))
            return super().make(
                latents, decoded_keys, ratios * np.exp2((chroma - decoded_keys) / 12), states, residual, amounts
            )
        rows, keys = _rows_and_keys(chroma)
        sums = np.zeros((len(chroma), self.channels, self.frame_length), np.float32)
        if not len(rows):
            return sums
        counts = np.bincount(rows, minlength=len(chroma))
        voice_numbers = {id(state): number for number, state in enumerate(states)}
        # Frames of one key must be adjacent and in time order.
        order = np.lexsort((rows, keys, np.array([voice_numbers[id(states[row])] for row in rows])))
        rows, keys = rows[order], keys[order]
        key_states = [self._of_key(states[row], key) for row, key in zip(rows.tolist(), keys.tolist(), strict=True)]
        key_residual = residual and residual.of_rows(rows.tolist())
        decoded_keys, key_amounts = self._clamped_keys(keys), None if amounts is None else amounts[rows]
        key_ratios = ratios[rows] * np.exp2((keys - decoded_keys) / 12)
        frames = super().make(latents[rows], decoded_keys, key_ratios, key_states, key_residual, key_amounts)
        frames /= np.sqrt(counts[rows])[:, np.newaxis, np.newaxis]
        np.add.at(sums, rows, frames)
        return sums

    def _of_key(self, state: CoherentState, key: int) -> CoherentState:
        assert isinstance(state, ChordState)
        if key not in state.keys:
            # Seeded by the voice's number: a key's phases do not depend on the block.
            state.keys[key] = CoherentState(*self._beginning(state.number * KEYS + key))
        return state.keys[key]


def _rows_and_keys(chroma: Indices | Array) -> tuple[Indices, Indices]:
    if chroma.ndim == 1:
        return np.arange(len(chroma)), chroma.astype(np.intp)
    rows, keys = np.nonzero(chroma)
    return rows, keys
