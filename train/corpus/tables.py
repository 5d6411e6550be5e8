"""Lists and reads the sounds of tables: Parquet files, and Arrow streams as Hugging Face's datasets saves them.

pyarrow alone reads them: nothing is decoded but by our own reader, no code runs and nothing is sent. A row that names a
file in place of its sound is unreadable: files are those of the command line alone.
"""

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ...host.errors import UserError, how_to_install, printable
from ...host.files import Stamp, read_regular, stamp
from ...host.model.pack import stays_inside
from .columns import Columns
from .sound_files import Unreadable
from .stored_sounds import LARGEST_BYTES, PIECE_BYTES, StoredSound, too_large

if TYPE_CHECKING:
    import pyarrow

ARROW = ".arrow"
FILE_FORMAT = b"ARROW1"  # beginning of files of Arrow's other format, also called Feather
LISTED_ROWS = 1024  # of labels, read at once
INFO, LARGEST_INFO = "dataset_info.json", 1 << 20  # beside saved data sets: their licence
EMBEDDING_HINT = "save the data set with its sounds in it"


@dataclass(frozen=True, slots=True)
class TableRow(StoredSound):
    """A sound in a ``column`` of a table; ``length``: bytes, as the mean of all rows."""

    column: str = ""
    row: int = 0
    length: int = 0

    @property
    def size(self) -> int:
        return self.length

    def pieces(self) -> Iterator[bytes]:
        _pyarrow(self.file)  # a machine without it must not call sounds unreadable
        try:
            sound = _reader(self.file, stamp(self.file), self.column).sound(self.row)
        except UserError as error:
            raise Unreadable(str(error)) from None
        if sound is None:
            raise Unreadable(f"has no sound, but perhaps the name of a file; {EMBEDDING_HINT}")
        if len(sound) > LARGEST_BYTES:
            raise Unreadable(too_large(len(sound)))
        for start in range(0, len(sound), PIECE_BYTES):
            yield sound[start : start + PIECE_BYTES]


def table_sounds(path: Path, columns: Columns) -> Iterator[tuple[str, StoredSound, str]]:
    """Yield name, sound and licence of each row of a table; of Parquet files no sound is read.

    Raises:
        UserError: no table, or a damaged one; it has no sounds, or not the chosen columns; a value cannot be
            used; pyarrow is missing.
    """
    table = _Table(path)
    audio = _audio_column(table, columns)
    for role, name in columns.names_by_role.items():
        if name and name not in table.schema.names:
            raise UserError(f"{path} has no column {name!r} (it has {_column_names(table)}); name another for {role}")
    label_columns = [name for name in table.schema.names if name in columns.label_columns and name != audio]
    class_names = _class_names(table.schema, label_columns)
    common_licence = _common_licence(path)
    mean_bytes = path.stat().st_size // max(table.rows, 1)
    for row, (fields, given_name) in enumerate(_rows(table, label_columns, audio)):
        place = f"{path}, row {row + 1}"
        for name, names in class_names.items():
            fields[name] = _class_name(fields[name], names, place)
        labels, licence = columns.labels(fields, place)
        name = f"{row:06d}{f'-{given_name}' if given_name else '.wav'}"
        yield name, TableRow(path / name, path, labels, audio, row, mean_bytes), licence or common_licence


def _rows(table: "_Table", label_columns: Sequence[str], audio: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the labels of each row, and the name of the file that its sound had."""
    has_paths = table.has_part(audio, "path")
    read_columns = [*label_columns, *([audio] if has_paths else [])]
    with _reading(table.path):
        for batch in table.batches(read_columns, {audio: "path"}, LISTED_ROWS):
            rows = batch.select([*label_columns]).to_pylist() if label_columns else [{} for _ in range(batch.num_rows)]
            paths = _part(batch.column(audio), "path").to_pylist() if has_paths else [None] * batch.num_rows
            yield from zip(rows, map(_file_name, paths), strict=True)


class _Table:
    """A table's ``schema``, number of ``rows``, and its rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _reading(path) as arrow:
            if path.suffix.lower() == ARROW:
                self._stream = arrow.memory_map(str(path))
                if self._stream.read(len(FILE_FORMAT)) == FILE_FORMAT:
                    raise UserError(f"{path} is an Arrow file, no stream; save it as Parquet, or with save_to_disk")
                self._stream.seek(0)
                reader = arrow.ipc.open_stream(self._stream)
                self.schema = reader.schema
                self._group_rows = [batch.num_rows for batch in reader]
            else:
                import pyarrow.parquet

                # In small parts, not whole groups of rows, with checksums where the file has them.
                self._file = pyarrow.parquet.ParquetFile(
                    path, buffer_size=PIECE_BYTES, pre_buffer=False, page_checksum_verification=True
                )
                self.schema = self._file.schema_arrow
                metadata = self._file.metadata
                self._group_rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            self.rows = sum(self._group_rows)
            if len(set(self.schema.names)) < len(self.schema.names):
                raise ValueError("two of its columns have one name")

    def batches(
        self, columns: Sequence[str], parts: Mapping[str, str], rows: int, first_row: int = 0
    ) -> "Iterator[pyarrow.RecordBatch]":
        """Yield ``rows`` rows at a time, from the group of ``first_row`` on; an Arrow stream's as it has them.

        ``parts`` name a part of a column, which alone is read of a Parquet file. Errors are pyarrow's (`_reading`).
        """
        skipped_groups, _ = self._group_of(first_row)
        if self.path.suffix.lower() != ARROW:
            groups = range(skipped_groups, len(self._group_rows))
            names = [f"{column}.{parts[column]}" if column in parts else column for column in columns]
            yield from self._file.iter_batches(rows, row_groups=groups, columns=names, use_threads=False)
            return
        import pyarrow.ipc

        self._stream.seek(0)
        for number, batch in enumerate(pyarrow.ipc.open_stream(self._stream)):
            if number >= skipped_groups:
                batch.validate(full=True)  # else wrong offsets would read other memory
                yield batch.select([*columns])

    def has_part(self, column: str, part: str) -> bool:
        """Return whether a column has parts, and this one among them."""
        kind = self.schema.field(column).type
        return bool(kind.num_fields) and kind.get_field_index(part) >= 0

    def first_row(self, row: int) -> int:
        """Return the first row of a row's group."""
        return self._group_of(row)[1]

    def _group_of(self, row: int) -> tuple[int, int]:
        first_row = 0
        for number, group_rows in enumerate(self._group_rows):
            if row < first_row + group_rows:
                return number, first_row
            first_row += group_rows
        return 0, 0


class _Reader:
    """Reads the sounds of a column, best from the first to the last; holds one page of a Parquet file at a time."""

    def __init__(self, path: Path, column: str) -> None:
        self._table, self._column = _Table(path), column
        self._batches: Iterator[pyarrow.RecordBatch] = iter(())
        self._first_row, self._batch_rows = 0, 0

    def sound(self, row: int) -> bytes | None:
        """Return a row's bytes; None without."""
        if self._first_row + self._batch_rows == 0 or row < self._first_row:
            parts = {self._column: "bytes"} if self._table.has_part(self._column, "bytes") else {}
            self._batches = self._table.batches([self._column], parts, 1, row)
            self._first_row, self._batch_rows = self._table.first_row(row), 0
        while row >= self._first_row + self._batch_rows:
            with _reading(self._table.path):
                batch = next(self._batches, None)
            if batch is None:
                return None
            self._first_row, self._batch_rows = self._first_row + self._batch_rows, batch.num_rows
            self._sounds = _part(batch.column(self._column), "bytes")
        value = self._sounds[row - self._first_row]
        return value.as_py() if value.is_valid else None


@functools.lru_cache(maxsize=1)
def _reader(path: Path, table_stamp: Stamp | None, column: str) -> _Reader:
    """Return the reader of a table that has not changed since: its rows are read one after another."""
    return _Reader(path, column)


def _pyarrow(path: Path) -> Any:
    """Return pyarrow; raise UserError if it is missing."""
    try:
        import pyarrow
    except ModuleNotFoundError:
        raise UserError(f"{path} is a table; {how_to_install('pyarrow')}") from None
    return pyarrow


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """Yield pyarrow; raise UserError if it is missing, or if a table is none, or damaged."""
    pyarrow = _pyarrow(path)
    try:
        yield pyarrow
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = printable(str(error).partition("\n")[0])
        raise UserError(
            f"{path} is no {path.suffix[1:]} table, or damaged ({reason}); get it again, or leave it out"
        ) from None


def _audio_column(table: _Table, columns: Columns) -> str:
    """Return the name of the column that holds sounds."""
    sound_columns = [name for name in table.schema.names if _holds_sound(table.schema.field(name).type)]
    if not table.rows and not sound_columns:  # without a value, a column has no type
        raise UserError(f"{table.path} has no rows; leave it out, or give one with sounds")
    if "audio" in columns.names_by_role:
        name = columns.names_by_role["audio"]
        if name in table.schema.names and name not in sound_columns:
            kind = table.schema.field(name).type
            raise UserError(f"column {name!r} of {table.path} holds {kind}, no bytes of sound files; {EMBEDDING_HINT}")
        return name
    if "audio" in sound_columns or len(sound_columns) == 1:
        return "audio" if "audio" in sound_columns else sound_columns[0]
    several = f"{len(sound_columns)} columns of bytes" if sound_columns else "no column of bytes of sound files"
    raise UserError(f"{table.path} has {several} (it has {_column_names(table)}); name one with --column audio=NAME")


def _holds_sound(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_sound(kind.field("bytes").type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind)) or str(kind) == "binary_view"


def _part(array: Any, name: str) -> Any:
    """Return a part of a column's array, or an array without parts itself."""
    return array.flatten()[array.type.get_field_index(name)] if array.type.num_fields else array


def _file_name(path: str | None) -> str:
    """Return the name of the file that a sound had; "" for none, or one that may not be used."""
    name = PurePosixPath((path or "").replace("\\", "/")).name
    return name if name and stays_inside(name) else ""


def _class_names(schema: Any, columns: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of classes by column, as datasets stores them."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {
            name: [str(one) for one in features[name]["names"]]
            for name in columns
            if features.get(name, {}).get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _class_name(value: Any, names: Sequence[str], place: str) -> str | None:
    """Return the name of a class; datasets writes -1 for none."""
    if value in (None, -1):
        return None
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise UserError(f"{place}: class {printable(repr(value))} is none of {len(names)}; save the data set again")
    return names[value]


def _common_licence(path: Path) -> str:
    """Return the licence that the data set's description states; "" for none."""
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError, UserError):
        licence = json.loads(read_regular(path.with_name(INFO), LARGEST_INFO)).get("license")
        return Columns({}).labels({"licence": licence}, str(path))[1] if isinstance(licence, str) else ""
    return ""


def _column_names(table: _Table) -> str:
    return ", ".join(printable(name) for name in table.schema.names) or "none"
