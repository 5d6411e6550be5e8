"""Partials and noise of what a model decodes: spectra are taken apart, a model of partials gives them as they are."""

import itertools
import math
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...contract.card import KEYS, PITCH_CLASSES, Card, PartialsLayout
from ...contract.partials import in_bins, orders, spread
from ...units import INAUDIBLE_HZ
from .partial_analysis import HIGHEST_HARMONIC, QUIETEST, Floats, Layout, taken_apart

FINE = 8  # places in a bin of noise at which bands are looked up
# Of noise, below which bins are too coarse: 86 Hz at 44.1 kHz. What is 30 dB louder at 20 Hz would reach through them.
FEWEST_LOW_BINS, MOST_LOW_BINS = 2, 16
OFFSET_HZ = 60.0  # below which a band ends that is left out where it begins below what is heard: it may be an offset

Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


class Parts(Protocol):
    """Partials and noise of decoded frames.

    Attributes:
        layout: of a row of them.
        orders: the frequency of each partial in parts of the first one's, [harmonics], or by key, [128, harmonics].
        low_edges: of the low bands of noise, in bins of noise, one more than there are of these.
    """

    layout: Layout
    orders: Floats
    low_edges: tuple[float, ...]

    def fundamentals(self, condition: Indices | Array) -> Floats:
        """Return the fundamentals of decoded frames in bins of a frame of the model, [rows]; NaN where there is none.

        Args:
            condition: the pitch class or key of each, [rows], or how much there is of each pitch class, [rows, 12].
        """
        ...

    def rows(self, frames: Array, condition: Indices | Array) -> Array:
        """Return the rows of frames, [rows, frame_width], which were decoded for a condition: [rows, layout.width]."""
        ...


class OfSpectra:
    """Partials and noise of spectra, which are taken apart."""

    low_edges: tuple[float, ...] = ()

    def __init__(self, card: Card, bins: int, scale: float) -> None:
        """Make the tables.

        Args:
            bins: of noise.
            scale: bins of noise a bin of the model's frames.
        """
        self._fundamentals, harmonics = np.full(PITCH_CLASSES, np.nan), 0
        if card.chroma is not None:
            lowest = PITCH_CLASSES * (card.chroma.octave + 1)
            self._fundamentals = in_bins(np.arange(lowest, lowest + PITCH_CLASSES), card)
            harmonics = min(HIGHEST_HARMONIC, int((card.frame_length // 2 + 1) / self._fundamentals[0]))
        self.layout = Layout(harmonics, bins, 1 / scale)
        self.orders = np.arange(1.0, harmonics + 1)

    def fundamentals(self, condition: Indices | Array) -> Floats:
        """See `Parts`."""
        if condition.ndim == 1:
            return self._fundamentals[condition]
        alone = np.count_nonzero(condition, axis=1) == 1
        return np.where(alone, self._fundamentals[condition.argmax(axis=1)], np.nan)

    def rows(self, frames: Array, condition: Indices | Array) -> Array:
        """See `Parts`."""
        return taken_apart(frames, self.fundamentals(condition), self.layout)


class OfPartials:
    """Partials and noise as a model of partials gives them.

    Attributes:
        spread: how much of each band's power each bin of noise takes, [bands, bins].
        low_spread: and each of the low bands, [bands, lows].
        heard: which bands are played, [bands].
    """

    def __init__(self, card: Card, partials: PartialsLayout, bins: int, scale: float) -> None:
        """Make the tables; arguments as of `OfSpectra`."""
        self._fundamentals = in_bins(np.arange(KEYS), card)
        a_bin = card.sample_rate / (card.frame_length * scale)  # Hz
        top = low_bins(partials.edges_hz[1], a_bin) * a_bin
        low_hz = [INAUDIBLE_HZ, *(edge for edge in partials.edges_hz if INAUDIBLE_HZ < edge < top), top]
        self.low_edges = tuple(hertz / a_bin for hertz in low_hz)
        self.layout = Layout(partials.harmonics, bins, 1 / scale, most_free=0, lows=len(low_hz) - 1)
        self.orders = orders(partials, np.arange(KEYS) if partials.stretch else np.zeros(1))
        if not partials.stretch:
            self.orders = self.orders[0]
        # A bin of noise takes the mean power of as much of the spectrum as it is wide.
        places = (np.arange(bins)[:, np.newaxis] + (np.arange(FINE) + 0.5) / FINE - 0.5).ravel()
        self.spread = spread(partials, np.abs(places) * a_bin).reshape(partials.bands, bins, FINE).mean(2)
        within = (low + (high - low) * (np.arange(FINE) + 0.5) / FINE for low, high in itertools.pairwise(low_hz))
        self.low_spread = np.stack([spread(partials, hertz).mean(1) for hertz in within], axis=1)
        self.heard = np.ones(partials.bands, np.float32)
        if partials.edges_hz[0] < INAUDIBLE_HZ and partials.edges_hz[1] < OFFSET_HZ:
            self.heard[0] = 0.0  # of a constant, which recordings and soundfonts may have, a hum would come
        self.spread *= self.heard[:, np.newaxis]
        self.low_spread *= self.heard[:, np.newaxis]
        self._lowest = np.flatnonzero(self.low_spread.any(axis=1)).tolist()

    def fundamentals(self, condition: Indices | Array) -> Floats:
        """See `Parts`."""
        return self._fundamentals[condition]

    def rows(self, frames: Array, condition: Indices | Array) -> Array:
        """See `Parts`."""
        count = self.layout.harmonics
        power = np.square(frames[:, count:])
        noise = np.sqrt(power @ self.spread)
        # A product of matrices as narrow as this one rounds otherwise for one row than for many: its sums are written.
        low = np.zeros((len(frames), self.layout.lows), np.float32)
        for band in self._lowest:
            low += power[:, band, np.newaxis] * self.low_spread[band]
        np.sqrt(low, out=low)
        heights = frames[:, :count]
        quiet = heights < np.float32(QUIETEST) * heights.max(axis=1, keepdims=True)
        return np.concatenate([np.where(quiet, np.float32(0), heights), noise, low], axis=1)


def low_bins(edge: float, a_bin: float) -> int:
    """Return how many bins of noise have loops in their place: all that reach below the lowest band's edge, in Hz."""
    count = max(FEWEST_LOW_BINS, math.ceil(edge / a_bin + 0.5))
    return count if count <= MOST_LOW_BINS else FEWEST_LOW_BINS


def parts(card: Card, bins: int, scale: float) -> Parts:
    """Return what gives the partials and the noise of a model's frames; arguments as of `OfSpectra`."""
    if card.partials is not None:
        return OfPartials(card, card.partials, bins, scale)
    return OfSpectra(card, bins, scale)
