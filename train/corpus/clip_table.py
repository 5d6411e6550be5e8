"""The table of a corpus's clips: columns in NumPy files, mapped on demand."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from ...host.arrays import Integers
from .pitch import HOP, frame_count

Array = npt.NDArray[Any]
Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")
PART = 1 << 16  # clips handled at once
TEXTS = ("name", "group", "label")  # columns of text
_NUMBERS = {  # the other columns; -1 and NaN stand for None
    "split": "u1", "shard": "<i4", "start": "<i8", "length": "<i8", "key": "<i2", "program": "<i2", "velocity": "<i2",
    "tempo_bpm": "<f8", "beats": "<i4", "onset_seconds": "<f8", "slurred": "?", "peak": "<f4",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip's range in samples of a shard, and its metadata.

    ``row`` is its place in the table, ``group`` its source recording; ``key`` and ``velocity`` are labels, ``program``
    is General MIDI's, from 0, ``tempo_bpm`` a loop's source's. Notes of melodies have ``onset_seconds`` after the first
    sound; ``slurred`` ones have no attack. ``peak`` is the largest absolute sample, None if not measured.
    """

    name: str
    start: int
    length: int
    group: str
    row: int = 0
    shard: int = 0
    split: Split = "train"
    label: str = ""
    key: int | None = None
    program: int | None = None
    velocity: int | None = None
    tempo_bpm: float | None = None
    beats: int | None = None
    onset_seconds: float | None = None
    slurred: bool = False
    peak: float | None = None


def recording_of(clip: Clip) -> str:
    return clip.name if clip.onset_seconds is None else clip.name.rpartition("#")[0]


@dataclass(frozen=True)
class Texts:
    ends: Array
    utf8: Array

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        encoded = [text.encode() for text in texts]
        ends = np.cumsum([len(text) for text in encoded], dtype="<i8")
        return cls(ends, np.frombuffer(b"".join(encoded), np.uint8))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> str:
        start = int(self.ends[row - 1]) if row else 0
        return self.utf8[start : int(self.ends[row])].tobytes().decode()

    def __add__(self, other: "Texts") -> "Texts":
        before = int(self.ends[-1]) if len(self) else 0
        return Texts(np.concatenate([self.ends, other.ends + before]), np.concatenate([self.utf8, other.utf8]))

    @property
    def sound(self) -> bool:
        kinds = self.ends.dtype.kind == "i" and self.utf8.dtype == np.uint8
        return kinds and bool((self.ends[-1:] == len(self.utf8)).all())


@dataclass(frozen=True)
class ClipTable:
    """Columns by name, [clips] each, as in `Clip`."""

    numbers: dict[str, Array]
    texts: dict[str, Texts]

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> Self:
        numbers = {
            name: np.array([_number(getattr(clip, name), kind) for clip in clips], kind)
            for name, kind in _NUMBERS.items()
        }
        return cls(numbers, {name: Texts.of(getattr(clip, name) for clip in clips) for name in TEXTS})

    def __len__(self) -> int:
        return len(self.numbers["start"])

    def __add__(self, other: "ClipTable") -> "ClipTable":
        return ClipTable(
            {name: np.concatenate([column, other.numbers[name]]) for name, column in self.numbers.items()},
            {name: column + other.texts[name] for name, column in self.texts.items()},
        )

    @functools.cached_property
    def first_frames(self) -> Integers:
        """First pitch frame of each clip, then the count of all: [clips + 1]."""
        frames = -(-self.numbers["length"] // HOP)
        return np.concatenate([[0], np.cumsum(frames, dtype=np.int64)])

    @property
    def frame_count(self) -> int:
        return sum(int((-(-part // HOP)).sum()) for part in parts_of(self.numbers["length"]))

    def frames(self, clip: Clip) -> slice:
        first = int(self.first_frames[clip.row])
        return slice(first, first + frame_count(clip.length))

    def dealt(self, splits: npt.NDArray[np.uint8]) -> "ClipTable":
        return replace(self, numbers=self.numbers | {"split": splits})

    def beginning(self, count: int) -> "ClipTable":
        texts = {name: Texts(column.ends[:count], column.utf8) for name, column in self.texts.items()}
        return ClipTable({name: column[:count] for name, column in self.numbers.items()}, texts)

    def clip(self, row: int) -> Clip:
        found: dict[str, Any] = {name: _value(column[row]) for name, column in self.numbers.items()}
        found |= {name: texts[row] for name, texts in self.texts.items()}
        return Clip(row=row, **found | {"split": SPLITS[found["split"]]})

    def rows(self, split: Split | None) -> Integers:
        if split is None:
            return np.arange(len(self))
        return np.flatnonzero(self.numbers["split"] == SPLITS.index(split))

    def save(self, folder: Path) -> None:
        for name, column in self._columns().items():
            np.save(folder / f"{name}.npy", column, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map the columns in ``folder``.

        Raises:
            ValueError: one is missing, or they do not fit together.
        """

        def mapped(name: str) -> Array:
            return mapped_array(folder / f"{name}.npy")

        texts = {name: Texts(mapped(f"{name}_ends"), mapped(f"{name}_utf8")) for name in TEXTS}
        found = cls({name: mapped(name) for name in _NUMBERS}, texts)
        kinds = [(found.numbers[name].dtype, np.dtype(kind)) for name, kind in _NUMBERS.items()]
        if any(have != wanted for have, wanted in kinds):
            raise ValueError("a column is of another type")
        if len({*map(len, found.numbers.values()), *map(len, texts.values())}) != 1:
            raise ValueError("its columns are of different lengths")
        if not all(text.sound for text in texts.values()):
            raise ValueError("a column of text is cut off")
        return found

    def _columns(self) -> dict[str, Array]:
        ends = {f"{name}_ends": texts.ends for name, texts in self.texts.items()}
        return self.numbers | ends | {f"{name}_utf8": texts.utf8 for name, texts in self.texts.items()}


class Clips(Sequence[Clip]):
    """Rows of a table, which become `Clip` objects one by one."""

    def __init__(self, table: ClipTable, rows: Integers) -> None:
        self._table, self._rows = table, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int, /) -> Clip: ...
    @overload
    def __getitem__(self, index: slice, /) -> "Clips": ...
    def __getitem__(self, index: int | slice, /) -> "Clip | Clips":
        if isinstance(index, slice):
            return Clips(self._table, self._rows[index])
        return self._table.clip(int(self._rows[index]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Clip.__eq__, self, other))

    def __add__(self, other: "Clips") -> "Clips":
        return Clips(self._table, np.concatenate([self._rows, other._rows]))

    def take(self, chosen: Integers | npt.NDArray[np.bool_]) -> "Clips":
        """Select clips by indices or a mask [clips]."""
        return Clips(self._table, self._rows[chosen])

    def without(self, others: "Clips") -> "Clips":
        return Clips(self._table, np.setdiff1d(self._rows, others._rows))

    @property
    def lengths(self) -> Integers:
        """Lengths in samples, [clips]."""
        return self._table.numbers["length"][self._rows]

    @property
    def peaks(self) -> npt.NDArray[np.float32]:
        """Largest absolute samples, [clips]; NaN if not measured."""
        return self._table.numbers["peak"][self._rows]

    @property
    def names(self) -> Iterator[str]:
        return (self._table.texts["name"][int(row)] for row in self._rows)

    @property
    def labels(self) -> Iterator[str]:
        return (self._table.texts["label"][int(row)] for row in self._rows)

    def label_numbers(self, words: Sequence[str]) -> Integers:
        """Return the clips' label indices among ``words``, -1 for others, [clips]."""
        numbers = {word: number for number, word in enumerate(words)}
        return np.fromiter((numbers.get(label, -1) for label in self.labels), np.int64, len(self))


def parts_of(column: Array) -> Iterator[Array]:
    """Yield a column in parts, so that temporary arrays stay small."""
    return (column[first : first + PART] for first in range(0, len(column), PART))


def mapped_array(path: Path) -> Array:
    """Map a NumPy file; raise `ValueError` if it is damaged."""
    try:
        found: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{path.name} is missing") from None
    except (OSError, EOFError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    except ValueError:  # an empty array cannot be mapped
        found = np.load(path, allow_pickle=False)
    return found.view(np.ndarray)  # twice as fast to index


def _number(value: object, kind: str) -> object:
    if value is None:
        return np.nan if "f" in kind else -1
    return SPLITS.index(value) if value in SPLITS else value


def _value(number: Any) -> Any:
    found = number.item()
    if isinstance(found, float):
        return None if np.isnan(found) else found
    return None if found == -1 else found
