"""Arrays too large for memory, in growing unnamed files."""

import contextlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from ..host.errors import Failure

Array = npt.NDArray[Any]


class ColumnFile:
    """An array that grows, in a file that disappears however the process ends; a full disk raises `Failure`.

    Args:
        folder: of the file; None for the system's temporary one.
        kind: NumPy's name of the type.
    """

    def __init__(self, folder: Path | None, kind: str) -> None:
        self._folder, self._kind = folder, np.dtype(kind)
        with self._told():
            self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # `__exit__` closes it
        self._length = 0

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = self._folder or tempfile.gettempdir()
            raise Failure(f"cannot list frames in {where}: {error.strerror or error}; make room there") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, values: Array) -> None:
        with self._told():
            self._file.write(values.astype(self._kind).tobytes())
        self._length += len(values)

    def mapped(self) -> Array:
        """The file may be closed."""
        if not self._length:
            return np.zeros(0, self._kind)
        with self._told():
            self._file.flush()
        return np.memmap(self._file, self._kind, "r")


def release(*arrays: Array) -> None:
    """Release mapped pages; access reads them again."""
    for array in arrays:
        if isinstance(array, np.memmap):
            with contextlib.suppress(AttributeError):  # Windows has no madvise
                array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
