"""Reads tables of notes: CSV files whose columns have the names of a data set's labels, one note a row.

Columns that are missing, and cells that are empty, are drawn as those of other notes. Columns that rendering fills
are not read: so the labels of a data set, written as a table, give its notes again.
"""

import csv
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...host.arguments import value_text
from ...host.errors import UserError, nearest, printable
from ...host.files import check_regular
from .drawing import LONGEST_SECONDS, MOST_NOTES, DatasetPreset, DatasetSettings, TableNote, draw

LARGEST_BYTES = 1 << 36
# Columns of labels that rendering itself makes.
MEASURED_COLUMNS = (
    "number",
    "model_sha256",
    "pitch_hz",
    "sample_rate",
    "label",
    "licence",
    "loudness_lufs",
    "peak_dbfs",
)


class CheckedTable(NamedTuple):
    notes: int
    sha256: str


def check_table(path: Path, presets: Sequence[DatasetPreset], settings: DatasetSettings) -> CheckedTable:
    """Check all rows; return their number and the file's SHA-256.

    Raises:
        UserError: the file cannot be read, or a row's value cannot be used; it names the row, counted from 1.
    """
    note_count = 0
    for note_count, note in enumerate(read_notes(path), 1):
        if note_count > MOST_NOTES:
            raise UserError(f"{path} has more than {MOST_NOTES} notes; split it")
        if note.onset_seconds is not None and note.onset_seconds >= settings.seconds:
            raise _row_error(path, note_count, f"onset_seconds leaves no room in {settings.seconds:g} seconds")
        try:
            draw(note_count - 1, presets, settings, note)
        except UserError as error:
            raise _row_error(path, note_count, str(error)) from None
    if not note_count:
        raise UserError(f"{path} has no notes; give a row for each, below the names of columns")
    with path.open("rb") as file:
        return CheckedTable(note_count, hashlib.file_digest(file, "sha256").hexdigest())


def read_notes(path: Path) -> Iterator[TableNote]:
    """Yield the notes of a table, row by row; raises as `check_table`."""
    check_regular(path, LARGEST_BYTES)
    row = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            columns = [name.strip() for name in next(filter(None, rows), [])]
            _check_columns(path, columns)
            for row, values in enumerate((values for values in rows if values), 1):
                if len(values) != len(columns):
                    raise _row_error(path, row, f"it has {len(values)} of {len(columns)} values")
                yield _note(path, row, dict(zip(columns, map(str.strip, values), strict=True)))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; give a CSV file of notes") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8; save it as a CSV file in UTF-8") from None
    except csv.Error as error:
        raise _row_error(path, row + 1, f"it is no CSV ({error})") from None


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    """Raise UserError for unknown and repeated columns, or none."""
    if len(columns) == 1 and (separator := next((letter for letter in ";\t|" if letter in columns[0]), "")):
        raise UserError(f"{path} has {separator!r} between its columns; save it as a CSV file with commas")
    for name, repeated_names in itertools.groupby(sorted(columns)):
        if name not in TableNote._fields and name not in MEASURED_COLUMNS:
            hint = nearest(name, TableNote._fields)
            raise UserError(f"{path} has an unknown column {printable(name)!r}{hint}")
        if len(list(repeated_names)) > 1:
            raise UserError(f"{path} has two columns {name!r}; leave one out")
    if not columns:
        raise UserError(f"{path} is empty; its first line names columns, such as key,velocity")


def _note(path: Path, row: int, values: Mapping[str, str]) -> TableNote:
    fields = dict[str, Any]()
    for name, text in values.items():
        if not text or name in MEASURED_COLUMNS:
            continue
        try:
            fields[name] = _READERS[name](text)
        except (ValueError, TypeError, RecursionError, OverflowError):
            raise _row_error(path, row, f"{name} {value_text(text)} is not {_REQUIREMENTS[name]}") from None
    return TableNote(**fields)


def _row_error(path: Path, row: int, reason: str) -> UserError:
    return UserError(f"{path}, row {row}: {reason}; correct the row, or take it out")


def _integer_reader(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = float(text)  # programs for tables write 60.0 beside gaps
        if not value.is_integer() or not low <= value <= high:
            raise ValueError(text)
        return int(value)

    return read


def _number(text: str, low: float, high: float) -> float:
    value = float(text)
    if not low <= value <= high:  # nor NaN
        raise ValueError(text)
    return value


def _code(text: str) -> tuple[float, ...] | None:
    """Return the numbers of a JSON list; None for ``null``, which labels of kits have."""
    values = json.loads(text)
    if values is None:
        return None
    if not isinstance(values, list) or not all(_is_finite(value) for value in values):
        raise ValueError(text)
    return tuple(map(float, values))


def _positions(text: str) -> tuple[tuple[str, float], ...]:
    """Return names and positions of a JSON object; none for ``null``."""
    positions = json.loads(text)
    if positions is None:
        return ()
    if not isinstance(positions, dict) or not all(
        _is_finite(value) and 0 <= value <= 1 for value in positions.values()
    ):
        raise ValueError(text)
    return tuple((name, float(position)) for name, position in sorted(positions.items()))


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_READERS: dict[str, Callable[[str], Any]] = {
    "preset": str,
    "key": _integer_reader(0, 127),
    "velocity": _integer_reader(1, 127),
    "onset_seconds": lambda text: _number(text, 0.0, LONGEST_SECONDS),
    "held_seconds": lambda text: _number(text, 0.001, LONGEST_SECONDS),
    "latents": _code,
    "landmark": str,
    "knobs": _positions,
}
_REQUIREMENTS = {
    "key": "a MIDI key, 0 to 127",
    "velocity": "a MIDI velocity, 1 to 127",
    "onset_seconds": f"seconds, 0 to {LONGEST_SECONDS:g}",
    "held_seconds": f"seconds, 0.001 to {LONGEST_SECONDS:g}",
    "latents": "a JSON list of numbers, such as [0.5, -1]",
    "knobs": 'a JSON object of positions, 0 to 1, such as {"brightness": 0.5}',
}
