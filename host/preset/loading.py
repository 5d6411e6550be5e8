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
from .text import DECIMAL_COMMA, LONGEST, BrokenLine, Where, lines_of, statements

MOST_FAULTS = 20  # reported for one file
SEVERAL = ("cc", "macro", "motion", "note", "effects", "keys", "snapshot")  # arrays of tables
SINGLE = re.compile(rf"\s*\[\s*({'|'.join(SEVERAL)})\s*\]\s*(#.*)?")


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
    found: list[Fault] = []
    broken: list[BrokenLine] = []
    try:
        fields = tomllib.loads(text)
    except (ValueError, RecursionError):  # not TOML, a number with too many digits, or too deeply nested
        text, fields, broken = _what_is_toml(text)
    version = fields.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise UserError(f"preset {path} has format {version}, this timbrel reads {FORMAT}; update timbrel")
    try:
        preset = Preset.model_validate(fields)
    except ValidationError as error:
        skipped = {line.key for line in broken}
        if not broken or (fields and "[" not in skipped):  # else missing keys may be in skipped lines
            found = [fault for fault in _faults(error) if skipped.isdisjoint(fault.where[-1:])]
        if not broken and all(detail["type"] == "extra_forbidden" for detail in error.errors()):
            try:
                preset = Preset.model_validate(_with_known_keys(fields, error))
            except ValidationError as others:
                found += _faults(others)
            else:
                raise UnknownKeys(complaints(path, found, text)[:MOST_FAULTS], preset, found) from None
    else:
        if not broken:
            return preset
    broken_lines = [f"preset {path} is not TOML in line {line.number}: {line.what}" for line in sorted(broken)]
    raise UserError(*[*broken_lines, *complaints(path, found, text)][:MOST_FAULTS])


def complaints(path: Path, faults: Iterable[Fault], text: str | None = None) -> list[str]:
    lines = lines_of(preset_text(path) if text is None else text)
    placed = [(_line(lines, fault.where), fault) for fault in faults]
    placed.sort(key=lambda entry: entry[0] or 0)
    return [f"preset {path}{f', line {number}' if number else ''}: {fault.what}" for number, fault in placed]


def _what_is_toml(text: str) -> tuple[str, dict[str, Any], list[BrokenLine]]:
    lines = text.replace("\r\n", "\n").split("\n")
    broken = [part for part in statements(text) if isinstance(part, BrokenLine)]
    for part in broken:
        lines[part.number - 1] = ""
    while len(broken) < MOST_FAULTS:
        try:
            return "\n".join(lines), tomllib.loads("\n".join(lines)), broken
        except (ValueError, RecursionError) as error:
            where = re.search(r"\(at line (\d+),", str(error))
            if where is None:
                break
            number = int(where[1])
            given, what = printable(lines[number - 1].strip())[:LONGEST], re.sub(r" \(at .*\)", "", str(error))
            if single := [place for place, line in enumerate(lines) if SINGLE.fullmatch(line)]:
                for place in single:
                    name = lines[place].split("]")[0].strip(" [\t")
                    lines[place] = f"[[{name}]]"
                    what = f"'[{name}]': several of these are written [[{name}]], with two brackets"
                    broken.append(BrokenLine(place + 1, "", what))
                continue
            lines[number - 1] = ""
            broken.append(BrokenLine(number, given[:1] if given.startswith("[") else "", f"{given!r}: {what}"))
    return text, {}, broken or [BrokenLine(1, "[", "it nests too deeply, or has a number of too many digits")]


def _with_known_keys(fields: Mapping[str, Any], error: ValidationError) -> dict[str, Any]:
    """Misspelt keys get their names, since a missing key would cause faults that are none; other ones go."""
    known = copy.deepcopy(dict(fields))
    for detail in error.errors():
        *table, key = detail["loc"]
        part: Any = known
        for place in table:
            part = part[place]
        value = part.pop(key)
        for name in get_close_matches(str(key), _names(tuple(table)), n=1, cutoff=0.5):
            part.setdefault(name, value)
    return known


def _line(lines: Mapping[Where, int], where: Where) -> int | None:
    while where and where not in lines:
        where = where[:-1]
    return lines.get(where)


def _faults(error: ValidationError) -> Iterator[Fault]:
    """A misspelt key hides the error of the key missing for it."""
    details = error.errors(include_url=False)[: 2 * MOST_FAULTS]  # more errors mean another kind of file
    unknown = [detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
    for detail in details:
        where: Where = detail["loc"]
        *table, key = where or ("",)
        beside = [str(other[-1]) for other in unknown if other[:-1] == where[:-1]]
        if detail["type"] == "missing" and get_close_matches(str(key), beside, n=1, cutoff=0.5):
            continue
        raised = detail.get("ctx", {}).get("error")
        if isinstance(raised, Misplaced):
            where = raised.where
        yield Fault(where, _said(where, detail, _names(tuple(table))))


def _said(where: Where, detail: Mapping[str, Any], known: Iterable[str]) -> str:
    kind, given, name = detail["type"], detail.get("input"), _named(where)
    what = str(detail["msg"]).removeprefix("Value error, ")
    if kind == "missing":
        return f"{name} is missing; add it"
    if kind == "extra_forbidden":
        table = f"{_named(where[:2])}: " if len(where) > 1 and isinstance(where[1], int) else ""
        key = ".".join(map(str, where[2:])) if table else name
        return f"{table}unknown key {key!r}{nearest(str(where[-1]), known)}"
    if kind == "list_type" and len(where) == 1 and isinstance(given, dict):
        return f"[{name}] is one of several: write [[{name}]], with two brackets"
    if kind in ("model_type", "dict_type") and isinstance(given, list):
        return f"[[{name}]] is there once: write [{name}], with one bracket"
    if isinstance(given, dict | list) or kind == "value_error":
        return f"{name}: {what}" if name else what
    shown = repr(given)
    shown = shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 3]}..."
    return f"{name} = {shown} {what.replace('Input should', 'should', 1)}{_hint(where, detail)}"


def _hint(where: Where, detail: Mapping[str, Any]) -> str:
    given = detail.get("input")
    if isinstance(given, str) and DECIMAL_COMMA.fullmatch(given.strip()):
        return f"; decimals have a point, and no quotes: {given.strip().replace(',', '.')}"
    most = detail.get("ctx", {}).get("le")
    target = ".".join(map(str, where))
    seconds = target.endswith("_seconds") or any(
        kind.controls[target].unit == "s" for kind in KINDS.values() if target in kind.controls
    )
    return seconds_hint(given, most) if seconds and isinstance(given, int | float) and most is not None else ""


def seconds_hint(value: float, most: float) -> str:
    """Hint at milliseconds given for seconds, of which ``most`` are allowed; else ""."""
    return f", in seconds; {value:g} ms are {value / 1000:g}" if most < value <= 1000 * most else ""


def _named(where: Where) -> str:
    """``[[cc]] 2: low``, ``latent.values, number 3``."""
    name = ""
    for place, part in enumerate(where):
        if isinstance(part, int):
            if place == 1 and where[0] in SEVERAL:
                name = f"[[{name}]] {part + 1}"
            else:
                name += f", {'code' if where[place - 1] == 'path' else 'number'} {part + 1}"
        else:
            name += f"{'' if not name else ': ' if place == 2 and isinstance(where[1], int) else '.'}{part}"
    return name


def _names(table: Where) -> list[str]:
    part: Any = Preset
    for key in table:
        if isinstance(key, int):
            continue
        field = part.model_fields.get(key)
        models = [] if field is None else _models(field.annotation)
        if not models:
            return []
        part = models[0]
    return list(part.model_fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]
