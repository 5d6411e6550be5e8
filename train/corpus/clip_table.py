"""The table of a corpus's clips, and its manifest: columns in NumPy files, mapped on demand."""

import contextlib
import functools
import hashlib
import mmap
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, overload

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ...host.arrays import Integers
from ...host.errors import Failure, UserError
from ...host.files import building_folder, replacing
from .pitch import HOP, Samples, frame_count
from .report import CorpusReport

Array = npt.NDArray[Any]
Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")
PART = 1 << 16  # clips handled at once
TEXTS = ("name", "group", "label")  # columns of text
_NUMBERS = {  # the other columns; -1 and NaN stand for None
    "split": "u1", "shard": "<i4", "start": "<i8", "length": "<i8", "key": "<i2", "program": "<i2", "velocity": "<i2",
    "tempo_bpm": "<f8", "beats": "<i4", "onset_seconds": "<f8", "slurred": "?", "peak": "<f4", "sides_start": "<i8",
    "held_seconds": "<f8",
}  # fmt: skip
_SINCE = {"sides_start": 3, "held_seconds": 4}  # the formats that have a column, where not all do


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip's range in samples of a shard, and its metadata.

    ``row`` is its place in the table, ``group`` its source recording; ``key`` and ``velocity`` are labels, ``program``
    is General MIDI's, from 0, ``tempo_bpm`` a loop's source's. Notes of melodies have ``onset_seconds`` after the first
    sound; ``slurred`` ones have no attack. ``peak`` is the largest absolute sample, of the sides if there are two, None
    if not measured. ``sides_start`` is the first sample of the left side in the shard's file of sides, None for a clip
    of one channel. ``held_seconds`` is the time from the clip's beginning to the release, where it is known.
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
    sides_start: int | None = None
    held_seconds: float | None = None


def recording_of(clip: Clip) -> str:
    """Return the name of a clip's file, without a note's number."""
    return clip.name if clip.onset_seconds is None else clip.name.rpartition("#")[0]


@dataclass(frozen=True)
class Texts:
    ends: Array
    utf8: Array

    @classmethod
    def encode(cls, texts: Iterable[str]) -> Self:
        encoded_texts = [text.encode() for text in texts]
        end_bytes = np.cumsum([len(text) for text in encoded_texts], dtype="<i8")
        return cls(end_bytes, np.frombuffer(b"".join(encoded_texts), np.uint8))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> str:
        start_byte = int(self.ends[row - 1]) if row else 0
        return self.utf8[start_byte : int(self.ends[row])].tobytes().decode()

    def __add__(self, texts: "Texts") -> "Texts":
        byte_count = int(self.ends[-1]) if len(self) else 0
        return Texts(np.concatenate([self.ends, texts.ends + byte_count]), np.concatenate([self.utf8, texts.utf8]))

    @property
    def sound(self) -> bool:
        """Return whether types and lengths are valid."""
        have_right_types = self.ends.dtype.kind == "i" and self.utf8.dtype == np.uint8
        return have_right_types and bool((self.ends[-1:] == len(self.utf8)).all())


@dataclass(frozen=True)
class ClipTable:
    """Columns by name, [clips] each, as in `Clip`."""

    numbers: dict[str, Array]
    texts: dict[str, Texts]

    @classmethod
    def from_clips(cls, clips: Sequence[Clip]) -> Self:
        numbers = {
            name: np.array([_number(getattr(clip, name), dtype_name) for clip in clips], dtype_name)
            for name, dtype_name in _NUMBERS.items()
        }
        return cls(numbers, {name: Texts.encode(getattr(clip, name) for clip in clips) for name in TEXTS})

    def __len__(self) -> int:
        return len(self.numbers["start"])

    def __add__(self, table: "ClipTable") -> "ClipTable":
        return ClipTable(
            {name: np.concatenate([column, table.numbers[name]]) for name, column in self.numbers.items()},
            {name: column + table.texts[name] for name, column in self.texts.items()},
        )

    @functools.cached_property
    def first_frames(self) -> Integers:
        """First pitch frame of each clip, then the count of all: [clips + 1]."""
        frame_counts = -(-self.numbers["length"] // HOP)
        return np.concatenate([[0], np.cumsum(frame_counts, dtype=np.int64)])

    @property
    def frame_count(self) -> int:
        """Pitch frames of all clips."""
        return sum(int((-(-lengths // HOP)).sum()) for lengths in parts_of(self.numbers["length"]))

    def frames(self, clip: Clip) -> slice:
        """Return the range of a clip's pitch frames."""
        first_frame = int(self.first_frames[clip.row])
        return slice(first_frame, first_frame + frame_count(clip.length))

    def with_splits(self, splits: npt.NDArray[np.uint8]) -> "ClipTable":
        return replace(self, numbers=self.numbers | {"split": splits})

    def beginning(self, count: int) -> "ClipTable":
        """Return the first ``count`` clips."""
        texts = {}
        for name, column in self.texts.items():
            text_ends = column.ends[:count]
            texts[name] = Texts(text_ends, column.utf8[: int(text_ends[-1]) if count else 0])
        return ClipTable({name: column[:count] for name, column in self.numbers.items()}, texts)

    def digest(self) -> str:
        """Return the SHA-256 of the clips' names, splits and labels."""
        names, labels = self.texts["name"], self.texts["label"]
        table_digest = hashlib.sha256()
        for column in (names.ends, names.utf8, self.numbers["split"], labels.ends, labels.utf8):
            for column_part in parts_of(column):
                table_digest.update(column_part.tobytes())
        return table_digest.hexdigest()

    def clip(self, row: int) -> Clip:
        clip_fields: dict[str, Any] = {name: _value(column[row]) for name, column in self.numbers.items()}
        clip_fields |= {name: texts[row] for name, texts in self.texts.items()}
        return Clip(row=row, **clip_fields | {"split": SPLITS[clip_fields["split"]]})

    def rows(self, split: Split | None) -> Integers:
        """Return the indices of a split's clips, or of all."""
        if split is None:
            return np.arange(len(self))
        return np.flatnonzero(self.numbers["split"] == SPLITS.index(split))

    @classmethod
    def open(cls, folder: Path, manifest_format: int) -> Self:
        """Map the columns in ``folder``; those that its format has not are empty.

        Raises:
            ValueError: one is missing, or they do not fit together.
        """

        def mapped(name: str) -> Array:
            return mapped_array(folder / f"{name}.npy")

        text_columns = {name: Texts(mapped(f"{name}_ends"), mapped(f"{name}_utf8")) for name in TEXTS}
        numbers = {name: mapped(name) for name in _NUMBERS if _SINCE.get(name, 0) <= manifest_format}
        for name, dtype_name in _NUMBERS.items():
            if name not in numbers:
                numbers[name] = np.broadcast_to(np.array(_number(None, dtype_name), dtype_name), len(numbers["start"]))
        table = cls(numbers, text_columns)
        dtype_pairs = [(table.numbers[name].dtype, np.dtype(dtype_name)) for name, dtype_name in _NUMBERS.items()]
        if any(dtype != expected_dtype for dtype, expected_dtype in dtype_pairs):
            raise ValueError("a column is of another type")
        if len({*map(len, table.numbers.values()), *map(len, text_columns.values())}) != 1:
            raise ValueError("its columns are of different lengths")
        if not all(text.sound for text in text_columns.values()):
            raise ValueError("a column of text is cut off")
        return table

    def columns(self) -> dict[str, Array]:
        """Return all columns, by their files' names."""
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

    def __eq__(self, clips: object) -> bool:
        return isinstance(clips, Sequence) and len(self) == len(clips) and all(map(Clip.__eq__, self, clips))

    def __add__(self, clips: "Clips") -> "Clips":
        return Clips(self._table, np.concatenate([self._rows, clips._rows]))

    def take(self, selection: Integers | npt.NDArray[np.bool_]) -> "Clips":
        """Select clips by indices or a mask [clips]."""
        return Clips(self._table, self._rows[selection])

    def excluding(self, clips: "Clips") -> "Clips":
        return Clips(self._table, np.setdiff1d(self._rows, clips._rows))

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
        index_by_word = {word: word_index for word_index, word in enumerate(words)}
        return np.fromiter((index_by_word.get(label, -1) for label in self.labels), np.int64, len(self))


def parts_of(column: Array) -> Iterator[Array]:
    """Yield a column in parts, so that temporary arrays stay small."""
    return (column[first_row : first_row + PART] for first_row in range(0, len(column), PART))


def mapped_array(path: Path) -> Array:
    """Map a NumPy file; raise `ValueError` if it is damaged."""
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{path.name} is missing") from None
    except (OSError, EOFError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    except ValueError:  # an empty array cannot be mapped
        array = np.load(path, allow_pickle=False)
    return array.view(np.ndarray)  # twice as fast to index


def _number(value: object, dtype_name: str) -> object:
    """Return what a column stores for a value."""
    if value is None:
        return np.nan if "f" in dtype_name else -1
    return SPLITS.index(value) if value in SPLITS else value


def _value(stored: Any) -> Any:
    """Return a stored value; None for -1 and NaN."""
    number = stored.item()
    if isinstance(number, float):
        return None if np.isnan(number) else number
    return None if number == -1 else number


FORMAT: Literal[5] = 5

MANIFEST = "corpus.json"
CONTINUE_HINT = "run the same command again to go on"
FLOAT = np.dtype("<f4")
NO_DIGEST = bytes(32)
_TABLE_COLUMNS = ("pitch", "file_name_ends", "file_name_utf8", "file_digests")  # beside those of its clips


class LoopGrid(BaseModel):
    """``step_length`` is in samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step_length: int = Field(gt=0)
    steps_per_beat: int = Field(default=4, gt=0)
    beats_per_bar: int = Field(default=4, gt=0)

    def tempo_bpm(self, rate: int) -> float:
        return 60 * rate / (self.step_length * self.steps_per_beat)


class Shard(BaseModel):
    """``length`` counts the samples of ``file``, ``sides_length`` those of ``sides_file``; 0: there is no such file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    length: int = Field(gt=0)
    sides_length: int = Field(default=0, ge=0)

    @property
    def sides_file(self) -> str:
        return sides_name(self.file)


def sides_name(file: str) -> str:
    """Return the name of the sides' file beside a shard's: ``audio-00000.f32`` has ``sides-00000.f32``."""
    return file.replace("audio", "sides", 1)


class Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal[2, 3, 4, 5] = FORMAT
    name: str
    rate: int = Field(gt=0)
    hop: int = Field(default=HOP, ge=HOP, le=HOP)
    licence: str | None = None
    shards: list[Shard] = Field(min_length=1)
    table: str
    report: CorpusReport
    loops: LoopGrid | None = None
    group: str | None = None  # the expression of the clips' groups; None for each its own, and before format 5


@dataclass(frozen=True)
class SourceFile:
    """A sound file: SHA-256 of its bytes, and of its samples as decoded, zeros if unknown."""

    name: str
    sha256: str
    decoded: bytes = NO_DIGEST


@dataclass(frozen=True)
class Table:
    clips: ClipTable
    pitch: Samples
    file_names: Texts
    file_digests: npt.NDArray[np.uint8]  # [files, 2, 32]: of bytes, and of samples

    @classmethod
    def from_clips(cls, clips: ClipTable, pitch: Samples, files: Sequence[SourceFile]) -> Self:
        digests = b"".join(bytes.fromhex(file.sha256) + file.decoded for file in files)
        names = Texts.encode(file.name for file in files)
        return cls(clips, pitch, names, np.frombuffer(digests, np.uint8).reshape(-1, 2, 32))

    def __add__(self, table: "Table") -> "Table":
        return Table(
            self.clips + table.clips,
            np.concatenate([self.pitch, table.pitch]),
            self.file_names + table.file_names,
            np.concatenate([self.file_digests, table.file_digests]),
        )

    def save(self, folder: Path) -> None:
        pitch, names = self.pitch.astype(FLOAT, copy=False), self.file_names
        columns: list[npt.NDArray[Any]] = [pitch, names.ends, names.utf8, self.file_digests]
        for name, column in {**self.clips.columns(), **dict(zip(_TABLE_COLUMNS, columns, strict=True))}.items():
            np.save(folder / f"{name}.npy", column, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path, manifest_format: int = FORMAT) -> Self:
        pitch, name_ends, name_utf8, file_digests = (mapped_array(folder / f"{name}.npy") for name in _TABLE_COLUMNS)
        table = cls(ClipTable.open(folder, manifest_format), pitch, Texts(name_ends, name_utf8), file_digests)
        if pitch.dtype != FLOAT or file_digests.dtype != np.uint8:
            raise ValueError("a column is of another type")
        if len(pitch) != table.clips.frame_count:
            raise ValueError("its pitch has another number of frames than its clips")
        if file_digests.shape != (len(name_ends), 2, 32) or not table.file_names.sound:
            raise ValueError("its source files are cut off")
        return table

    def files(self) -> Iterator[SourceFile]:
        for row, (sha256, decoded) in enumerate(self.file_digests):
            yield SourceFile(self.file_names[row], sha256.tobytes().hex(), decoded.tobytes())


def replace_files(
    folder: Path, manifest: Manifest, changes: Mapping[str, object], table: Table
) -> tuple[Manifest, Table]:
    """Write a new table, then the manifest that names it; remove other files."""
    table_number = 1
    while (folder / f"clips-{table_number}").exists():
        table_number += 1
    manifest = manifest.model_copy(update={**changes, "format": FORMAT, "table": f"clips-{table_number}"})
    with building_folder(folder / manifest.table) as table_folder:
        table.save(table_folder)
    try:
        with replacing(folder / MANIFEST, overwrite=True) as manifest_path:
            manifest_path.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder / manifest.table, ignore_errors=True)
        raise
    for old_path in (*folder.glob("clips-*"), *folder.glob(".clips-*")):  # with a dot: of a process that was killed
        if old_path.name != manifest.table:
            shutil.rmtree(old_path, ignore_errors=True)
    remove_other_sounds(folder, manifest.shards)
    with contextlib.suppress(OSError):
        (folder / "pitch.f32").unlink()
    return manifest, Table.open(folder / manifest.table)


def remove_other_sounds(folder: Path, shards: Sequence[Shard]) -> None:
    """Remove the files of sound in a folder that belong to none of the shards."""
    known_names = {shard.file for shard in shards} | {shard.sides_file for shard in shards if shard.sides_length}
    for path in (*folder.glob("audio-*.f32"), *folder.glob("sides-*.f32")):
        if path.name not in known_names:
            with contextlib.suppress(OSError):  # some systems keep files that are mapped
                path.unlink()


def check_shards(folder: Path, shards: Sequence[Shard], clips: ClipTable) -> None:
    """Raise UserError if a shard has another length, or a clip lies outside its shard."""
    for shard in shards:
        check_size(folder / shard.file, shard.length)
        if shard.sides_length:
            check_size(folder / shard.sides_file, shard.sides_length)
    shard_lengths = np.array([(shard.length, shard.sides_length) for shard in shards]).T
    column_parts = (parts_of(clips.numbers[name]) for name in ("shard", "start", "length", "sides_start"))
    if not len(clips) or not all(
        _are_inside(*shard_lengths, *part_columns) for part_columns in zip(*column_parts, strict=True)
    ):
        raise UserError(f"{folder / MANIFEST} is damaged (a clip lies outside its shard); build the corpus again")


def _are_inside(
    shard_lengths: npt.NDArray[Any],
    sides_lengths: npt.NDArray[Any],
    shard_indices: npt.NDArray[Any],
    clip_starts: npt.NDArray[Any],
    clip_lengths: npt.NDArray[Any],
    sides_starts: npt.NDArray[Any],
) -> bool:
    """Return whether clips, [clips] each, lie inside their shards."""
    have_shards = (
        shard_indices.min() >= 0
        and shard_indices.max() < len(shard_lengths)
        and clip_starts.min() >= 0
        and clip_lengths.min() > 0
        and sides_starts.min() >= -1
    )
    return bool(
        have_shards
        and (clip_starts <= shard_lengths[shard_indices] - clip_lengths).all()
        and ((sides_starts == -1) | (sides_starts <= sides_lengths[shard_indices] - 2 * clip_lengths)).all()
    )


def check_size(path: Path, length: int) -> None:
    """Raise UserError unless a file has ``length`` float32 samples."""
    byte_count = path.stat().st_size if path.is_file() else 0
    if byte_count != length * FLOAT.itemsize:
        raise UserError(
            f"{path} has {byte_count} bytes where its {MANIFEST} expects {length * FLOAT.itemsize}; "
            "build the corpus again"
        )


class ColumnFile:
    """An array that grows, in a file that disappears however the process ends; a full disk raises `Failure`.

    Args:
        folder: of the file; None for the system's temporary one.
        kind: NumPy's name of the type.
    """

    def __init__(self, folder: Path | None, kind: str) -> None:
        self._folder, self._kind = folder, np.dtype(kind)
        with self._disk_failure():
            self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # `__exit__` closes it
        self._length = 0

    @contextlib.contextmanager
    def _disk_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            folder = self._folder or tempfile.gettempdir()
            raise Failure(f"cannot list frames in {folder}: {error.strerror or error}; make room there") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, values: Array) -> None:
        with self._disk_failure():
            self._file.write(values.astype(self._kind).tobytes())
        self._length += len(values)

    def mapped(self) -> Array:
        """The file may be closed."""
        if not self._length:
            return np.zeros(0, self._kind)
        with self._disk_failure():
            self._file.flush()
        return np.memmap(self._file, self._kind, "r")


def release(*arrays: Array) -> None:
    """Release mapped pages; access reads them again."""
    for array in arrays:
        if isinstance(array, np.memmap):
            with contextlib.suppress(AttributeError):  # Windows has no madvise
                array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
