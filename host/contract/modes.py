"""Modes of struck bodies: inharmonic partials."""

from typing import NamedTuple

import numpy as np

from ..arrays import Array, Doubles, Indices
from ..units import midi_to_hz
from .card import Card
from .partials import HANN_ENERGY

NO_MODES = np.zeros((0, 3))


class PlacedModes(NamedTuple):
    orders: Doubles  # frequency ratios to the first partial, [partials]: harmonics or modes in their place, other modes
    takers: Indices  # partials that take power from noise, as places in ``orders``, [takers]
    bands: Indices  # from which they take it, [takers]
    energy: Array  # squared height of their lobes, relative to the band's squared level, [takers]
    left: Array  # share of each band's power that remains noise, [bands]

    def applied(self, heights: Array, power: Array) -> tuple[Array, Array]:
        """Magnitudes of partials, [rows, partials], and powers of noise.

        ``heights``: of harmonics, [rows, harmonics]; ``power``: of noise, [rows, bands].
        """
        more = len(self.orders) - heights.shape[1]
        partials = np.pad(heights, ((0, 0), (0, more)))
        own = partials[:, self.takers]
        partials[:, self.takers] = np.sqrt(own * own + self.energy * power[:, self.bands])
        return partials, power * self.left


def placed_modes(modes: Doubles, orders: Doubles, card: Card, key: float) -> PlacedModes:
    """Place a note's modes (`NoteWay`), [modes, 3], at a key.

    ``orders``: the key's frequency ratios of harmonics, [harmonics].
    """
    layout = card.partials
    assert layout is not None
    harmonic = modes[:, 1].astype(np.intp)
    places = np.where(harmonic > 0, harmonic - 1, len(orders) + np.cumsum(harmonic == 0) - 1)
    found = np.concatenate([orders, modes[harmonic == 0, 0]])
    found[places] = modes[:, 0]
    bands = np.searchsorted(layout.edges_hz, modes[:, 0] * midi_to_hz(key), side="right") - 1
    takes = np.flatnonzero((modes[:, 2] > 0) & (bands >= 0) & (bands < layout.bands))
    bands, shares = bands[takes], modes[takes, 2]
    whole = np.bincount(bands, shares, layout.bands)
    energy = shares / np.maximum(whole[bands], 1.0) * band_energy(card)[bands]
    left = 1 - np.minimum(whole, 1.0)
    return PlacedModes(found, places[takes], bands, energy.astype(np.float32), left.astype(np.float32))


def band_energy(card: Card) -> Doubles:
    """Squared height of the lobe with a band's power, relative to its squared level, [bands]."""
    assert card.partials is not None
    widths = np.diff(card.partials.edges_hz) * card.frame_length / card.sample_rate  # bins; narrow bands have one
    energy: Doubles = np.maximum(widths, 1.0) / HANN_ENERGY
    return energy
