"""Decodes frames with caches, each distinct row once, and splits them into partials and noise."""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Doubles, Indices, Spectrum
from ...errors import UserError
from ...kinds.card_fields import KEYS, PITCH_CLASSES, ImageBand, PartialsLayout
from ...model.card import Card
from ...model.model import Model
from ...model.partials import in_bins, orders, spread
from ...preset.preset import PlaySettings
from ...units import INAUDIBLE_HZ
from .partial_analysis import HIGHEST_HARMONIC, QUIETEST, Layout, split_partials

BATCH = 128  # rows per decoder run: more bring no gain, and 128 rows of 2049 fit a core's cache
AHEAD = 8  # rows per step of decoding ahead: two batches hold the twelve pitch classes of shared latents
SILENT = np.float32(1e-30)  # energy of an empty frame
REMEMBERED = 2 * BATCH  # rows kept: 2 MB at 2049 bins, and more than 64 voices need at a time
UNREADY = 4 * AHEAD  # decoded frames that await conversion for synthesis, in a later block


class RowCache:
    """A first-in, first-out cache of rows by key; never evicts kept rows."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._rows: dict[Hashable, Array] = {}
        self._kept: dict[Hashable, Array] = {}
        self._remembered = remembered
        self.computed = 0  # rows so far, for `MovedSpectra`

    def missing(self, keys: Sequence[Hashable]) -> list[int]:
        """Positions of uncached keys, without duplicates."""
        first: dict[Hashable, int] = {}
        for position, key in enumerate(keys):
            if key not in self._rows and key not in self._kept:
                first.setdefault(key, position)
        return list(first.values())

    def keep(self, keys: Sequence[Hashable]) -> None:
        self._kept.update((key, self._rows.pop(key)) for key in keys if key in self._rows)

    def let_go(self) -> None:
        self._kept.clear()

    def rows(self, keys: Sequence[Hashable], compute: Callable[[list[int]], Array]) -> Array:
        """Row of each key, [keys, width], read-only; ``compute`` receives the positions of new keys."""
        with contextlib.suppress(KeyError):
            return _joined([self._rows[key] if key in self._rows else self._kept[key] for key in keys])
        first = {key: position for position, key in reversed(list(enumerate(keys)))}
        known = {key: rows[key] for rows in (self._kept, self._rows) for key in first if key in rows}
        new = sorted(position for key, position in first.items() if key not in known)
        fresh = compute(new)
        self.computed += len(new)
        place = {keys[position]: row for row, position in enumerate(new)}
        self._rows.update(zip(place, fresh, strict=True))
        for key in list(itertools.islice(self._rows, max(0, len(self._rows) - self._remembered))):
            del self._rows[key]
        if known:
            return _joined([fresh[place[key]] if key in place else known[key] for key in keys])
        return fresh if len(new) == len(keys) else fresh[[place[key] for key in keys]]


def _joined(rows: Sequence[Array]) -> Array:
    """Faster than `np.stack`."""
    return np.concatenate(rows).reshape(len(rows), -1)


class VoicingSettings(NamedTuple):
    phase: str = "coherent"
    noise: float = 1.0
    keep_formants: bool = False
    unison: int = 1
    detune_cents: float = 10.0
    width: float = 0.0
    image: float | None = None  # None: both sides are alike
    image_bands: Sequence[ImageBand] | None = None

    @classmethod
    def of(cls, play: PlaySettings) -> "VoicingSettings":
        """Copy the fields of the same names from a preset's [play] table."""
        return cls(*(getattr(play, name) for name in cls._fields))


PLAIN = VoicingSettings()


Ready = Callable[[Array, Indices | Array], Array]


class FrameDecoder:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._decoded, self._prepared = RowCache(UNREADY), RowCache()

    def rows(self, latents: Array, chroma: Indices | Array, ready: Ready) -> Array:
        """Rows from ``ready``, [rows, width], read-only.

        ``latents`` and ``chroma`` as in `Voicing.make`; ``ready`` converts frames, [rows, bins], and their chroma.
        """
        keys = row_keys(latents, chroma)

        def make(new: list[int]) -> Array:
            frames = self._decoded.rows(
                [keys[row] for row in new], lambda some: self._decode(latents, chroma, [new[row] for row in some])
            )
            return ready(frames, chroma[new])

        return self._prepared.rows(keys, make)

    def prepare(self, latents: Array, chroma: Indices | Array, ready: Ready) -> bool:
        """Do one step of `rows`; return whether another remains."""
        keys = row_keys(latents, chroma)
        missing = self._prepared.missing(keys)
        some = missing[:AHEAD]
        wanted = [keys[row] for row in some]
        if self._decoded.missing(wanted):
            self._decoded.rows(wanted, lambda new: self._decode(latents, chroma, [some[row] for row in new]))
            return True
        if some:
            self.rows(latents[some], chroma[some], ready)
        return len(missing) > len(some)

    def keep(self, latents: Array, chroma: Indices | Array) -> None:
        self._prepared.keep(row_keys(latents, chroma))

    def let_go(self) -> None:
        self._prepared.let_go()

    def _decode(self, latents: Array, chroma: Indices | Array, new: list[int]) -> Array:
        return self._model.decode(latents[new], chroma[new])


def check_window(card: Card, phase: str) -> None:
    """Raise UserError for frames of another window than Hann's, for which only the phase "noise" is defined."""
    if card.window != "hann":
        raise UserError(
            f"play.phase = {phase!r} needs frames of a Hann window, those of {card.name!r} have {card.window!r}; "
            "set phase = 'noise'"
        )


def row_keys(latents: Array, chroma: Indices | Array) -> list[Hashable]:
    pitches = chroma.tolist() if chroma.ndim == 1 else _bytes(chroma)
    return list(zip(_bytes(latents), pitches, strict=True))


def _bytes(rows: npt.NDArray[Any]) -> list[bytes]:
    whole = np.dtype((np.void, rows.shape[1] * rows.itemsize))
    each: list[bytes] = np.ascontiguousarray(rows).view(whole)[:, 0].tolist()
    return each


class MovedSpectra:
    """Decodes magnitudes and shifts them to a key's pitch.

    Constant latents repeat the same batches, so recent batches are cached whole.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._decoded, self._moved = RowCache(), RowCache()
        self._batches: dict[tuple[bytes, bytes, bytes], Spectrum] = {}

    def spectra(self, latents: Array, chroma: Indices | Array, ratios: npt.NDArray[np.float64]) -> Spectrum:
        """Magnitudes, [rows, bins], read-only, complex for multiplication by phases."""
        batch = latents.tobytes(), chroma.tobytes(), ratios.tobytes()
        known = self._batches.pop(batch, None)
        if known is None:
            computed = self._decoded.computed + self._moved.computed
            magnitudes = self._magnitudes(latents, chroma, ratios)
            known = magnitudes.astype(np.complex64)
            known.setflags(write=False)
            if self._decoded.computed + self._moved.computed != computed:  # latents move: the batch will not recur
                return known
            while sum(map(len, self._batches.values())) + len(known) > REMEMBERED:
                del self._batches[next(iter(self._batches))]
        self._batches[batch] = known
        return known

    def _magnitudes(self, latents: Array, chroma: Indices | Array, ratios: npt.NDArray[np.float64]) -> Array:
        plain = row_keys(latents, chroma)

        def decode(rows: Sequence[int]) -> Array:
            def compute(new: list[int]) -> Array:
                wanted = [rows[row] for row in new]
                return self._model.decode(latents[wanted], chroma[wanted])

            return self._decoded.rows([plain[row] for row in rows], compute)

        if np.all(ratios == 1.0):
            return decode(range(len(plain)))
        keys = list(zip(plain, ratios.tolist(), strict=True))
        return self._moved.rows(keys, lambda new: shift_spectra(decode(new), ratios[new]))

    def prepare(self, latents: Array, chroma: Indices | Array) -> bool:
        missing = self._decoded.missing(row_keys(latents, chroma))
        if some := missing[:AHEAD]:
            self._magnitudes(latents[some], chroma[some], np.ones(len(some)))
        return len(missing) > len(some)

    def keep(self, latents: Array, chroma: Indices | Array) -> None:
        self._decoded.keep(row_keys(latents, chroma))

    def let_go(self) -> None:
        self._decoded.let_go()


def shift_spectra(frames: Array, ratios: npt.NDArray[np.float64]) -> Array:
    """Shift magnitude spectra, [rows, bins], by ``ratios``, [rows]: 2 is an octave up.

    Each bin sums the spectrum between its edges before the shift: downward shifts lose no lobe. Bins in range keep
    their energy; else a note three octaves down would be 5 dB too soft.
    """
    different = set(ratios.tolist())
    if len(different) == 1:
        (ratio,) = different
        return frames if ratio == 1.0 else _moved_alike(frames, ratio)
    result = np.empty_like(frames)
    for ratio in different:
        rows = np.flatnonzero(ratios == ratio)
        result[rows] = frames[rows] if ratio == 1.0 else _moved_alike(frames[rows], ratio)
    return result


def _moved_alike(frames: Array, ratio: float) -> Array:
    indices, shares, kept = _stretch_taps(frames.shape[1], ratio)
    covered: Array = frames.take(indices[0], axis=1)  # four times as fast as frames[:, index]
    covered *= shares[0]
    for index, share in zip(indices[1:], shares[1:], strict=True):
        part = frames.take(index, axis=1)
        part *= share
        covered += part
    before = frames[:, :kept]
    energies = np.vecdot(before, before) / np.maximum(np.vecdot(covered, covered), SILENT)
    covered *= np.sqrt(energies)[:, np.newaxis]
    if covered.shape[1] == frames.shape[1]:
        return covered
    result = np.zeros_like(frames)
    result[:, : covered.shape[1]] = covered
    return result


@functools.lru_cache(maxsize=REMEMBERED)  # bounded: a bend passes through many ratios
def _stretch_taps(bins: int, ratio: float) -> tuple[Indices, Array, int]:
    count = min(bins, math.ceil(bins * ratio) + 1)  # down: upper bins are empty
    taps = min(bins, math.floor(1 / ratio) + 2)  # up: parts of two bins; down: of more
    edge = np.clip((np.arange(count + 1) - 0.5) / ratio + 0.5, 0.0, float(bins))
    low, high = edge[:-1], edge[1:]
    indices = np.minimum(low.astype(np.intp), bins - taps) + np.arange(taps)[:, np.newaxis]
    shares = np.clip(np.minimum(high, indices + 1.0) - np.maximum(low, indices), 0.0, None).astype(np.float32)
    return indices, shares, math.ceil(edge[-1])


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
        taps: bands and shares that each bin adds, as `_column_taps`.
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
        self.taps = _column_taps(self.spread)

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
        for bands, shares in self.taps:
            noise[:, : len(bands)] += power.take(bands, axis=1) * shares
        np.sqrt(noise, out=noise)
        low = np.zeros((len(power), self.layout.lows), np.float32)
        for band in self._lowest:
            low += power[:, band, np.newaxis] * self.low_spread[band]
        np.sqrt(low, out=low)
        return noise, low


def _column_taps(weights: Array) -> list[tuple[Indices, Array]]:
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
