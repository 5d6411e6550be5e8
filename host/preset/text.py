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


Fields = dict[str, Any]
GONE = object()  # marks a removed value


def with_values(text: str, values: Mapping[Where, float | str], codes: Sequence[float]) -> str:
    """Set values by key path, such as ``("envelope", "sustain")``.

    ``codes``: the ``latent.values`` of a text without them.
    """
    latents = {where: value for where, value in values.items() if where[:2] == ("latent", "values")}
    if latents and "values" not in tomllib.loads(text).get("latent", {}):
        text = with_value(text, ("latent", "values"), list(codes))
    for where, value in values.items():
        text = with_value(text, where, value)
    return text


def with_value(text: str, where: Where, value: Any) -> str:
    """Set a value by key path; list entries count from 0."""

    def change(fields: Fields) -> None:
        inner: Any = fields
        for key in where[:-1]:
            inner = inner.setdefault(key, {}) if isinstance(inner, dict) else inner[key]
        inner[where[-1]] = value

    return _checked(_set(text, where, value), change, text, ".".join(map(str, where)))


def words_in(text: str) -> set[str]:
    """All string values except the description."""
    return {word for _, word in _words(tomllib.loads(text))}


def with_words(text: str, words: Mapping[str, str]) -> str:
    """Replace some of `words_in` everywhere."""
    for where, word in _words(tomllib.loads(text)):
        if word in words:
            text = with_value(text, where, words[word])
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


def without_knob(text: str, at: int) -> str:
    """Remove a controller from the list ``knobs``, which has no gaps: those after it become ``[[cc]]`` tables."""
    knobs = tomllib.loads(text)["knobs"]
    text = with_value(text, ("knobs",), knobs[:at])
    for number, knob in enumerate(knobs[at + 1 :], at + 1):
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


def with_effect_on(text: str, index: int, on: bool) -> str:
    return with_value(text, ("effects", index, "on"), on)


def without_effect(text: str, index: int) -> str:
    """Remove an effect and its maps.

    Raises:
        UserError: a macro has no other targets.
    """
    own = f"effects.{index}."
    for number, macro in enumerate(tomllib.loads(text).get("macro", [])):
        gone = [place for place, entry in enumerate(macro["targets"]) if entry["target"].startswith(own)]
        if len(gone) == len(macro["targets"]):
            raise UserError(f"macro {macro['name']!r} moves nothing but this effect; remove the macro first")
        for place in reversed(gone):
            text = without_entry(text, ("macro", number, "targets", place))
    text = without_entries(text, "cc", lambda place, entry: str(entry.get("target", "")).startswith(own))
    text = without_entries(text, "effects", lambda place, entry: place == index)
    for snapshot in tomllib.loads(text).get("snapshot", []):
        if any(target.startswith(own) for target in snapshot["values"]):
            kept = {target: value for target, value in snapshot["values"].items() if not target.startswith(own)}
            text = with_snapshot(text, snapshot["slot"], kept or None)
    count = len(tomllib.loads(text).get("effects", []))
    return _renumbered(text, {place + 1: place for place in range(index, count)})


def with_effect_moved(text: str, index: int, to: int) -> str:
    """Move an effect; its maps follow."""
    order = list(range(len(tomllib.loads(text).get("effects", []))))
    order.insert(to, order.pop(index))
    text = _ordered(text, "effects", order)
    return _renumbered(text, {old: place for place, old in enumerate(order)})


def _words(fields: Any, where: Where = ()) -> Iterator[tuple[Where, str]]:
    for key, value in fields.items() if isinstance(fields, dict) else enumerate(fields):
        if isinstance(value, str) and (*where, key) != ("description",):
            yield (*where, key), value
        elif isinstance(value, dict | list):
            yield from _words(value, (*where, key))


def without_entry(text: str, where: Where) -> str:
    def change(fields: Fields) -> None:
        inner: Any = fields
        for key in where[:-1]:
            inner = inner[key]
        del inner[where[-1]]

    return _checked(_set(text, where, GONE), change, text, ".".join(map(str, where)))


def _renumbered(text: str, places: Mapping[int, int]) -> str:
    def renamed(target: str) -> str:
        if (found := effect_target(target)) is None:
            return target
        number, parameter = found
        return f"effects.{places.get(number, number)}.{parameter}"

    fields = tomllib.loads(text)
    named: list[tuple[Where, str]] = [
        (("cc", place, "target"), entry["target"]) for place, entry in enumerate(fields.get("cc", []))
    ]
    for place, macro in enumerate(fields.get("macro", [])):
        named += [
            (("macro", place, "targets", number, "target"), entry["target"])
            for number, entry in enumerate(macro["targets"])
        ]
    for where, target in named:
        if renamed(target) != target:
            text = with_value(text, where, renamed(target))
    for snapshot in fields.get("snapshot", []):
        values = {renamed(target): value for target, value in snapshot["values"].items()}
        if values != snapshot["values"]:
            text = with_snapshot(text, snapshot["slot"], values)
    return text


def effect_target(target: str) -> tuple[int, str] | None:
    """Number and parameter of a target ``effects.N.parameter``."""
    section, _, rest = target.partition(".")
    number, _, parameter = rest.partition(".")
    return (int(number), parameter) if section == "effects" and number.isdecimal() else None


def without_entries(text: str, name: str, doomed: Callable[[int, Fields], bool]) -> str:
    """Remove ``[[name]]`` tables that ``doomed`` selects."""
    entries = tomllib.loads(text).get(name, [])
    gone = [place for place, entry in enumerate(entries) if doomed(place, entry)]
    if not gone:
        return text
    spans = _spans(text, name)
    if spans is None:
        document = tomlkit.parse(text)
        for place in reversed(gone):
            del document[name][place]
        edited = tomlkit.dumps(document)
    else:
        lines = text.split("\n")
        for place in reversed(gone):
            start, end = spans[place]
            while start and not lines[start - 1].strip():
                start -= 1
            del lines[start:end]
        edited = "\n".join(lines)

    def change(fields: Fields) -> None:
        kept = [entry for place, entry in enumerate(entries) if place not in gone]
        fields[name] = kept
        if not kept:
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
    counts: dict[Where, int] = {}
    heads: list[tuple[int, Where, bool]] = []  # line, path, and whether it starts a table of the list
    for part in statements(text):
        if isinstance(part, BrokenLine):
            continue
        if part.text.startswith("["):
            heads.append((part.number - 1, header(part, counts), part.text.startswith("[[")))
        elif not heads and name in part.fields:
            return None
    spans = []
    for place, (start, path, begins) in enumerate(heads):
        if path[:1] != (name,) or len(path) != 2 or not begins:
            continue
        after = [line for line, other, _ in heads[place + 1 :] if other[:2] != path]
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


def _set(text: str, where: Where, value: Any) -> str:
    lines = text.split("\n")
    counts: dict[Where, int] = {}
    table: Where = ()
    last: int | None = None  # the line after the last key of the value's table
    inside: tuple[slice, Where] | None = None  # a statement that contains the value's parent
    for part in statements(text):
        if isinstance(part, BrokenLine):
            continue
        span = slice(part.number - 1, part.number + part.text.count("\n"))
        if part.text.startswith("["):
            table = header(part, counts)
        elif table == where[: len(table)]:
            rest = where[len(table) :]
            if _holds(part.fields, rest):
                return _edited(lines, span, rest, value)
            if len(rest) > 1 and _holds(part.fields, rest[:-1]):
                inside = span, rest
        if table == where[:-1]:
            last = span.stop
    if inside is not None:
        return _edited(lines, *inside, value)
    carriage = "\r" if "\r\n" in text else ""
    line = f"{where[-1]} = {tomlkit.item(value).as_string()}{carriage}"
    if last is not None:
        lines[last:last] = [line]
    else:
        end = len(text.rstrip().split("\n"))
        lines[end:end] = [carriage, f"[{where[0]}]{carriage}", line]
    return "\n".join(lines)


def _holds(fields: Any, where: Where) -> bool:
    for key in where:
        if isinstance(key, int):
            if not isinstance(fields, list) or key >= len(fields):
                return False
        elif not isinstance(fields, dict) or key not in fields:
            return False
        fields = fields[key]
    return True


def _edited(lines: list[str], span: slice, where: Where, value: Any) -> str:
    part = tomlkit.parse("\n".join(lines[span]) + "\n")
    inner: Any = part
    for key in where[:-1]:
        inner = inner[key]
    if value is GONE:
        del inner[where[-1]]
    else:
        inner[where[-1]] = value
    lines[span] = tomlkit.dumps(part).removesuffix("\n").split("\n")
    return "\n".join(lines)


def _checked(edited: str, change: Callable[[Fields], None], text: str, what: str) -> str:
    fields = tomllib.loads(text)
    change(fields)
    try:
        right = tomllib.loads(edited) == fields
    except ValueError:
        right = False
    if not right:
        raise UserError(f"cannot edit {what} of the preset without changing more of it; edit its file by hand")
    return edited
