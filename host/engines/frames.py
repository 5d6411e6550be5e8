"""Decoded frames, computed only when they are new."""

from collections import deque
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

from ..model import Model

Array = npt.NDArray[np.float32]

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
        self._moves: dict[float, tuple[npt.NDArray[np.intp], Array]] = {}

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
        keys = list(zip(plain, ratios.tolist(), strict=True))
        return self._moved.rows(
            keys, lambda new: self._run(lambda part: self._move(decoded, ratios, new[part]), len(new))
        )

    def _move(self, frames: Array, ratios: npt.NDArray[np.float64], rows: list[int]) -> Array:
        """Each bin takes the magnitude that lies under it after the move."""
        moved = np.empty((len(rows), frames.shape[1]), np.float32)
        groups: dict[float, list[int]] = {}
        for place, row in enumerate(rows):
            groups.setdefault(float(ratios[row]), []).append(place)
        for ratio, places in groups.items():
            source = frames[[rows[place] for place in places]]
            moved[places] = source if ratio == 1.0 else self._move_group(source, ratio)
        return moved

    def _move_group(self, source: Array, ratio: float) -> Array:
        """Integrate each spectrum between the moved edges of the bins, and give it the energy it had.

        Sums in place of samples: going down, no lobe falls between two bins. In float32 the running sum is good to
        -100 dB of the peak. The energy is that of the bins that stay in range: lobes get wider or narrower, and
        without this a note three octaves down would be 5 dB too soft.
        """
        edges = self._moves.get(ratio)
        if edges is None:
            if len(self._moves) > REMEMBERED:  # a bend passes through any number of ratios
                self._moves.clear()  # another thread may do so at any moment
            edges = self._moves[ratio] = _edges(source.shape[1], ratio)
        index, fraction = edges
        total = np.empty((len(source), source.shape[1] + 2), np.float32)
        total[:, 0] = 0
        np.cumsum(source, axis=1, out=total[:, 1:-1])
        total[:, -1] = total[:, -2]
        below = total.take(index, axis=1)  # four times as fast as total[:, index]
        rest = total.take(index + 1, axis=1)
        rest -= below
        rest *= fraction
        below += rest
        moved: Array = below[:, 1:] - below[:, :-1]
        had = np.square(source[:, : index[-1]]).sum(axis=1)
        has = np.square(moved).sum(axis=1)
        moved *= np.sqrt(had / np.maximum(has, SILENT))[:, np.newaxis]
        return moved


def _edges(bins: int, ratio: float) -> tuple[npt.NDArray[np.intp], Array]:
    """Where the edges of the moved bins lie in the source: whole bins and the fraction beyond, [bins + 1] each."""
    edge = np.clip((np.arange(bins + 1) - 0.5) / ratio + 0.5, 0.0, bins)
    index = edge.astype(np.intp)
    return index, (edge - index).astype(np.float32)
