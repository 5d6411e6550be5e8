"""Partials and noise of what a model decodes: spectra are taken apart, a model of partials gives them as they are."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..contract.card import KEYS, PITCH_CLASSES, Card, Partials
from ..contract.partials import in_bins, orders, spread
from .partials import HIGHEST_HARMONIC, QUIETEST, Floats, Layout, taken_apart

FINE = 8  # places in a bin of noise at which bands are looked up

Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]


class Parts(Protocol):
    """Partials and noise of decoded frames.

    Attributes:
        layout: of a row of them.
        orders: the frequency of each partial in parts of the first one's, [harmonics], or by key, [128, harmonics].
    """

    layout: Layout
    orders: Floats

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
    """

    def __init__(self, card: Card, partials: Partials, bins: int, scale: float) -> None:
        """Make the tables; arguments as of `OfSpectra`."""
        self._fundamentals = in_bins(np.arange(KEYS), card)
        self.layout = Layout(partials.harmonics, bins, 1 / scale, most_free=0)
        self.orders = orders(partials, np.arange(KEYS) if partials.stretch else np.zeros(1))
        if not partials.stretch:
            self.orders = self.orders[0]
        # A bin of noise takes the mean power of as much of the spectrum as it is wide.
        places = (np.arange(bins)[:, np.newaxis] + (np.arange(FINE) + 0.5) / FINE - 0.5).ravel()
        hertz = np.abs(places) / scale * card.sample_rate / card.frame_length
        self.spread = spread(partials, hertz).reshape(partials.bands, bins, FINE).mean(2)

    def fundamentals(self, condition: Indices | Array) -> Floats:
        """See `Parts`."""
        return self._fundamentals[condition]

    def rows(self, frames: Array, condition: Indices | Array) -> Array:
        """See `Parts`."""
        count = self.layout.harmonics
        noise = np.sqrt(np.square(frames[:, count:]) @ self.spread)
        heights = frames[:, :count]
        quiet = heights < np.float32(QUIETEST) * heights.max(axis=1, keepdims=True)
        return np.concatenate([np.where(quiet, np.float32(0), heights), noise], axis=1)


def parts(card: Card, bins: int, scale: float) -> Parts:
    """Return what gives the partials and the noise of a model's frames; arguments as of `OfSpectra`."""
    if card.partials is not None:
        return OfPartials(card, card.partials, bins, scale)
    return OfSpectra(card, bins, scale)
