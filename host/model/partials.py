"""Frames of partials: harmonics and noise bands as magnitude spectra."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Doubles, Indices
from ..kinds.card_fields import PartialsLayout
from ..units import INAUDIBLE_HZ, midi_to_hz
from .card import Card

LOBE_REACH = 3  # bins on either side of a partial in a spectrum
HANN_ENERGY = 1.5  # sum of the squares of a Hann lobe of height 1 over all bins, for any center


def spread(partials: PartialsLayout, hertz: Doubles) -> Array:
    """Noise weights of bands at frequencies, [bands, frequencies], for powers.

    Linear over log frequency between band centres, the geometric means of edges; zero below the first edge. The lowest
    band stays apart: a room's rumble must not leak into audible bands.
    """
    edges_hz = np.maximum(np.array(partials.edges_hz), 1.0)
    center_hz = np.sqrt(edges_hz[1:] * edges_hz[:-1])
    band_position = np.interp(np.log(np.maximum(hertz, 1.0)), np.log(center_hz), np.arange(len(center_hz)))
    band_position = np.where(hertz < edges_hz[1], 0.0, np.maximum(band_position, min(1.0, len(center_hz) - 1)))
    linear_weights = np.maximum(0.0, 1 - np.abs(band_position - np.arange(len(center_hz))[:, np.newaxis]))
    return (linear_weights * (hertz >= partials.edges_hz[0])).astype(np.float32)


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
    harmonic_heights, noise_power = (
        frames[:, : layout.harmonics],
        np.square(frames[:, layout.harmonics :], dtype=np.float64),
    )
    return summed(
        card, harmonic_heights, in_bins(condition, card)[:, np.newaxis] * orders(layout, condition), noise_power
    )


def summed(card: Card, heights: Array, center_bins: Doubles, noise: Doubles) -> Array:
    """Magnitude spectra, [rows, bins], of lobes and of bands' powers, [rows, bands].

    ``heights`` of lobes and ``center_bins`` in bins: [rows, partials].
    """
    assert card.partials is not None
    bin_count = card.frame_length // 2 + 1
    bin_hz = np.arange(bin_count) * card.sample_rate / card.frame_length
    bin_power = noise @ spread(card.partials, bin_hz)
    bin_power[:, bin_hz < INAUDIBLE_HZ] = 0.0  # inaudible, and not synthesized by voices
    lobe_rows, lobe_partials = np.nonzero(center_bins < bin_count - 1)
    lobe_center_bins = center_bins[lobe_rows, lobe_partials]
    nearest_bins = np.rint(lobe_center_bins).astype(np.intp)
    squared_heights = np.square(heights[lobe_rows, lobe_partials], dtype=np.float64)
    for bin_offset in range(-LOBE_REACH, LOBE_REACH + 1):
        in_spectrum_indices = np.flatnonzero((nearest_bins + bin_offset >= 0) & (nearest_bins + bin_offset < bin_count))
        relative_heights = hann_lobe(
            nearest_bins[in_spectrum_indices] + bin_offset - lobe_center_bins[in_spectrum_indices]
        )
        np.add.at(
            bin_power,
            (lobe_rows[in_spectrum_indices], nearest_bins[in_spectrum_indices] + bin_offset),
            squared_heights[in_spectrum_indices] * np.square(relative_heights),
        )
    return np.sqrt(bin_power).astype(np.float32)


def hann_lobe(offset_bins: Doubles) -> Doubles:
    """The Hann window's main lobe ``offset_bins`` bins from its centre, where it is 1."""
    is_singular = np.abs(np.abs(offset_bins) - 1) < 1e-9  # 0 / 0, whose limit is 0.5
    return np.where(is_singular, 0.5, np.sinc(offset_bins) / np.where(is_singular, 1.0, 1 - np.square(offset_bins)))


def orders(partials: PartialsLayout, keys: Indices | Doubles) -> Doubles:
    """Frequency ratios to the first partial, [keys, harmonics]."""
    harmonic_numbers = np.arange(1.0, partials.harmonics + 1)
    return stretched(harmonic_numbers, np.array([partials.inharmonicity(float(key)) for key in keys])[:, np.newaxis])


def stretched(number: npt.NDArray[Any], stiffness: Any) -> Doubles:
    """Frequency ratios of partials for inharmonicity B (Fletcher, J. Acoust. Soc. Am. 36, 1964)."""
    return number * np.sqrt((1 + stiffness * np.square(number, dtype=np.float64)) / (1 + stiffness))
