"""Places decoded partials and noise in spectra, at a processed sound's pitches."""

import numpy as np

from ...arrays import Array, Doubles
from ...contract.card import Card
from ...contract.partials import HANN_ENERGY, in_bins, orders, spectra

LOBE = 2.0  # bins, half the width of a harmonic's lobe


class PartialSpectra:
    def __init__(self, card: Card) -> None:
        assert card.partials is not None
        self._card, self._layout = card, card.partials
        self._last = middle_of(card)

    def filled_pitches(self, pitches: Doubles) -> Doubles:
        """Pitches, [rows], `filled` from the last call's on."""
        found = filled(pitches, self._last)
        if len(found):
            self._last = float(found[-1])
        return found

    def apply(self, frames: Array, pitches: Doubles, told: Doubles) -> tuple[Array, Doubles]:
        """Magnitudes of energy 1, and bins' distance to their harmonic in bins or NaN, [rows, bins] both.

        Args:
            frames: [rows, frame_width].
            pitches: fractional MIDI notes, [rows]; NaN spreads the partials' power evenly between them.
            told: pitches used for decoding, [rows]; never NaN.
        """
        partials = frames.copy()
        unpitched = np.flatnonzero(np.isnan(pitches))
        partials[unpitched, : self._layout.harmonics] = 0.0
        power = np.square(spectra(self._card, partials, told), dtype=np.float64)
        places = in_bins(told, self._card)[:, np.newaxis] * orders(self._layout, told)
        bins = np.arange(power.shape[1], dtype=np.float64)
        away = np.full(power.shape, np.nan)
        for row in range(len(frames)):
            at = places[row]
            if np.isnan(pitches[row]):
                density = HANN_ENERGY * np.square(frames[row, : len(at)], dtype=np.float64) / at[0]
                power[row] += np.interp(bins, at, density, left=0.0, right=0.0)
            else:
                nearest = at[np.clip(np.rint(bins / at[0]).astype(np.intp), 1, len(at)) - 1] - bins
                away[row] = np.where(np.abs(nearest) < LOBE, nearest, np.nan)
        power /= np.maximum(power.sum(1, keepdims=True), np.finfo(np.float64).tiny)
        given: Array = np.sqrt(power).astype(np.float32)
        return given, away


def middle_of(card: Card) -> float:
    """Middle pitch, a fractional MIDI note."""
    assert card.partials is not None
    return (card.partials.low + card.partials.high) / 2


def filled(pitches: Doubles, before: float) -> Doubles:
    """Replace NaN in pitches, [rows], by the last known one, first ``before``."""
    known = np.where(np.isnan(pitches), 0, np.arange(1, len(pitches) + 1))
    found: Doubles = np.concatenate([[before], pitches])[np.maximum.accumulate(known)] if len(pitches) else pitches
    return found
