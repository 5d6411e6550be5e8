"""Tables of gestures in metadata, format 2: each quantity of all notes is one array, base64 of zlib of floats.

In format 1 each note has lists of decimals, three times as many bytes.
"""

import base64
import math
import zlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from ..arrays import Doubles
from ..kinds.card_fields import MetadataPart
from .card import first_complaint

TABLE_FORMAT = 2
# float16 keeps 11 bits: codes to a two-thousandth of themselves, levels to .03 dB down to -128. The frequency of a mode
# would move by .8 cents.
TYPES: Mapping[str, Literal["float16", "float32"]] = {
    "code": "float16",
    "levels": "float16",
    "codes": "float16",
    "release_levels": "float16",
    "release_codes": "float16",
    "modes": "float32",
}
LISTED = ("modes",)  # a note has any number of rows of these, and one array or none of the others
NUMPY_TYPES = {"float16": "<f2", "float32": "<f4"}
MOST_NUMBERS = 1 << 21  # of a table: thirty times the largest of shipped models, 16 MB


class Table(MetadataPart):
    """One quantity of all notes, in the order of instruments and of their notes.

    ``shape``: of the array; its first axis has ``counts`` rows of each note, or one where these are left out. ``data``:
    base64 of zlib of the numbers, little-endian, the last axis fastest.
    """

    type: Literal["float16", "float32"]
    shape: Annotated[list[Annotated[int, Field(ge=0, le=MOST_NUMBERS)]], Field(min_length=2, max_length=3)]
    counts: list[Annotated[int, Field(ge=0, le=MOST_NUMBERS)]] | None = None
    data: str

    def array(self) -> Doubles:
        """Return the numbers, of ``shape``.

        Raises:
            ValueError: too many numbers, or not those of the shape.
        """
        number_count, numpy_type = math.prod(self.shape), np.dtype(NUMPY_TYPES[self.type])
        if number_count > MOST_NUMBERS:
            raise ValueError(f"it has {number_count} numbers, more than {MOST_NUMBERS}")
        byte_count = number_count * numpy_type.itemsize
        try:
            unpacked_bytes = zlib.decompressobj().decompress(base64.b64decode(self.data, validate=True), byte_count + 1)
        except (ValueError, zlib.error):
            raise ValueError("it must be compressed numbers in base64") from None
        if len(unpacked_bytes) != byte_count:
            raise ValueError(f"it must hold the numbers of its shape, {number_count} of {self.type}")
        return np.frombuffer(unpacked_bytes, numpy_type).reshape(self.shape).astype(np.float64)


def into_tables(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of gestures as a file has them: the notes' lists are in ``tables``."""
    instruments = [
        instrument | {"notes": [dict(note) for note in instrument["notes"]]} for instrument in fields["instruments"]
    ]
    notes = [note for instrument in instruments for note in instrument["notes"]]
    tables = {}
    for name, number_type in TYPES.items():
        rows_by_note = [
            rows if name in LISTED or not len(rows) else [rows] for rows in (note.pop(name, []) for note in notes)
        ]
        if rows := [row for note_rows in rows_by_note for row in note_rows]:
            array = np.array(rows, NUMPY_TYPES[number_type])
            tables[name] = Table(
                type=number_type,
                shape=list(array.shape),
                counts=[len(note_rows) for note_rows in rows_by_note],
                data=base64.b64encode(zlib.compress(array.tobytes(), 9)).decode("ascii"),
            ).model_dump(exclude={"counts"} if all(len(note_rows) == 1 for note_rows in rows_by_note) else None)
    return {**fields, "format": TABLE_FORMAT, "instruments": instruments, "tables": tables}


def out_of_tables(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a file has with the lists of its ``tables`` in their notes, as format 1 has them.

    Raises:
        ValueError: a table is damaged, or does not fit the notes.
    """
    instruments = [_copied(instrument) for instrument in _list_of(fields, "instruments")]
    notes = [note for instrument in instruments for note in _list_of(instrument, "notes") if isinstance(note, dict)]
    tables = fields.get("tables")
    if not isinstance(tables, dict):
        raise ValueError(f"tables must be given with format {TABLE_FORMAT}: the numbers of the notes")
    for name in TYPES:
        if any(name in note for note in notes):
            raise ValueError(f"{name} of a note must be in tables with format {TABLE_FORMAT}")
        if name in tables:
            _distribute(name, tables[name], notes)
    return {name: value for name, value in fields.items() if name != "tables"} | {"instruments": instruments}


def _distribute(name: str, table_fields: Any, notes: list[dict[str, Any]]) -> None:
    """Put a table's rows into their notes."""
    try:
        table = Table.model_validate(table_fields)
        rows = table.array().tolist()
    except ValidationError as error:
        raise ValueError(f"tables.{name}: {first_complaint(error)}") from None
    except ValueError as error:
        raise ValueError(f"tables.{name}: {error}") from None
    counts = [1] * len(notes) if table.counts is None else table.counts
    most_rows = len(rows) if name in LISTED else 1
    if len(counts) != len(notes) or sum(counts) != len(rows) or max(counts, default=0) > most_rows:
        raise ValueError(f"tables.{name}: its {len(rows)} rows are not those of {len(notes)} notes")
    first_row = 0
    for note, count in zip(notes, counts, strict=True):
        if count:
            note[name] = rows[first_row : first_row + count] if name in LISTED else rows[first_row]
        first_row += count


def _list_of(fields: Any, name: str) -> list[Any]:
    """Return a list, empty where the fields have none: the caller's model says so."""
    listed = fields.get(name) if isinstance(fields, Mapping) else None
    return listed if isinstance(listed, list) else []


def _copied(instrument: Any) -> Any:
    """Copy an instrument and its notes."""
    if not isinstance(instrument, dict):
        return instrument
    notes = [dict(note) if isinstance(note, dict) else note for note in _list_of(instrument, "notes")]
    return instrument | ({"notes": notes} if notes else {})
