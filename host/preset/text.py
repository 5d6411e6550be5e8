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
    start_line = 0
    while start_line < len(lines):
        end_line, first_error = start_line + 1, ""
        while True:
            statement_text = "\n".join(lines[start_line:end_line])
            try:
                fields = tomllib.loads(statement_text)
                if fields:
                    yield Statement(start_line + 1, statement_text.strip(), fields)
                break
            except (ValueError, RecursionError) as error:
                first_error = first_error or str(error)
                if not str(error).endswith(UNFINISHED) or end_line == len(lines) or end_line - start_line == MOST_LINES:
                    yield _broken(start_line + 1, lines[start_line], first_error)
                    end_line = start_line + 1
                    break
            end_line += 1
        start_line = end_line


def _broken(number: int, line: str, error: str) -> BrokenLine:
    """A broken line, with a complaint that says how to correct it."""
    key_match = KEY.fullmatch(line)
    complaint = re.sub(r" \(at .*\)", "", error)
    if key_match is None:
        excerpt = printable(line.strip())[:LONGEST]
        hint = "write KEY = VALUE, or [TABLE]" if "=" not in line and not line.lstrip().startswith("[") else complaint
        # Keys after a broken header belong to no known table.
        return BrokenLine(number, excerpt[:1] if excerpt.startswith("[") else "", f"{excerpt!r}: {hint}")
    key, value_text = key_match.groups()
    if value_text.casefold() in SWITCHES:
        complaint = f"write {key} = {SWITCHES[value_text.casefold()]}"
    elif WORD.fullmatch(value_text):
        complaint = f'text is written in quotes: {key} = "{value_text}"'
    elif DECIMAL_COMMA.fullmatch(value_text):
        complaint = f"decimals have a point: {key} = {value_text.replace(',', '.')}"
    elif not value_text:
        complaint = f"{key} has no value; give one, or remove the line"
    return BrokenLine(number, key.rpartition(".")[2], printable(f"{line.strip()[:LONGEST]!r}: {complaint}"))


def lines_of(text: str) -> dict[KeyPath, int]:
    """Line of each table, key and list entry, from 1."""
    line_by_path: dict[KeyPath, int] = {}
    table_counts: dict[KeyPath, int] = {}
    table_path: KeyPath = ()
    for statement in statements(text):
        if isinstance(statement, BrokenLine):
            continue
        if statement.text.startswith("["):
            table_path = header(statement, table_counts)
            line_by_path.setdefault(table_path, statement.number)
            line_by_path.setdefault(table_path[:-1], statement.number)
        else:
            for inner_path in _keys(statement.fields):
                line_by_path.setdefault((*table_path, *inner_path), statement.number)
    return line_by_path


def header(statement: Statement, counts: dict[KeyPath, int]) -> KeyPath:
    """Path of a table, with the current index in arrays, kept in ``counts``."""
    keys: list[str] = []
    inner_fields: Any = statement.fields
    while inner_fields:
        inner_fields = inner_fields[0] if isinstance(inner_fields, list) else inner_fields
        if not inner_fields:
            break
        (key,) = inner_fields
        keys.append(key)
        inner_fields = inner_fields[key]
    table_path: KeyPath = ()
    for key_index, key in enumerate(keys):
        table_path = (*table_path, key)
        if key_index == len(keys) - 1 and statement.text.startswith("[["):
            counts[table_path] = counts.get(table_path, 0) + 1
        if table_path in counts:
            table_path = (*table_path, counts[table_path] - 1)
    return table_path


def _keys(value: Any) -> Iterator[KeyPath]:
    """Paths of all keys and list entries in a parsed value."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (key,)
        for inner_path in _keys(entry):
            yield (key, *inner_path)


Fields = dict[str, Any]
REMOVED = object()  # marks a removed value


def with_values(text: str, values: Mapping[KeyPath, float | str], codes: Sequence[float]) -> str:
    """Set values by key path, such as ``("envelope", "sustain")``.

    ``codes``: the ``latent.values`` of a text without them.
    """
    latent_values = {path: value for path, value in values.items() if path[:2] == ("latent", "values")}
    if latent_values and "values" not in tomllib.loads(text).get("latent", {}):
        text = with_value(text, ("latent", "values"), list(codes))
    for path, value in values.items():
        text = with_value(text, path, value)
    return text


def with_value(text: str, path: KeyPath, value: Any) -> str:
    """Set a value by key path; list entries count from 0."""
    fields = tomllib.loads(text)
    parent_table: Any = fields
    for key in path[:-1]:
        parent_table = parent_table.setdefault(key, {}) if isinstance(parent_table, dict) else parent_table[key]
    parent_table[path[-1]] = value
    return _checked(_set(text, path, value), fields, ".".join(map(str, path)))


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
    index_text = target.removeprefix("latent.")
    knob_ccs = fields.get("knobs", [])
    if target.startswith("latent.") and index_text.isdecimal() and int(index_text) < len(knob_ccs):
        text = without_knob(text, int(index_text))
    return without_entries(text, "cc", lambda index, entry: is_knob_of(entry, target))


def is_knob_of(entry: Mapping[str, Any], target: str) -> bool:
    return entry.get("target") == target and "pressure" not in entry


def without_knob(text: str, index: int) -> str:
    """Remove a controller from the list ``knobs``, which has no gaps: those after it become ``[[cc]]`` tables."""
    knob_ccs = tomllib.loads(text)["knobs"]
    text = with_value(text, ("knobs",), knob_ccs[:index])
    for latent_index, cc_number in enumerate(knob_ccs[index + 1 :], index + 1):
        text = appended(text, "cc", {"number": cc_number, "target": f"latent.{latent_index}"})
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
    values_table = tomlkit.inline_table()
    values_table.update(values)
    return appended(text, "snapshot", {"slot": slot, "values": values_table})


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
    target_prefix = f"effects.{index}."
    for macro_index, macro in enumerate(tomllib.loads(text).get("macro", [])):
        removed_indices = [
            entry_index
            for entry_index, entry in enumerate(macro["targets"])
            if entry["target"].startswith(target_prefix)
        ]
        if len(removed_indices) == len(macro["targets"]):
            raise UserError(f"macro {macro['name']!r} moves nothing but this effect; remove the macro first")
        for entry_index in reversed(removed_indices):
            text = without_entry(text, ("macro", macro_index, "targets", entry_index))
    text = without_entries(
        text, "cc", lambda entry_index, entry: str(entry.get("target", "")).startswith(target_prefix)
    )
    text = without_entries(text, "effects", lambda entry_index, entry: entry_index == index)
    for snapshot in tomllib.loads(text).get("snapshot", []):
        if any(target.startswith(target_prefix) for target in snapshot["values"]):
            remaining_values = {
                target: value for target, value in snapshot["values"].items() if not target.startswith(target_prefix)
            }
            text = with_snapshot(text, snapshot["slot"], remaining_values or None)
    effect_count = len(tomllib.loads(text).get("effects", []))
    return _renumbered(text, {effect_index + 1: effect_index for effect_index in range(index, effect_count)})


def with_effect_moved(text: str, index: int, to: int) -> str:
    """Move an effect; its maps follow."""
    old_indices = list(range(len(tomllib.loads(text).get("effects", []))))
    old_indices.insert(to, old_indices.pop(index))
    text = _with_effects_ordered(text, old_indices)
    return _renumbered(text, {old_index: new_index for new_index, old_index in enumerate(old_indices)})


def _words(fields: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """All string values except the description, each with its path."""
    for key, value in fields.items() if isinstance(fields, dict) else enumerate(fields):
        if isinstance(value, str) and (*path, key) != ("description",):
            yield (*path, key), value
        elif isinstance(value, dict | list):
            yield from _words(value, (*path, key))


def without_entry(text: str, path: KeyPath) -> str:
    """Remove a value by key path."""
    fields = tomllib.loads(text)
    parent_table: Any = fields
    for key in path[:-1]:
        parent_table = parent_table[key]
    del parent_table[path[-1]]
    return _checked(_set(text, path, REMOVED), fields, ".".join(map(str, path)))


def _renumbered(text: str, new_numbers: Mapping[int, int]) -> str:
    """Rename the effects' targets, ``new_numbers`` by old, in maps, macros and snapshots."""

    def renamed(target: str) -> str:
        if (number_and_parameter := effect_target(target)) is None:
            return target
        effect_number, parameter = number_and_parameter
        return f"effects.{new_numbers.get(effect_number, effect_number)}.{parameter}"

    fields = tomllib.loads(text)
    paths_and_targets: list[tuple[KeyPath, str]] = [
        (("cc", entry_index, "target"), entry["target"]) for entry_index, entry in enumerate(fields.get("cc", []))
    ]
    for entry_index, macro in enumerate(fields.get("macro", [])):
        paths_and_targets += [
            (("macro", entry_index, "targets", target_index, "target"), entry["target"])
            for target_index, entry in enumerate(macro["targets"])
        ]
    for path, target in paths_and_targets:
        if renamed(target) != target:
            text = with_value(text, path, renamed(target))
    for snapshot in fields.get("snapshot", []):
        renamed_values = {renamed(target): value for target, value in snapshot["values"].items()}
        if renamed_values != snapshot["values"]:
            text = with_snapshot(text, snapshot["slot"], renamed_values)
    return text


def effect_target(target: str) -> tuple[int, str] | None:
    """Number and parameter of a target ``effects.N.parameter``."""
    section, _, number_and_parameter = target.partition(".")
    number_text, _, parameter = number_and_parameter.partition(".")
    return (int(number_text), parameter) if section == "effects" and number_text.isdecimal() else None


def effect_place(target: str) -> tuple[str | int, ...]:
    """Place of a target ``effects.N.parameter`` in a preset, as `with_values`; empty for other targets."""
    number_and_parameter = effect_target(target)
    return () if number_and_parameter is None else ("effects", *number_and_parameter)


def without_entries(text: str, name: str, doomed: Callable[[int, Fields], bool]) -> str:
    """Remove ``[[name]]`` tables that ``doomed`` selects."""
    fields = tomllib.loads(text)
    entries = fields.get(name, [])
    removed_indices = [entry_index for entry_index, entry in enumerate(entries) if doomed(entry_index, entry)]
    if not removed_indices:
        return text
    line_spans = _spans(text, name)
    if line_spans is None:
        document = tomlkit.parse(text)
        for entry_index in reversed(removed_indices):
            del document[name][entry_index]
        edited_text = tomlkit.dumps(document)
    else:
        lines = text.split("\n")
        for entry_index in reversed(removed_indices):
            start_line, end_line = line_spans[entry_index]
            while start_line and not lines[start_line - 1].strip():
                start_line -= 1
            del lines[start_line:end_line]
        edited_text = "\n".join(lines)
    fields[name] = [entry for entry_index, entry in enumerate(entries) if entry_index not in removed_indices]
    if not fields[name]:
        del fields[name]
    return _checked(edited_text, fields, name)


def appended(text: str, name: str, entry: Fields) -> str:
    """Append a table ``[[name]]`` with the fields of ``entry``."""
    line_spans = _spans(text, name)
    if line_spans is None:
        document = tomlkit.parse(text)
        new_table = tomlkit.inline_table()
        new_table.update(entry)
        document[name].append(new_table)
        edited_text = tomlkit.dumps(document)
    else:
        lines = text.split("\n")
        end_line = line_spans[-1][1] if line_spans else len(text.rstrip().split("\n"))
        new_lines = ["", f"[[{name}]]", *tomlkit.dumps(entry).rstrip("\n").split("\n")]
        lines[end_line:end_line] = [line + "\r" for line in new_lines] if "\r\n" in text else new_lines
        edited_text = "\n".join(lines)
    fields = tomllib.loads(text)
    return _checked(edited_text, fields | {name: [*fields.get(name, []), entry]}, name)


def _with_effects_ordered(text: str, old_indices: Sequence[int]) -> str:
    """``old_indices[n]`` is the old index of effect n."""
    line_spans = _spans(text, "effects")
    if line_spans is None:
        document = tomlkit.parse(text)
        old_tables = [copy.deepcopy(entry) for entry in document["effects"]]
        for new_index, old_index in enumerate(old_indices):
            document["effects"][new_index] = old_tables[old_index]
        edited_text = tomlkit.dumps(document)
    else:
        lines = text.split("\n")
        line_blocks = [lines[start_line:end_line] for start_line, end_line in line_spans]
        for (start_line, end_line), old_index in reversed(list(zip(line_spans, old_indices, strict=True))):
            lines[start_line:end_line] = line_blocks[old_index]
        edited_text = "\n".join(lines)
    fields = tomllib.loads(text)
    fields["effects"] = [fields["effects"][old_index] for old_index in old_indices]
    return _checked(edited_text, fields, "effects")


def _spans(text: str, name: str) -> list[tuple[int, int]] | None:
    """Line ranges of tables, with subtables and trailing comments; None if written as one list."""
    lines = text.split("\n")
    table_counts: dict[KeyPath, int] = {}
    headers: list[tuple[int, KeyPath, bool]] = []  # line, path, and whether it starts a table of the list
    for statement in statements(text):
        if isinstance(statement, BrokenLine):
            continue
        if statement.text.startswith("["):
            headers.append((statement.number - 1, header(statement, table_counts), statement.text.startswith("[[")))
        elif not headers and name in statement.fields:
            return None
    line_spans = []
    for header_index, (start_line, table_path, starts_table) in enumerate(headers):
        if table_path[:1] != (name,) or len(table_path) != 2 or not starts_table:
            continue
        later_header_lines = [
            line for line, later_path, _ in headers[header_index + 1 :] if later_path[:2] != table_path
        ]
        line_spans.append(
            (start_line, _end(lines, start_line, later_header_lines[0] if later_header_lines else len(lines)))
        )
    return line_spans


def _end(lines: Sequence[str], start_line: int, line_limit: int) -> int:
    """Line after the table that begins at ``start_line``, with the comments that follow it."""
    end_line = start_line + 1
    for line_index in range(start_line + 1, line_limit):
        if lines[line_index].strip() and not lines[line_index].lstrip().startswith("#"):
            end_line = line_index + 1
    comments_end = end_line
    while comments_end < line_limit and lines[comments_end].lstrip().startswith("#"):
        comments_end += 1
    return comments_end if comments_end == len(lines) or not lines[comments_end].strip() else end_line


def _set(text: str, path: KeyPath, value: Any) -> str:
    """Set or remove a value at a path, by an edit of few lines."""
    lines = text.split("\n")
    table_counts: dict[KeyPath, int] = {}
    table_path: KeyPath = ()
    table_end_line: int | None = None  # the line after the last key of the value's table
    containing_statement: tuple[slice, KeyPath] | None = None  # a statement that contains the value's parent
    for statement in statements(text):
        if isinstance(statement, BrokenLine):
            continue
        line_span = slice(statement.number - 1, statement.number + statement.text.count("\n"))
        if statement.text.startswith("["):
            table_path = header(statement, table_counts)
        elif table_path == path[: len(table_path)]:
            inner_path = path[len(table_path) :]
            if _holds(statement.fields, inner_path):
                return _edited(lines, line_span, inner_path, value)
            if len(inner_path) > 1 and _holds(statement.fields, inner_path[:-1]):
                containing_statement = line_span, inner_path
        if table_path == path[:-1]:
            table_end_line = line_span.stop
    if containing_statement is not None:
        return _edited(lines, *containing_statement, value)
    carriage_return = "\r" if "\r\n" in text else ""
    new_line = f"{path[-1]} = {tomlkit.item(value).as_string()}{carriage_return}"
    if table_end_line is not None:
        lines[table_end_line:table_end_line] = [new_line]
    else:
        end_line = len(text.rstrip().split("\n"))
        lines[end_line:end_line] = [carriage_return, f"[{path[0]}]{carriage_return}", new_line]
    return "\n".join(lines)


def _holds(fields: Any, path: KeyPath) -> bool:
    """Return whether parsed fields have a value at a path."""
    for key in path:
        if isinstance(key, int):
            if not isinstance(fields, list) or key >= len(fields):
                return False
        elif not isinstance(fields, dict) or key not in fields:
            return False
        fields = fields[key]
    return True


def _edited(lines: list[str], line_span: slice, path: KeyPath, value: Any) -> str:
    """Set or remove a value in the lines of one statement."""
    document = tomlkit.parse("\n".join(lines[line_span]) + "\n")
    parent_table: Any = document
    for key in path[:-1]:
        parent_table = parent_table[key]
    if value is REMOVED:
        del parent_table[path[-1]]
    else:
        parent_table[path[-1]] = value
    lines[line_span] = tomlkit.dumps(document).removesuffix("\n").split("\n")
    return "\n".join(lines)


def _checked(edited: str, fields: Fields, subject: str) -> str:
    """Return ``edited`` if it parses as these fields, else raise `UserError`."""
    try:
        fields_match = tomllib.loads(edited) == fields
    except ValueError:
        fields_match = False
    if not fields_match:
        raise UserError(f"cannot edit {subject} of the preset without changing more of it; edit its file by hand")
    return edited
