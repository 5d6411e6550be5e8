"""Reads preset files and reports all errors at once, with their lines.

`tomllib` and `tomlkit` report neither lines of keys nor errors after the first.
"""

import contextlib
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
from ..kinds.table import known_kinds
from ..settings import Fault, Misplaced
from .preset import FORMAT, Preset, preset_class
from .shipped import current_presets, earlier_presets, own_presets, preset_text
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
    broken_lines: list[BrokenLine] = []
    try:
        fields = tomllib.loads(text)
    except (ValueError, RecursionError):  # not TOML, a number with too many digits, or too deeply nested
        text, fields, broken_lines = _valid_toml(text)
    format_version = fields.get("format")
    if isinstance(format_version, int) and format_version > FORMAT:
        raise UserError(f"preset {path} has format {format_version}, this timbrel reads {FORMAT}; update timbrel")
    preset_type = preset_class(fields)
    try:
        preset = preset_type.model_validate(fields)
    except ValidationError as error:
        skipped_keys = {line.key for line in broken_lines}
        if not broken_lines or (fields and "[" not in skipped_keys):  # else missing keys may be in skipped lines
            faults = [fault for fault in _faults(error, preset_type) if skipped_keys.isdisjoint(fault.location[-1:])]
        if not broken_lines and all(detail["type"] == "extra_forbidden" for detail in error.errors()):
            try:
                preset = preset_type.model_validate(_with_known_keys(fields, error, preset_type))
            except ValidationError as other_error:
                faults += _faults(other_error, preset_type)
            else:
                raise UnknownKeys(complaints(path, faults, text)[:MOST_FAULTS], preset, faults) from None
    else:
        if not broken_lines:
            return preset
    toml_complaints = [
        f"preset {path} is not TOML in line {line.number}: {line.complaint}" for line in sorted(broken_lines)
    ]
    raise UserError(*[*toml_complaints, *complaints(path, faults, text)][:MOST_FAULTS])


def complaints(preset: Path | str, faults: Iterable[Fault], text: str) -> list[str]:
    """A line for each fault, with the number of its line in the text, in order of lines."""
    line_by_path = lines_of(text)
    faults_by_line = [(_line(line_by_path, fault.location), fault) for fault in faults]
    faults_by_line.sort(key=lambda entry: entry[0] or 0)
    return [
        f"preset {preset}{f', line {line_number}' if line_number else ''}: {fault.message}"
        for line_number, fault in faults_by_line
    ]


def _valid_toml(text: str) -> tuple[str, dict[str, Any], list[BrokenLine]]:
    """Text with broken lines blanked, its fields, and these lines."""
    lines = text.replace("\r\n", "\n").split("\n")
    broken_lines = [broken_line for broken_line in statements(text) if isinstance(broken_line, BrokenLine)]
    for broken_line in broken_lines:
        lines[broken_line.number - 1] = ""
    # `tomllib` stops at its first error: this line is blanked, until the rest parses.
    while len(broken_lines) < MOST_FAULTS:
        try:
            return "\n".join(lines), tomllib.loads("\n".join(lines)), broken_lines
        except (ValueError, RecursionError) as error:
            line_match = re.search(r"\(at line (\d+),", str(error))
            if line_match is None:
                break
            line_number = int(line_match[1])
            line_text, complaint = (
                printable(lines[line_number - 1].strip())[:LONGEST],
                re.sub(r" \(at .*\)", "", str(error)),
            )
            if single_bracket_lines := [line_index for line_index, line in enumerate(lines) if SINGLE.fullmatch(line)]:
                for line_index in single_bracket_lines:
                    table_name = lines[line_index].split("]")[0].strip(" [\t")
                    lines[line_index] = f"[[{table_name}]]"
                    complaint = f"'[{table_name}]': several of these are written [[{table_name}]], with two brackets"
                    broken_lines.append(BrokenLine(line_index + 1, "", complaint))
                continue
            lines[line_number - 1] = ""
            broken_lines.append(
                BrokenLine(
                    line_number, line_text[:1] if line_text.startswith("[") else "", f"{line_text!r}: {complaint}"
                )
            )
    return text, {}, broken_lines or [BrokenLine(1, "[", "it nests too deeply, or has a number of too many digits")]


def _with_known_keys(fields: Mapping[str, Any], error: ValidationError, preset_type: type[Preset]) -> dict[str, Any]:
    """Misspelt keys get their names, since a missing key would cause faults that are none; other ones go."""
    corrected_fields = copy.deepcopy(dict(fields))
    for detail in error.errors():
        *table_path, key = detail["loc"]
        section: Any = corrected_fields
        for table_key in table_path:
            section = section[table_key]
        value = section.pop(key)
        for known_key in get_close_matches(str(key), _names(tuple(table_path), preset_type), n=1, cutoff=0.5):
            section.setdefault(known_key, value)
    return corrected_fields


def _line(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """Line of a path, or of the nearest table that contains it."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def _faults(error: ValidationError, preset_type: type[Preset]) -> Iterator[Fault]:
    """A misspelt key hides the error of the key missing for it."""
    details = error.errors(include_url=False)[: 2 * MOST_FAULTS]  # more errors mean another kind of file
    unknown_paths = [detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
    for detail in details:
        path: KeyPath = detail["loc"]
        *table_path, key = path or ("",)
        unknown_sibling_keys = [
            str(unknown_path[-1]) for unknown_path in unknown_paths if unknown_path[:-1] == path[:-1]
        ]
        if detail["type"] == "missing" and get_close_matches(str(key), unknown_sibling_keys, n=1, cutoff=0.5):
            continue
        cause_error = detail.get("ctx", {}).get("error")
        if isinstance(cause_error, Misplaced):
            path = cause_error.location
        yield Fault(path, _message(path, detail, _names(tuple(table_path), preset_type)))


def _message(path: KeyPath, detail: Mapping[str, Any], known_keys: Iterable[str]) -> str:
    """Return the fault of a value, in the words of presets."""
    error_type, input_value, key_name = detail["type"], detail.get("input"), _key_name(path)
    message = str(detail["msg"]).removeprefix("Value error, ")
    if error_type == "missing":
        return f"{key_name} is missing; add it"
    if error_type == "extra_forbidden":
        table_prefix = f"{_key_name(path[:2])}: " if len(path) > 1 and isinstance(path[1], int) else ""
        unknown_key = ".".join(map(str, path[2:])) if table_prefix else key_name
        return f"{table_prefix}unknown key {unknown_key!r}{nearest(str(path[-1]), known_keys)}"
    if error_type == "list_type" and len(path) == 1 and isinstance(input_value, dict):
        return f"[{key_name}] is one of several: write [[{key_name}]], with two brackets"
    if error_type in ("model_type", "dict_type") and isinstance(input_value, list):
        if len(path) == 1 and input_value and all(isinstance(item, dict) for item in input_value):
            return f"[[{key_name}]] is there once: write [{key_name}], with one bracket"
        return f"{key_name} is a list; write a table: {{ key = value, ... }}"
    if isinstance(input_value, dict | list) or error_type == "value_error":
        return f"{key_name}: {message}" if key_name else message
    input_text = repr(input_value)
    input_text = input_text if len(input_text) <= LONGEST else f"{input_text[: LONGEST - 3]}..."
    return f"{key_name} = {input_text} {message.replace('Input should', 'should', 1)}{_hint(path, detail)}"


def _hint(path: KeyPath, detail: Mapping[str, Any]) -> str:
    """Advice about decimal commas and milliseconds, or ""."""
    input_value = detail.get("input")
    if isinstance(input_value, str) and DECIMAL_COMMA.fullmatch(input_value.strip()):
        return f"; decimals have a point, and no quotes: {input_value.strip().replace(',', '.')}"
    upper_limit = detail.get("ctx", {}).get("le")
    target = ".".join(map(str, path))
    is_seconds = target.endswith("_seconds") or any(
        kind.controls[target].unit == "s" for kind in known_kinds().values() if target in kind.controls
    )
    return (
        seconds_hint(input_value, upper_limit)
        if is_seconds and isinstance(input_value, int | float) and upper_limit is not None
        else ""
    )


def seconds_hint(value: float, limit: float) -> str:
    """Hint at milliseconds given for seconds, of which ``limit`` are allowed; else ""."""
    return f", in seconds; {value:g} ms are {value / 1000:g}" if limit < value <= 1000 * limit else ""


def _key_name(path: KeyPath) -> str:
    """``[[cc]] 2: low``, ``latent.values, number 3``."""
    key_text = ""
    for part_index, part in enumerate(path):
        if isinstance(part, int):
            if part_index == 1 and path[0] in TABLE_ARRAYS:
                key_text = f"[[{key_text}]] {part + 1}"
            else:
                key_text += f", {'code' if path[part_index - 1] == 'path' else 'number'} {part + 1}"
        else:
            key_text += f"{'' if not key_text else ': ' if part_index == 2 and isinstance(path[1], int) else '.'}{part}"
    return key_text


def _names(table: KeyPath, preset_type: type[Preset]) -> list[str]:
    """Keys that a table may have; empty if unknown."""
    section_model: Any = preset_type
    for key in table:
        if isinstance(key, int):
            continue
        field = section_model.model_fields.get(key)
        models = [] if field is None else _models(field.annotation)
        if not models:
            return []
        section_model = models[0]
    return list(section_model.model_fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Pydantic models in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner_type in get_args(annotation) for model in _models(inner_type)]


def described_presets() -> Iterator[tuple[str, str, str]]:
    """Yield ``shipped`` or ``own``, name and description of each readable preset; earlier ones last."""
    for origin, preset_files in (("shipped", current_presets()), ("own", own_presets())):
        for name, path in preset_files.items():
            with contextlib.suppress(UserError):  # the user's own; loading it reports the error
                yield origin, name, read_preset(path).description
    for name, description in earlier_presets().items():
        yield "shipped", name, description
