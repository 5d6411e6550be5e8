"""Decoded rows for the core from a model's graph: of spectra, and of networks that the core does not know."""

import ctypes
import functools
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Array, Indices
from ..engines.engine import Motion
from ..engines.spectrum.beginnings import FirstRows
from ..engines.spectrum.engine import condition_of
from ..engines.spectrum.frames import DecodedPartials, FrameDecoder
from ..kinds.card_fields import PITCH_CLASSES
from ..model.model import Model
from ..voice_library import CLASS_SET

Conditions = npt.NDArray[np.int32]


class RowSource:
    """Decodes rows when the core asks, and ahead; from several threads.

    Conditions are keys, pitch classes, 0 for models of neither, or sets of classes: `CLASS_SET` and a bit for each.
    """

    def __init__(self, model: Model, parts: DecodedPartials) -> None:
        """``parts`` converts the model's frames to rows in the order of its `Layout`."""
        self._card, self._parts = model.card, parts
        self._decoder, self._lock = FrameDecoder(model), threading.Lock()
        self._unfinished: tuple[Array, Indices | Array] | None = None
        self._first_rows = FirstRows()
        self._failure: BaseException | None = None

    def prepare(self, codes: Array, conditions: Conditions) -> bool:
        """Do one step toward rows of ``codes``, [rows, latents]; return whether another remains."""
        with self._lock:
            return self._decoder.prepare(codes, _chroma(conditions), self._parts.rows)

    def prepare_notes(self, motion: Motion, hop: int) -> bool:
        """Do one step toward rows of the next note-on; return whether another remains.

        Args:
            motion: of the sounding voices.
            hop: the first sample of the current hop.
        """
        if self._unfinished is None:
            if motion.own_codes:
                wanted = self._first_rows.take(motion, hop, self._decoder, functools.partial(condition_of, self._card))
                if wanted is None:
                    return False
                self._unfinished = wanted
            elif self._card.partials is not None:
                return False
            else:
                classes = np.arange(1 if self._card.chroma is None else PITCH_CLASSES)
                self._unfinished = motion.latents([0] * len(classes), np.full(len(classes), hop)), classes
        with self._lock:
            if not self._decoder.prepare(*self._unfinished, self._parts.rows):
                self._unfinished = None
        return self._unfinished is not None or motion.own_codes

    def rows(self, codes: Array, conditions: Conditions) -> Array:
        """Rows, [rows, width]."""
        with self._lock:
            return self._decoder.rows(codes, _chroma(conditions), self._parts.rows)

    def answer(self, codes: int, conditions: int, count: int, rows: int) -> None:
        """The core's `DecodeRows`; arguments are addresses."""
        try:
            asked = _array(ctypes.c_float, codes, count, len(self._card.latents)).copy()
            found = self.rows(asked, _array(ctypes.c_int32, conditions, count).copy())
            _array(ctypes.c_float, rows, *found.shape)[:] = found
        except BaseException as error:  # C cannot pass it on
            self._failure = error

    def raise_failure(self) -> None:
        """Raise what the decoder raised while the core rendered; its rows were silent."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure


def _chroma(conditions: Conditions) -> Indices | Array:
    """A decoder's input: classes or keys, [rows], or weights of classes, [rows, 12]."""
    if (conditions >= CLASS_SET).any():
        return (conditions[:, np.newaxis] >> np.arange(PITCH_CLASSES) & 1).astype(np.float32)
    return conditions.astype(np.intp)


def _array(kind: Any, address: int, *shape: int) -> npt.NDArray[Any]:
    for length in reversed(shape):
        kind = kind * length
    return np.ctypeslib.as_array(kind.from_address(address))
