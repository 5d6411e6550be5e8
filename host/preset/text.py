"""Edits a preset's TOML text by statements, with comments and layout preserved.

An edit that does not equal the same change of the parsed fields raises `UserError`.
"""

import copy
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tomlkit

from ..errors import UserError, printable

KeyPath = tuple[str | int, ...]

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
    complaint: str


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
        end, first_error = start + 1, ""
        while True:
            candidate = "\n".join(lines[start:end])
            try:
                fields = tomllib.loads(candidate)
                if fields:
                    yield Statement(start + 1, candidate.strip(), fields)
                break
            except (ValueError, RecursionError) as error:
                first_error = first_error or str(error)
                if not str(error).endswith(UNFINISHED) or end == len(lines) or end - start == MOST_LINES:
                    yield _broken(start + 1, lines[start], first_error)
                    end = start + 1
                    break
            end += 1
        start = end


def _broken(number: int, line: str, error: str) -> BrokenLine:
    match = KEY.fullmatch(line)
    complaint = re.sub(r" \(at .*\)", "", error)
    if match is None:
        excerpt = printable(line.strip())[:LONGEST]
        hint = "write KEY = VALUE, or [TABLE]" if "=" not in line and not line.lstrip().startswith("[") else complaint
        # Keys after a broken header belong to no known table.
        return BrokenLine(number, excerpt[:1] if excerpt.startswith("[") else "", f"{excerpt!r}: {hint}")
    key, value = match.groups()
    if value.casefold() in SWITCHES:
        complaint = f"write {key} = {SWITCHES[value.casefold()]}"
    elif WORD.fullmatch(value):
        complaint = f'text is written in quotes: {key} = "{value}"'
    elif DECIMAL_COMMA.fullmatch(value):
        complaint = f"decimals have a point: {key} = {value.replace(',', '.')}"
    elif not value:
        complaint = f"{key} has no value; give one, or remove the line"
    return BrokenLine(number, key.rpartition(".")[2], printable(f"{line.strip()[:LONGEST]!r}: {complaint}"))


def lines_of(text: str) -> dict[KeyPath, int]:
    """Line of each table, key and list entry, from 1."""
    lines: dict[KeyPath, int] = {}
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for statement in statements(text):
        if isinstance(statement, BrokenLine):
            continue
        if statement.text.startswith("["):
            table = header(statement, counts)
            lines.setdefault(table, statement.number)
            lines.setdefault(table[:-1], statement.number)
        else:
            for path in _keys(statement.fields):
                lines.setdefault((*table, *path), statement.number)
    return lines


def header(statement: Statement, counts: dict[KeyPath, int]) -> KeyPath:
    """Path of a table, with the current index in arrays, kept in ``counts``."""
    keys: list[str] = []
    level: Any = statement.fields
    while level:
        level = level[0] if isinstance(level, list) else level
        if not level:
            break
        (key,) = level
        keys.append(key)
        level = level[key]
    path: KeyPath = ()
    for place, key in enumerate(keys):
        path = (*path, key)
        if place == len(keys) - 1 and statement.text.startswith("[["):
            counts[path] = counts.get(path, 0) + 1
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _keys(value: Any) -> Iterator[KeyPath]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (key,)
        for path in _keys(entry):
            yield (key, *path)


Fields = dict[str, Any]
REMOVED = object()  # marks a removed value


def with_values(text: str, values: Mapping[KeyPath, float | str], codes: Sequence[float]) -> str:
    """Set values by key path, such as ``("envelope", "sustain")``.

    ``codes``: the ``latent.values`` of a text without them.
    """
    latents = {path: value for path, value in values.items() if path[:2] == ("latent", "values")}
    if latents and "values" not in tomllib.loads(text).get("latent", {}):
        text = with_value(text, ("latent", "values"), list(codes))
    for path, value in values.items():
        text = with_value(text, path, value)
    return text


def with_value(text: str, path: KeyPath, value: Any) -> str:
    """Set a value by key path; list entries count from 0."""

    def change(fields: Fields) -> None:
        parent: Any = fields
        for key in path[:-1]:
            parent = parent.setdefault(key, {}) if isinstance(parent, dict) else parent[key]
        parent[path[-1]] = value

    return _checked(_set(text, path, value), change, text, ".".join(map(str, path)))


def words_in(text: str) -> set[str]:
    """All string values except the description."""
    return {word for _, word in _words(tomllib.loads(text))}


def with_words(text: str, words: Mapping[str, str]) -> str:
    """Replace some of `words_in` everywhere."""
    for path, word in _words(tomllib.loads(text)):
        if word in words:
            text = with_value(text, path, words[word])
    return text


def without_maps(text: str, target: str) -> str:
    """Remove a target's controllers, except pressure."""
    fields = tomllib.loads(text)
    place = target.removeprefix("latent.")
    knobs = fields.get("knobs", [])
    if target.startswith("latent.") and place.isdecimal() and int(place) < len(knobs):
        text = without_knob(text, int(place))
    return without_entries(text, "cc", lambda place, entry: is_knob_of(entry, target))


def is_knob_of(entry: Mapping[str, Any], target: str) -> bool:
    return entry.get("target") == target and "pressure" not in entry


def without_knob(text: str, index: int) -> str:
    """Remove a controller from the list ``knobs``, which has no gaps: those after it become ``[[cc]]`` tables."""
    knobs = tomllib.loads(text)["knobs"]
    text = with_value(text, ("knobs",), knobs[:index])
    for number, knob in enumerate(knobs[index + 1 :], index + 1):
        text = appended(text, "cc", {"number": knob, "target": f"latent.{number}"})
    return text


def with_path(text: str, motion: Fields | None) -> str:
    """Replace the path or walk of all latents; None removes it."""
    text = without_entries(text, "motion", lambda place, entry: "target" not in entry)
    return text if motion is None else appended(text, "motion", motion)


def with_snapshot(text: str, slot: int, values: Mapping[str, float | str] | None) -> str:
    """None removes the slot's snapshot."""
    text = without_entries(text, "snapshot", lambda place, entry: entry["slot"] == slot)
    if values is None:
        return text
    inline = tomlkit.inline_table()
    inline.update(values)
    return appended(text, "snapshot", {"slot": slot, "values": inline})


def without_snapshots(text: str) -> Fields:
    """Fields of a text that sound."""
    return {key: value for key, value in tomllib.loads(text).items() if key != "snapshot"}


def with_effect(text: str, plugin: str) -> str:
    return appended(text, "effects", {"plugin": plugin})


def with_effect_on(text: str, index: int, enabled: bool) -> str:
    return with_value(text, ("effects", index, "on"), enabled)


def without_effect(text: str, index: int) -> str:
    """Remove an effect and its maps.

    Raises:
        UserError: a macro has no other targets.
    """
    prefix = f"effects.{index}."
    for number, macro in enumerate(tomllib.loads(text).get("macro", [])):
        removed_places = [place for place, entry in enumerate(macro["targets"]) if entry["target"].startswith(prefix)]
        if len(removed_places) == len(macro["targets"]):
            raise UserError(f"macro {macro['name']!r} moves nothing but this effect; remove the macro first")
        for place in reversed(removed_places):
            text = without_entry(text, ("macro", number, "targets", place))
    text = without_entries(text, "cc", lambda place, entry: str(entry.get("target", "")).startswith(prefix))
    text = without_entries(text, "effects", lambda place, entry: place == index)
    for snapshot in tomllib.loads(text).get("snapshot", []):
        if any(target.startswith(prefix) for target in snapshot["values"]):
            remaining = {target: value for target, value in snapshot["values"].items() if not target.startswith(prefix)}
            text = with_snapshot(text, snapshot["slot"], remaining or None)
    count = len(tomllib.loads(text).get("effects", []))
    return _renumbered(text, {place + 1: place for place in range(index, count)})


def with_effect_moved(text: str, index: int, to: int) -> str:
    """Move an effect; its maps follow."""
    order = list(range(len(tomllib.loads(text).get("effects", []))))
    order.insert(to, order.pop(index))
    text = _ordered(text, "effects", order)
    return _renumbered(text, {old: place for place, old in enumerate(order)})


def _words(fields: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    for key, value in fields.items() if isinstance(fields, dict) else enumerate(fields):
        if isinstance(value, str) and (*path, key) != ("description",):
            yield (*path, key), value
        elif isinstance(value, dict | list):
            yield from _words(value, (*path, key))


def without_entry(text: str, path: KeyPath) -> str:
    def change(fields: Fields) -> None:
        parent: Any = fields
        for key in path[:-1]:
            parent = parent[key]
        del parent[path[-1]]

    return _checked(_set(text, path, REMOVED), change, text, ".".join(map(str, path)))


def _renumbered(text: str, places: Mapping[int, int]) -> str:
    def renamed(target: str) -> str:
        if (effect := effect_target(target)) is None:
            return target
        number, parameter = effect
        return f"effects.{places.get(number, number)}.{parameter}"

    fields = tomllib.loads(text)
    targets: list[tuple[KeyPath, str]] = [
        (("cc", place, "target"), entry["target"]) for place, entry in enumerate(fields.get("cc", []))
    ]
    for place, macro in enumerate(fields.get("macro", [])):
        targets += [
            (("macro", place, "targets", number, "target"), entry["target"])
            for number, entry in enumerate(macro["targets"])
        ]
    for path, target in targets:
        if renamed(target) != target:
            text = with_value(text, path, renamed(target))
    for snapshot in fields.get("snapshot", []):
        values = {renamed(target): value for target, value in snapshot["values"].items()}
        if values != snapshot["values"]:
            text = with_snapshot(text, snapshot["slot"], values)
    return text


def effect_target(target: str) -> tuple[int, str] | None:
    """Number and parameter of a target ``effects.N.parameter``."""
    section, _, suffix = target.partition(".")
    number, _, parameter = suffix.partition(".")
    return (int(number), parameter) if section == "effects" and number.isdecimal() else None


def effect_place(target: str) -> tuple[str | int, ...]:
    """Place of a target ``effects.N.parameter`` in a preset, as `with_values`; empty for other targets."""
    number_and_parameter = effect_target(target)
    return () if number_and_parameter is None else ("effects", *number_and_parameter)


def without_entries(text: str, name: str, doomed: Callable[[int, Fields], bool]) -> str:
    """Remove ``[[name]]`` tables that ``doomed`` selects."""
    entries = tomllib.loads(text).get(name, [])
    removed_places = [place for place, entry in enumerate(entries) if doomed(place, entry)]
    if not removed_places:
        return text
    spans = _spans(text, name)
    if spans is None:
        document = tomlkit.parse(text)
        for place in reversed(removed_places):
            del document[name][place]
        edited = tomlkit.dumps(document)
    else:
        lines = text.split("\n")
        for place in reversed(removed_places):
            start, end = spans[place]
            while start and not lines[start - 1].strip():
                start -= 1
            del lines[start:end]
        edited = "\n".join(lines)

    def change(fields: Fields) -> None:
        remaining = [entry for place, entry in enumerate(entries) if place not in removed_places]
        fields[name] = remaining
        if not remaining:
            del fields[name]

    return _checked(edited, change, text, name)


def appended(text: str, name: str, fresh: Fields) -> str:
    spans = _spans(text, name)
    if spans is None:
        document = tomlkit.parse(text)
        table = tomlkit.inline_table()
        table.update(fresh)
        document[name].append(table)
        edited = tomlkit.dumps(document)
    else:
        lines = text.split("\n")
        end = spans[-1][1] if spans else len(text.rstrip().split("\n"))
        written = ["", f"[[{name}]]", *tomlkit.dumps(fresh).rstrip("\n").split("\n")]
        lines[end:end] = [line + "\r" for line in written] if "\r\n" in text else written
        edited = "\n".join(lines)

    def change(fields: Fields) -> None:
        fields[name] = [*fields.get(name, []), fresh]

    return _checked(edited, change, text, name)


def _ordered(text: str, name: str, order: Sequence[int]) -> str:
    """``order[n]`` is the old index of table n."""
    spans = _spans(text, name)
    if spans is None:
        document = tomlkit.parse(text)
        tables = [copy.deepcopy(entry) for entry in document[name]]
        for place, old in enumerate(order):
            document[name][place] = tables[old]
        edited = tomlkit.dumps(document)
    else:
        lines = text.split("\n")
        blocks = [lines[start:end] for start, end in spans]
        for (start, end), old in reversed(list(zip(spans, order, strict=True))):
            lines[start:end] = blocks[old]
        edited = "\n".join(lines)

    def change(fields: Fields) -> None:
        fields[name] = [fields[name][old] for old in order]

    return _checked(edited, change, text, name)


def _spans(text: str, name: str) -> list[tuple[int, int]] | None:
    """With subtables and trailing comments; None if written as one list."""
    lines = text.split("\n")
    counts: dict[KeyPath, int] = {}
    heads: list[tuple[int, KeyPath, bool]] = []  # line, path, and whether it starts a table of the list
    for statement in statements(text):
        if isinstance(statement, BrokenLine):
            continue
        if statement.text.startswith("["):
            heads.append((statement.number - 1, header(statement, counts), statement.text.startswith("[[")))
        elif not heads and name in statement.fields:
            return None
    spans = []
    for place, (start, path, begins) in enumerate(heads):
        if path[:1] != (name,) or len(path) != 2 or not begins:
            continue
        after = [line for line, next_path, _ in heads[place + 1 :] if next_path[:2] != path]
        spans.append((start, _end(lines, start, after[0] if after else len(lines))))
    return spans


def _end(lines: Sequence[str], start: int, most: int) -> int:
    end = start + 1
    for line in range(start + 1, most):
        if lines[line].strip() and not lines[line].lstrip().startswith("#"):
            end = line + 1
    comments = end
    while comments < most and lines[comments].lstrip().startswith("#"):
        comments += 1
    return comments if comments == len(lines) or not lines[comments].strip() else end


def _set(text: str, path: KeyPath, value: Any) -> str:
    lines = text.split("\n")
    counts: dict[KeyPath, int] = {}
    table: KeyPath = ()
    table_end: int | None = None  # the line after the last key of the value's table
    containing: tuple[slice, KeyPath] | None = None  # a statement that contains the value's parent
    for statement in statements(text):
        if isinstance(statement, BrokenLine):
            continue
        span = slice(statement.number - 1, statement.number + statement.text.count("\n"))
        if statement.text.startswith("["):
            table = header(statement, counts)
        elif table == path[: len(table)]:
            inner_path = path[len(table) :]
            if _holds(statement.fields, inner_path):
                return _edited(lines, span, inner_path, value)
            if len(inner_path) > 1 and _holds(statement.fields, inner_path[:-1]):
                containing = span, inner_path
        if table == path[:-1]:
            table_end = span.stop
    if containing is not None:
        return _edited(lines, *containing, value)
    carriage = "\r" if "\r\n" in text else ""
    line = f"{path[-1]} = {tomlkit.item(value).as_string()}{carriage}"
    if table_end is not None:
        lines[table_end:table_end] = [line]
    else:
        end = len(text.rstrip().split("\n"))
        lines[end:end] = [carriage, f"[{path[0]}]{carriage}", line]
    return "\n".join(lines)


def _holds(fields: Any, path: KeyPath) -> bool:
    for key in path:
        if isinstance(key, int):
            if not isinstance(fields, list) or key >= len(fields):
                return False
        elif not isinstance(fields, dict) or key not in fields:
            return False
        fields = fields[key]
    return True


def _edited(lines: list[str], span: slice, path: KeyPath, value: Any) -> str:
    document = tomlkit.parse("\n".join(lines[span]) + "\n")
    parent: Any = document
    for key in path[:-1]:
        parent = parent[key]
    if value is REMOVED:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    lines[span] = tomlkit.dumps(document).removesuffix("\n").split("\n")
    return "\n".join(lines)


def _checked(edited: str, change: Callable[[Fields], None], text: str, subject: str) -> str:
    fields = tomllib.loads(text)
    change(fields)
    try:
        matches = tomllib.loads(edited) == fields
    except ValueError:
        matches = False
    if not matches:
        raise UserError(f"cannot edit {subject} of the preset without changing more of it; edit its file by hand")
    return edited
