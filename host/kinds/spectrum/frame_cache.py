"""Frame decoding with caches: decodes each distinct row once."""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arrays import Array, Indices, Spectrum
from ...contract.model import Model

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
    indices, shares, kept = _taps(frames.shape[1], ratio)
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
def _taps(bins: int, ratio: float) -> tuple[Indices, Array, int]:
    count = min(bins, math.ceil(bins * ratio) + 1)  # down: upper bins are empty
    taps = min(bins, math.floor(1 / ratio) + 2)  # up: parts of two bins; down: of more
    edge = np.clip((np.arange(count + 1) - 0.5) / ratio + 0.5, 0.0, float(bins))
    low, high = edge[:-1], edge[1:]
    indices = np.minimum(low.astype(np.intp), bins - taps) + np.arange(taps)[:, np.newaxis]
    shares = np.clip(np.minimum(high, indices + 1.0) - np.maximum(low, indices), 0.0, None).astype(np.float32)
    return indices, shares, math.ceil(edge[-1])
