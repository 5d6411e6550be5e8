"""Decoded frames, computed only when they are new."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt

from ..model import Model

Array = npt.NDArray[np.float32]

BATCH = 128  # rows a run: more gain nothing, and 128 rows of 2049 still fit a core's cache
CAPACITY = 2 * BATCH  # so the rows of a batch, the last ones used, are never the ones that give way


class RowCache:
    """The rows last computed, by key, in one table."""

    def __init__(self, width: int) -> None:
        self._table = np.zeros((CAPACITY, width), np.float32)
        self._slots: dict[Hashable, int] = {}  # in order of last use

    def rows(self, keys: Sequence[Hashable], compute: Callable[[list[int]], Array]) -> Array:
        """The row of each key, [keys, width].

        Args:
            keys: at most `BATCH`.
            compute: gives the rows for the positions in ``keys`` that it is passed, one for each new key.
        """
        slots = np.empty(len(keys), np.intp)
        new: list[int] = []
        places: list[int] = []
        for position, key in enumerate(keys):
            slot = self._slots.pop(key, None)
            if slot is None:
                full = len(self._slots) == CAPACITY
                slot = self._slots.pop(next(iter(self._slots))) if full else len(self._slots)
                new.append(position)
                places.append(slot)
            self._slots[key] = slot
            slots[position] = slot
        if new:
            self._table[places] = compute(new)
        return self._table[slots]


class SpectrumSource:
    """Magnitude frames of a model, moved along the frequency axis to where a key wants them."""

    def __init__(self, model: Model, run: Callable[[Callable[[slice], Array], int], Array]) -> None:
        """``run(part, rows)`` computes ``part`` over slices that make up ``rows``, on as many cores as it likes."""
        self._model = model
        self._run = run
        self._decoded = RowCache(model.card.frame_width)
        self._moved = RowCache(model.card.frame_width)
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
        """Each bin takes the magnitude that lies under it after the move, with the energy of every lobe kept."""
        moved = np.empty((len(rows), frames.shape[1]), np.float32)
        groups: dict[float, list[int]] = {}
        for place, row in enumerate(rows):
            groups.setdefault(float(ratios[row]), []).append(place)
        for ratio, places in groups.items():
            source = frames[[rows[place] for place in places]]
            moved[places] = source if ratio == 1.0 else self._move_group(source, ratio)
        return moved

    def _move_group(self, source: Array, ratio: float) -> Array:
        """Integrate each spectrum between the moved edges of the bins.

        Sums in place of samples: going down, no lobe falls between two bins. The square root keeps a lobe's energy
        where it gets wider or narrower. In float32 the running sum is good to -100 dB of the peak.
        """
        if ratio not in self._moves:
            if len(self._moves) > CAPACITY:  # a bend passes through any number of ratios
                self._moves.clear()
            self._moves[ratio] = _edges(source.shape[1], ratio)
        index, fraction = self._moves[ratio]
        total = np.zeros((len(source), source.shape[1] + 2), np.float32)
        np.cumsum(source, axis=1, out=total[:, 1:-1])
        total[:, -1] = total[:, -2]
        below = total[:, index]
        below += fraction * (total[:, index + 1] - below)
        moved: Array = (below[:, 1:] - below[:, :-1]) * np.float32(np.sqrt(ratio))
        return moved


def _edges(bins: int, ratio: float) -> tuple[npt.NDArray[np.intp], Array]:
    """Where the edges of the moved bins lie in the source: whole bins and the fraction beyond, [bins + 1] each."""
    edge = np.clip((np.arange(bins + 1) - 0.5) / ratio + 0.5, 0.0, bins)
    index = edge.astype(np.intp)
    return index, (edge - index).astype(np.float32)
