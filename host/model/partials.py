"""Frames of partials: harmonics and noise bands as magnitude spectra."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles, Indices
from ..units import INAUDIBLE_HZ, midi_to_hz
from .card import Card, PartialsLayout

LOBE_REACH = 3  # bins on either side of a partial in a spectrum
HANN_ENERGY = 1.5  # sum of the squares of a Hann lobe of height 1 over all bins, for any center


def spread(partials: PartialsLayout, hertz: Doubles) -> Array:
    """Noise weights of bands at frequencies, [bands, frequencies], for powers.

    Linear over log frequency between band centres, the geometric means of edges; zero below the first edge. The lowest
    band stays apart: a room's rumble must not leak into audible bands.
    """
    edges = np.maximum(np.array(partials.edges_hz), 1.0)
    middles = np.sqrt(edges[1:] * edges[:-1])
    at = np.interp(np.log(np.maximum(hertz, 1.0)), np.log(middles), np.arange(len(middles)))
    at = np.where(hertz < edges[1], 0.0, np.maximum(at, min(1.0, len(middles) - 1)))
    weights = np.maximum(0.0, 1 - np.abs(at - np.arange(len(middles))[:, np.newaxis]))
    found: Array = (weights * (hertz >= partials.edges_hz[0])).astype(np.float32)
    return found


def in_bins(keys: npt.NDArray[np.intp] | Doubles, card: Card) -> Doubles:
    """Fundamentals of MIDI notes, in bins of a model's frame."""
    return np.array([midi_to_hz(float(key)) for key in keys]) * card.frame_length / card.sample_rate


def spectra(card: Card, frames: Array, condition: Indices | Doubles) -> Array:
    """Magnitude spectra, [rows, bins], of frames of partials, [rows, frame_width]; other frames unchanged.

    Powers add, as with random phases. ``condition``: MIDI notes, [rows], fractions allowed.
    """
    layout = card.partials
    if layout is None:
        return frames
    heights, noise = frames[:, : layout.harmonics], np.square(frames[:, layout.harmonics :], dtype=np.float64)
    return summed(card, heights, in_bins(condition, card)[:, np.newaxis] * orders(layout, condition), noise)


def summed(card: Card, heights: Array, places: Doubles, noise: Doubles) -> Array:
    """Magnitude spectra, [rows, bins], of lobes and of bands' powers, [rows, bands].

    ``heights`` of lobes and ``places`` in bins: [rows, partials].
    """
    assert card.partials is not None
    bins = card.frame_length // 2 + 1
    hertz = np.arange(bins) * card.sample_rate / card.frame_length
    power = noise @ spread(card.partials, hertz)
    power[:, hertz < INAUDIBLE_HZ] = 0.0  # inaudible, and not synthesized by voices
    rows, numbers = np.nonzero(places < bins - 1)
    at = places[rows, numbers]
    middle = np.rint(at).astype(np.intp)
    energy = np.square(heights[rows, numbers], dtype=np.float64)
    for step in range(-LOBE_REACH, LOBE_REACH + 1):
        inside = np.flatnonzero((middle + step >= 0) & (middle + step < bins))
        lobe = hann_lobe(middle[inside] + step - at[inside])
        np.add.at(power, (rows[inside], middle[inside] + step), energy[inside] * np.square(lobe))
    found: Array = np.sqrt(power).astype(np.float32)
    return found


def hann_lobe(away: Doubles) -> Doubles:
    """The Hann window's main lobe ``away`` bins from its centre, where it is 1."""
    beside = np.abs(np.abs(away) - 1) < 1e-9
    lobe: Doubles = np.where(beside, 0.5, np.sinc(away) / np.where(beside, 1.0, 1 - np.square(away)))
    return lobe


def orders(partials: PartialsLayout, keys: Indices | Doubles) -> Doubles:
    """Frequency ratios to the first partial, [keys, harmonics]."""
    number = np.arange(1.0, partials.harmonics + 1)
    return stretched(number, np.array([partials.inharmonicity(float(key)) for key in keys])[:, np.newaxis])


def stretched(number: npt.NDArray[Any], stiffness: Any) -> Doubles:
    """Frequency ratios of partials for inharmonicity B (Fletcher, J. Acoust. Soc. Am. 36, 1964)."""
    found: Doubles = number * np.sqrt((1 + stiffness * np.square(number, dtype=np.float64)) / (1 + stiffness))
    return found
