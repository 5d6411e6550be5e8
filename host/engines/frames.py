"""Decoded frames, computed only when they are new."""

import functools
from collections import deque
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

from ..model import Model

Array = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

BATCH = 128  # rows a run: more gain nothing, and 128 rows of 2049 still fit a core's cache
SILENT = np.float32(1e-30)  # energy of a frame that holds nothing
REMEMBERED = 2 * BATCH  # rows kept: 2 MB of 2049 bins, more than 64 voices can tell apart


class RowCache:
    """The rows last computed, by key. Batches are kept as they came and forgotten in the order they came."""

    def __init__(self) -> None:
        self._rows: dict[Hashable, Array] = {}
        self._batches: deque[list[Hashable]] = deque()

    def rows(self, keys: Sequence[Hashable], compute: Callable[[list[int]], Array]) -> Array:
        """The row of each key, [keys, width], not to be written to.

        Args:
            compute: gives the rows for the positions in ``keys`` that it is passed, one for each new key.
        """
        first = {key: position for position, key in reversed(list(enumerate(keys))) if key not in self._rows}
        new = sorted(first.values())
        fresh: Array | None = None
        if new:
            fresh = compute(new)
            batch = [keys[position] for position in new]
            self._rows.update(zip(batch, fresh, strict=True))
            self._batches.append(batch)
        rows = fresh if fresh is not None and len(new) == len(keys) else np.stack([self._rows[key] for key in keys])
        while len(self._rows) > REMEMBERED:
            for key in self._batches.popleft():
                del self._rows[key]
        return rows


class SpectrumSource:
    """Magnitude frames of a model, moved along the frequency axis to where a key wants them."""

    def __init__(self, model: Model, run: Callable[[Callable[[slice], Array], int], Array]) -> None:
        """``run(part, rows)`` computes ``part`` over slices that make up ``rows``, on as many cores as it likes."""
        self._model = model
        self._run = run
        self._decoded = RowCache()
        self._moved = RowCache()

    def spectra(self, latents: Array, pitch_classes: npt.NDArray[np.intp], ratios: npt.NDArray[np.float64]) -> Array:
        """Spectra of many voices in as few decoder rows as there are different ones.

        Args:
            latents: [rows, n_latents], at most `BATCH` rows.
            pitch_classes: [rows].
            ratios: [rows], how far each spectrum moves: 2 is an octave up.

        Returns:
            Magnitudes, [rows, bins].
        """
        plain = [(latents[row].tobytes(), pitch) for row, pitch in enumerate(pitch_classes.tolist())]

        def decode(new: list[int]) -> Array:
            some_latents, some_chroma = latents[new], pitch_classes[new]
            return self._run(lambda part: self._model.decode(some_latents[part], some_chroma[part]), len(new))

        decoded = self._decoded.rows(plain, decode)
        if np.all(ratios == 1.0):
            return decoded

        def move(new: list[int]) -> Array:
            frames, some_ratios = decoded[new], ratios[new]
            return self._run(lambda part: moved(frames[part], some_ratios[part]), len(new))

        return self._moved.rows(list(zip(plain, ratios.tolist(), strict=True)), move)


def moved(frames: Array, ratios: npt.NDArray[np.float64]) -> Array:
    """Spectra moved along the frequency axis, each with the energy of the bins that stay in range.

    Each bin takes the sum of what lies between its edges before the move: going down, no lobe falls between two bins.
    Lobes get wider or narrower; without the energy put right, a note three octaves down would be 5 dB too soft.

    Args:
        frames: magnitudes, [rows, bins].
        ratios: [rows], 2 is an octave up.
    """
    result = frames.copy()
    for rows, way in ((ratios > 1.0, _stretched), (ratios < 1.0, _squeezed)):
        if rows.all():
            return way(frames, ratios)
        if rows.any():
            result[rows] = way(frames[rows], ratios[rows])
    return result


def _stretched(frames: Array, ratios: npt.NDArray[np.float64]) -> Array:
    """Upward: a moved bin covers a part of one bin, or of two neighbours."""
    below, above, kept = _stretch(frames.shape[1], ratios.tobytes())
    padded = np.zeros((len(frames), frames.shape[1] + 1), np.float32)
    np.multiply(frames, kept, out=padded[:, :-1])
    flat = padded.ravel()
    index, share = below
    result = flat.take(index)  # four times as fast as flat[index]
    result *= share
    index, share = above
    neighbour = flat.take(index)
    neighbour *= share
    result += neighbour
    return _with_energy_of(padded, result)


def _squeezed(frames: Array, ratios: npt.NDArray[np.float64]) -> Array:
    """Downward: a moved bin covers many; differences of the running sum, in float32 good to -100 dB of the peak."""
    index, fraction = _squeeze(frames.shape[1], ratios.tobytes())
    total = np.empty((len(frames), frames.shape[1] + 2), np.float32)
    total[:, 0] = 0
    np.cumsum(frames, axis=1, out=total[:, 1:-1])
    total[:, -1] = total[:, -2]
    flat = total.ravel()
    below = flat.take(index)
    rest = flat.take(index + 1)
    rest -= below
    rest *= fraction
    below += rest
    return _with_energy_of(frames, below[:, 1:] - below[:, :-1])


def _with_energy_of(source: Array, result: Array) -> Array:
    had, has = np.einsum("ij,ij->i", source, source), np.einsum("ij,ij->i", result, result)
    result *= np.sqrt(had / np.maximum(has, SILENT))[:, np.newaxis]
    return result


@functools.lru_cache(maxsize=8)  # voices that stay on their keys ask for the same moves every hop, in eight fours
def _stretch(bins: int, ratios: bytes) -> tuple[tuple[Indices, Array], tuple[Indices, Array], Array]:
    """For each moved bin the source bin under its lower edge and the next, with the share of each; and what is kept.

    Indices are into rows of ``bins + 1``, end to end.
    """
    edge = _edges(bins, ratios)
    low, high = edge[:, :-1], edge[:, 1:]
    index = np.minimum(low.astype(np.intp), bins - 1)
    first = np.minimum(high, index + 1.0) - low
    second = np.maximum(high - (index + 1.0), 0.0)
    rows = (bins + 1) * np.arange(len(edge), dtype=np.intp)[:, np.newaxis]
    kept = np.arange(bins) < edge[:, -1:]
    index += rows
    return (index, first.astype(np.float32)), (index + 1, second.astype(np.float32)), kept.astype(np.float32)


@functools.lru_cache(maxsize=8)
def _squeeze(bins: int, ratios: bytes) -> tuple[Indices, Array]:
    """Where the edges of the moved bins lie in running sums of ``bins + 2``, end to end: whole bins and the rest."""
    edge = _edges(bins, ratios)
    index = edge.astype(np.intp)
    fraction = (edge - index).astype(np.float32)
    return index + (bins + 2) * np.arange(len(edge), dtype=np.intp)[:, np.newaxis], fraction


def _edges(bins: int, ratios: bytes) -> npt.NDArray[np.float64]:
    """Where the edges of the moved bins were before the move, [rows, bins + 1]."""
    ratio = np.frombuffer(ratios, np.float64)[:, np.newaxis]
    return np.clip((np.arange(bins + 1) - 0.5) / ratio + 0.5, 0.0, float(bins))
