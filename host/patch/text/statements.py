"""Splits TOML text into statements with line numbers, and finds broken lines."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any, NamedTuple

from ...errors import printable

Where = tuple[str | int, ...]

MOST_LINES = 400  # of a statement: a long path has a code a line
LONGEST = 60  # characters of a value in a message
UNFINISHED = "(at end of document)"  # tomllib's message for a statement that continues in the next line
KEY = re.compile(r"\s*([\w.\-]+)\s*=\s*(.*?)\s*(?:#.*)?")
WORD = re.compile(r"[^\W\d][\w .#/\-]*")
SWITCHES = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


class BrokenLine(NamedTuple):
    """Not TOML; ``key`` is apparent."""

    number: int
    key: str
    what: str


class Statement(NamedTuple):
    """A header or key with value; lines count from 1."""

    number: int
    text: str
    fields: dict[str, Any]


def statements(text: str) -> Iterator[Statement | BrokenLine]:
    """Headers and key-value pairs, each valid alone, and broken lines."""
    lines = text.replace("\r\n", "\n").split("\n")
    start = 0
    while start < len(lines):
        end, trouble = start + 1, ""
        while True:
            piece = "\n".join(lines[start:end])
            try:
                fields = tomllib.loads(piece)
                if fields:
                    yield Statement(start + 1, piece.strip(), fields)
                break
            except (ValueError, RecursionError) as error:
                trouble = trouble or str(error)
                if not str(error).endswith(UNFINISHED) or end == len(lines) or end - start == MOST_LINES:
                    yield _broken(start + 1, lines[start], trouble)
                    end = start + 1
                    break
            end += 1
        start = end


def _broken(number: int, line: str, trouble: str) -> BrokenLine:
    given = KEY.fullmatch(line)
    what = re.sub(r" \(at .*\)", "", trouble)
    if given is None:
        shown = printable(line.strip())[:LONGEST]
        hint = "write KEY = VALUE, or [TABLE]" if "=" not in line and not line.lstrip().startswith("[") else what
        # Keys after a broken header belong to no known table.
        return BrokenLine(number, shown[:1] if shown.startswith("[") else "", f"{shown!r}: {hint}")
    key, value = given.groups()
    if value.casefold() in SWITCHES:
        what = f"write {key} = {SWITCHES[value.casefold()]}"
    elif WORD.fullmatch(value):
        what = f'text is written in quotes: {key} = "{value}"'
    elif DECIMAL_COMMA.fullmatch(value):
        what = f"decimals have a point: {key} = {value.replace(',', '.')}"
    elif not value:
        what = f"{key} has no value; give one, or remove the line"
    return BrokenLine(number, key.rpartition(".")[2], printable(f"{line.strip()[:LONGEST]!r}: {what}"))


def lines_of(text: str) -> dict[Where, int]:
    """Line of each table, key and list entry, from 1."""
    lines: dict[Where, int] = {}
    counts: dict[Where, int] = {}
    table: Where = ()
    for part in statements(text):
        if isinstance(part, BrokenLine):
            continue
        if part.text.startswith("["):
            table = header(part, counts)
            lines.setdefault(table, part.number)
            lines.setdefault(table[:-1], part.number)
        else:
            for where in _keys(part.fields):
                lines.setdefault((*table, *where), part.number)
    return lines


def header(part: Statement, counts: dict[Where, int]) -> Where:
    """Path of a table, with the current index in arrays, kept in ``counts``."""
    keys: list[str] = []
    inner: Any = part.fields
    while inner:
        inner = inner[0] if isinstance(inner, list) else inner
        if not inner:
            break
        (key,) = inner
        keys.append(key)
        inner = inner[key]
    path: Where = ()
    for place, key in enumerate(keys):
        path = (*path, key)
        if place == len(keys) - 1 and part.text.startswith("[["):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _keys(value: Any) -> Iterator[Where]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (key,)
        for where in _keys(inner):
            yield (key, *where)
