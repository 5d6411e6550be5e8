"""Partials and noise of frames, analyzed from spectra or decoded as such."""

import itertools
import math
from typing import Protocol

import numpy as np

from ...arrays import Array, Doubles, Indices
from ...contract.card import KEYS, PITCH_CLASSES, Card, PartialsLayout
from ...contract.partials import in_bins, orders, spread
from ...units import INAUDIBLE_HZ
from .partial_analysis import HIGHEST_HARMONIC, QUIETEST, Layout, split_partials

FINE = 8  # band lookups per noise bin
# Noise bins too coarse for low bands: 86 Hz at 44.1 kHz. Noise 30 dB louder at 20 Hz would leak through them.
FEWEST_LOW_BINS, MOST_LOW_BINS = 2, 16
OFFSET_HZ = 60.0  # an inaudible band that ends below this is skipped: it may be a DC offset


class DecodedPartials(Protocol):
    layout: Layout
    orders: Doubles  # frequency ratios to the first partial, [harmonics], or by key, [128, harmonics]
    low_edges: tuple[float, ...]  # of the low noise bands, in noise bins; one more than bands

    def fundamentals(self, condition: Indices | Array) -> Doubles:
        """In bins of the model, [rows]; NaN if unpitched.

        ``condition``: pitch class or key, [rows], or weights of pitch classes, [rows, 12].
        """

    def rows(self, frames: Array, condition: Indices | Array) -> Array:
        """[rows, layout.width] of frames, [rows, frame_width], and their decoder condition."""


class PartialsOfSpectra:
    low_edges: tuple[float, ...] = ()

    def __init__(self, card: Card, bins: int, scale: float) -> None:
        self._fundamentals, harmonics = np.full(PITCH_CLASSES, np.nan), 0
        if card.chroma is not None:
            lowest = PITCH_CLASSES * (card.chroma.octave + 1)
            self._fundamentals = in_bins(np.arange(lowest, lowest + PITCH_CLASSES), card)
            harmonics = min(HIGHEST_HARMONIC, int((card.frame_length // 2 + 1) / self._fundamentals[0]))
        self.layout = Layout(harmonics, bins, 1 / scale)
        self.orders = np.arange(1.0, harmonics + 1)

    def fundamentals(self, condition: Indices | Array) -> Doubles:
        if condition.ndim == 1:
            return self._fundamentals[condition]
        alone = np.count_nonzero(condition, axis=1) == 1
        return np.where(alone, self._fundamentals[condition.argmax(axis=1)], np.nan)

    def rows(self, frames: Array, condition: Indices | Array) -> Array:
        return split_partials(frames, self.fundamentals(condition), self.layout)


class PartialsOfFrames:
    """Reads a model of partials.

    Attributes:
        spread: share of each band's power per noise bin, [bands, bins].
        low_spread: the same per low band, [bands, lows].
        heard: 1 for audible bands, else 0, [bands].
    """

    def __init__(self, card: Card, partials: PartialsLayout, bins: int, scale: float) -> None:
        self._fundamentals = in_bins(np.arange(KEYS), card)
        a_bin = card.sample_rate / (card.frame_length * scale)  # Hz
        top = low_bins(partials.edges_hz[1], a_bin) * a_bin
        low_hz = [INAUDIBLE_HZ, *(edge for edge in partials.edges_hz if INAUDIBLE_HZ < edge < top), top]
        self.low_edges = tuple(hertz / a_bin for hertz in low_hz)
        self.layout = Layout(
            partials.harmonics, bins, 1 / scale, most_free=0, lows=len(low_hz) - 1, bands=partials.bands
        )
        self.orders = orders(partials, np.arange(KEYS) if partials.stretch else np.zeros(1))
        if not partials.stretch:
            self.orders = self.orders[0]
        # A noise bin has the mean power over its width.
        places = (np.arange(bins)[:, np.newaxis] + (np.arange(FINE) + 0.5) / FINE - 0.5).ravel()
        self.spread = spread(partials, np.abs(places) * a_bin).reshape(partials.bands, bins, FINE).mean(2)
        within = (low + (high - low) * (np.arange(FINE) + 0.5) / FINE for low, high in itertools.pairwise(low_hz))
        self.low_spread = np.stack([spread(partials, hertz).mean(1) for hertz in within], axis=1)
        self.heard = np.ones(partials.bands, np.float32)
        if partials.edges_hz[0] < INAUDIBLE_HZ and partials.edges_hz[1] < OFFSET_HZ:
            self.heard[0] = 0.0  # a DC offset of recordings or soundfonts would become hum
        self.spread *= self.heard[:, np.newaxis]
        self.low_spread *= self.heard[:, np.newaxis]
        self._lowest = np.flatnonzero(self.low_spread.any(axis=1)).tolist()
        self._taps = _taps(self.spread)

    def fundamentals(self, condition: Indices | Array) -> Doubles:
        return self._fundamentals[condition]

    def rows(self, frames: Array, condition: Indices | Array) -> Array:
        count = self.layout.harmonics
        power, heights = np.square(frames[:, count:]), frames[:, :count]
        quiet = heights < np.float32(QUIETEST) * heights.max(axis=1, keepdims=True)
        return np.concatenate([np.where(quiet, np.float32(0), heights), *self.noise(power), power], axis=1)

    def noise(self, power: Array) -> tuple[Array, Array]:
        """Magnitudes of noise and low noise, as in `Layout`, of bands' powers, [rows, bands]."""
        # Explicit sums: a matrix product rounds differently for one row than for many, on most processors.
        noise = np.zeros((len(power), self.spread.shape[1]), np.float32)
        for bands, shares in self._taps:
            noise[:, : len(bands)] += power.take(bands, axis=1) * shares
        np.sqrt(noise, out=noise)
        low = np.zeros((len(power), self.layout.lows), np.float32)
        for band in self._lowest:
            low += power[:, band, np.newaxis] * self.low_spread[band]
        np.sqrt(low, out=low)
        return noise, low


def _taps(weights: Array) -> list[tuple[Indices, Array]]:
    """Each column's first row with a weight, and that weight, then the second and so on."""
    rows = np.argsort(weights == 0, axis=0, kind="stable")
    shares = np.take_along_axis(weights, rows, axis=0)
    ends = [int(np.flatnonzero(row)[-1]) + 1 for row in shares if row.any()]
    return [(rows[tap, :end], shares[tap, :end]) for tap, end in enumerate(ends)]


def low_bins(edge: float, a_bin: float) -> int:
    """Noise bins that low-band loops replace: those below ``edge`` Hz."""
    count = max(FEWEST_LOW_BINS, math.ceil(edge / a_bin + 0.5))
    return count if count <= MOST_LOW_BINS else FEWEST_LOW_BINS


def parts(card: Card, bins: int, scale: float) -> DecodedPartials:
    if card.partials is not None:
        return PartialsOfFrames(card, card.partials, bins, scale)
    return PartialsOfSpectra(card, bins, scale)
