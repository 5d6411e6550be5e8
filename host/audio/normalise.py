"""Peak normalisation: keeps sound on disk until its true peak is known."""

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np

from ..arrays import Array
from .resampling import Resampler

OVERSAMPLING = 4  # for the true peak (ITU-R BS.1770-5, annex 2)
PIECE = 1 << 16  # samples read back at once


class KeptSound:
    def __init__(self, sample_rate: int) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this
        self._above = Resampler(sample_rate, OVERSAMPLING * sample_rate)
        self._peak = 0.0

    def write(self, block: Array) -> None:
        """Append samples, [2, n].

        Raises:
            OSError: the disk is full.
        """
        self._file.write(np.ascontiguousarray(block.T).tobytes())
        for sound in (block, self._above.process(block)):
            self._look(sound)

    def true_peak(self) -> float:
        """Oversampled; write nothing afterwards."""
        self._look(self._above.flush())
        return self._peak

    def blocks(self, gain: float) -> Iterator[Array]:
        """Amplified sound, [2, n]."""
        self._file.seek(0)
        while data := self._file.read(PIECE * 8):
            yield np.float32(gain) * np.frombuffer(data, np.float32).reshape(-1, 2).T

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _look(self, sound: Array) -> None:
        if sound.size:
            self._peak = max(self._peak, float(np.abs(sound).max()))
