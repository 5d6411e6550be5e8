"""Reads preset files and reports all errors at once, with their lines.

`tomllib` and `tomlkit` report neither lines of keys nor errors after the first.
"""

import copy
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ..config import check_keys
from ..errors import UserError, nearest, printable
from ..kinds.table import KINDS
from ..settings import Fault, Misplaced
from .preset import FORMAT, Preset
from .shipped import preset_text
from .text import DECIMAL_COMMA, LONGEST, BrokenLine, KeyPath, lines_of, statements

MOST_FAULTS = 20  # reported for one file
TABLE_ARRAYS = ("cc", "macro", "motion", "note", "effects", "keys", "snapshot")  # arrays of tables
SINGLE = re.compile(rf"\s*\[\s*({'|'.join(TABLE_ARRAYS)})\s*\]\s*(#.*)?")


class UnknownKeys(UserError):
    """A preset whose only faults are unknown keys, and the same preset without or with corrected keys."""

    def __init__(self, lines: Iterable[str], preset: Preset, faults: Sequence[Fault]) -> None:
        super().__init__(*lines)
        self.preset, self.faults = preset, faults


def read_preset(path: Path, text: str | None = None) -> Preset:
    """Read a preset file, or its unsaved ``text``.

    Raises:
        UnknownKeys: it has unknown keys, and no other fault.
        UserError: missing, not TOML, a newer format, or wrong keys or values: a line for each.
    """
    if text is None:
        text = preset_text(path)
    else:
        check_keys(text, f"preset {path}")
    faults: list[Fault] = []
    broken: list[BrokenLine] = []
    try:
        fields = tomllib.loads(text)
    except (ValueError, RecursionError):  # not TOML, a number with too many digits, or too deeply nested
        text, fields, broken = _valid_toml(text)
    version = fields.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise UserError(f"preset {path} has format {version}, this timbrel reads {FORMAT}; update timbrel")
    try:
        preset = Preset.model_validate(fields)
    except ValidationError as error:
        skipped = {line.key for line in broken}
        if not broken or (fields and "[" not in skipped):  # else missing keys may be in skipped lines
            faults = [fault for fault in _faults(error) if skipped.isdisjoint(fault.location[-1:])]
        if not broken and all(detail["type"] == "extra_forbidden" for detail in error.errors()):
            try:
                preset = Preset.model_validate(_with_known_keys(fields, error))
            except ValidationError as other_error:
                faults += _faults(other_error)
            else:
                raise UnknownKeys(complaints(path, faults, text)[:MOST_FAULTS], preset, faults) from None
    else:
        if not broken:
            return preset
    broken_lines = [f"preset {path} is not TOML in line {line.number}: {line.complaint}" for line in sorted(broken)]
    raise UserError(*[*broken_lines, *complaints(path, faults, text)][:MOST_FAULTS])


def complaints(path: Path, faults: Iterable[Fault], text: str | None = None) -> list[str]:
    lines = lines_of(preset_text(path) if text is None else text)
    faults_by_line = [(_line(lines, fault.location), fault) for fault in faults]
    faults_by_line.sort(key=lambda entry: entry[0] or 0)
    return [f"preset {path}{f', line {number}' if number else ''}: {fault.message}" for number, fault in faults_by_line]


def _valid_toml(text: str) -> tuple[str, dict[str, Any], list[BrokenLine]]:
    lines = text.replace("\r\n", "\n").split("\n")
    broken = [broken_line for broken_line in statements(text) if isinstance(broken_line, BrokenLine)]
    for broken_line in broken:
        lines[broken_line.number - 1] = ""
    # `tomllib` stops at its first error: this line is blanked, until the rest parses.
    while len(broken) < MOST_FAULTS:
        try:
            return "\n".join(lines), tomllib.loads("\n".join(lines)), broken
        except (ValueError, RecursionError) as error:
            match = re.search(r"\(at line (\d+),", str(error))
            if match is None:
                break
            number = int(match[1])
            line_text, complaint = printable(lines[number - 1].strip())[:LONGEST], re.sub(r" \(at .*\)", "", str(error))
            if single := [place for place, line in enumerate(lines) if SINGLE.fullmatch(line)]:
                for place in single:
                    name = lines[place].split("]")[0].strip(" [\t")
                    lines[place] = f"[[{name}]]"
                    complaint = f"'[{name}]': several of these are written [[{name}]], with two brackets"
                    broken.append(BrokenLine(place + 1, "", complaint))
                continue
            lines[number - 1] = ""
            broken.append(
                BrokenLine(number, line_text[:1] if line_text.startswith("[") else "", f"{line_text!r}: {complaint}")
            )
    return text, {}, broken or [BrokenLine(1, "[", "it nests too deeply, or has a number of too many digits")]


def _with_known_keys(fields: Mapping[str, Any], error: ValidationError) -> dict[str, Any]:
    """Misspelt keys get their names, since a missing key would cause faults that are none; other ones go."""
    corrected = copy.deepcopy(dict(fields))
    for detail in error.errors():
        *table, key = detail["loc"]
        section: Any = corrected
        for place in table:
            section = section[place]
        value = section.pop(key)
        for name in get_close_matches(str(key), _names(tuple(table)), n=1, cutoff=0.5):
            section.setdefault(name, value)
    return corrected


def _line(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def _faults(error: ValidationError) -> Iterator[Fault]:
    """A misspelt key hides the error of the key missing for it."""
    details = error.errors(include_url=False)[: 2 * MOST_FAULTS]  # more errors mean another kind of file
    unknown = [detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
    for detail in details:
        path: KeyPath = detail["loc"]
        *table, key = path or ("",)
        unknown_siblings = [str(sibling[-1]) for sibling in unknown if sibling[:-1] == path[:-1]]
        if detail["type"] == "missing" and get_close_matches(str(key), unknown_siblings, n=1, cutoff=0.5):
            continue
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, Misplaced):
            path = cause.location
        yield Fault(path, _message(path, detail, _names(tuple(table))))


def _message(path: KeyPath, detail: Mapping[str, Any], known_keys: Iterable[str]) -> str:
    kind, input_value, name = detail["type"], detail.get("input"), _key_name(path)
    message = str(detail["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        return f"{name} is missing; add it"
    if kind == "extra_forbidden":
        table = f"{_key_name(path[:2])}: " if len(path) > 1 and isinstance(path[1], int) else ""
        key = ".".join(map(str, path[2:])) if table else name
        return f"{table}unknown key {key!r}{nearest(str(path[-1]), known_keys)}"
    if kind == "list_type" and len(path) == 1 and isinstance(input_value, dict):
        return f"[{name}] is one of several: write [[{name}]], with two brackets"
    if kind in ("model_type", "dict_type") and isinstance(input_value, list):
        return f"[[{name}]] is there once: write [{name}], with one bracket"
    if isinstance(input_value, dict | list) or kind == "value_error":
        return f"{name}: {message}" if name else message
    input_text = repr(input_value)
    input_text = input_text if len(input_text) <= LONGEST else f"{input_text[: LONGEST - 3]}..."
    return f"{name} = {input_text} {message.replace('Input should', 'should', 1)}{_hint(path, detail)}"


def _hint(path: KeyPath, detail: Mapping[str, Any]) -> str:
    input_value = detail.get("input")
    if isinstance(input_value, str) and DECIMAL_COMMA.fullmatch(input_value.strip()):
        return f"; decimals have a point, and no quotes: {input_value.strip().replace(',', '.')}"
    limit = detail.get("ctx", {}).get("le")
    target = ".".join(map(str, path))
    seconds = target.endswith("_seconds") or any(
        kind.controls[target].unit == "s" for kind in KINDS.values() if target in kind.controls
    )
    return (
        seconds_hint(input_value, limit)
        if seconds and isinstance(input_value, int | float) and limit is not None
        else ""
    )


def seconds_hint(value: float, limit: float) -> str:
    """Hint at milliseconds given for seconds, of which ``limit`` are allowed; else ""."""
    return f", in seconds; {value:g} ms are {value / 1000:g}" if limit < value <= 1000 * limit else ""


def _key_name(path: KeyPath) -> str:
    """``[[cc]] 2: low``, ``latent.values, number 3``."""
    name = ""
    for place, part in enumerate(path):
        if isinstance(part, int):
            if place == 1 and path[0] in TABLE_ARRAYS:
                name = f"[[{name}]] {part + 1}"
            else:
                name += f", {'code' if path[place - 1] == 'path' else 'number'} {part + 1}"
        else:
            name += f"{'' if not name else ': ' if place == 2 and isinstance(path[1], int) else '.'}{part}"
    return name


def _names(table: KeyPath) -> list[str]:
    section: Any = Preset
    for key in table:
        if isinstance(key, int):
            continue
        field = section.model_fields.get(key)
        models = [] if field is None else _models(field.annotation)
        if not models:
            return []
        section = models[0]
    return list(section.model_fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]
