"""MIDI learn in a preset's text: binds a CC to a target, with comments preserved."""

import re
import tomllib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import tomlkit
from tomlkit.items import Array

from ...units import Range
from .statements import Statement, statements

OF_A_KNOB = ("number", "bits", "nrpn", "channel")  # a map's keys for its controller
CC_HEADER = re.compile(r"""\s*\[\[\s*(cc|"cc"|'cc')\s*\]\]\s*(#.*)?""")


def bound(text: str, number: int, target: str, span: Range) -> tuple[str, list[str]]:
    """Bind CC ``number`` to ``target``; return the text and the CC's other targets.

    An existing map keeps range and curve; a new one covers ``span``.

    Raises:
        ValueError: impossible without other changes.
    """
    edited = _edit(text, number, target, span)
    entries = _checked(tomllib.loads(text), edited, number, target)
    if entries is None:
        raise ValueError(f"more than the knob of {target} would change")
    return edited, [entry["target"] for entry in entries if entry.get("number") == number and entry["target"] != target]


def _edit(text: str, number: int, target: str, span: Range) -> str:
    fresh = {"number": number, "target": target, "low": float(span[0]), "high": float(span[1])}
    document = tomlkit.parse(text)
    place = _knob_of(document, target)
    if place is not None:
        return _with_knob(text, place, number)
    maps = document.get("cc")
    if isinstance(maps, Array):
        own = [place for place, entry in enumerate(maps) if _is_of(entry, target)]
        for place in reversed(own[1:]):
            del maps[place]
        if own:
            _turn_over(maps[own[0]], number)
        else:
            table = tomlkit.inline_table()
            table.update(fresh)
            maps.append(table)
        return tomlkit.dumps(document)
    lines = text.split("\n")
    blocks = list(_blocks(lines))
    parsed = [tomlkit.parse("\n".join(lines[start:end]) + "\n") for start, end in blocks]
    owned = [(block, part) for block, part in zip(blocks, parsed, strict=True) if _is_of(part["cc"][0], target)]
    for (start, end), _ in reversed(owned[1:]):
        while start and not lines[start - 1].strip():
            start -= 1
        del lines[start:end]
    if owned:
        (start, end), part = owned[0]
        _turn_over(part["cc"][0], number)
        lines[start:end] = tomlkit.dumps(part).rstrip("\n").split("\n")
    else:
        end = blocks[-1][1] if blocks else len(text.rstrip().split("\n"))
        written = ["", "[[cc]]", *(f"{key} = {tomlkit.item(value).as_string()}" for key, value in fresh.items())]
        lines[end:end] = [line + "\r" for line in written] if "\r\n" in text else written
    return "\n".join(lines)


def _is_of(entry: Mapping[str, Any], target: str) -> bool:
    """Return whether a map, not by pressure, moves the target."""
    return entry.get("target") == target and "pressure" not in entry


def _blocks(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Yield the lines of each ``[[cc]]`` with the comments directly below."""
    for start, line in enumerate(lines):
        if not CC_HEADER.fullmatch(line):
            continue
        end = below = start + 1
        while below < len(lines) and not lines[below].lstrip().startswith("["):
            below += 1
            if lines[below - 1].strip() and not lines[below - 1].lstrip().startswith("#"):
                end = below
        comments = end
        while comments < len(lines) and lines[comments].lstrip().startswith("#"):
            comments += 1
        yield start, comments if comments == len(lines) or not lines[comments].strip() else end


def _with_knob(text: str, place: int, number: int) -> str:
    lines = text.split("\n")
    for part in statements(text):
        if isinstance(part, Statement) and not part.text.startswith("[") and "knobs" in part.fields:
            lines_of_it = slice(part.number - 1, part.number + part.text.count("\n"))
            edited = tomlkit.parse("\n".join(lines[lines_of_it]))
            edited.get("knobs", [])[place] = number
            lines[lines_of_it] = tomlkit.dumps(edited).split("\n")
            break
    return "\n".join(lines)


def _knob_of(fields: Mapping[str, Any], target: str) -> int | None:
    places = [f"latent.{index}" for index in range(len(fields.get("knobs", [])))]
    return places.index(target) if target in places else None


def _turn_over(entry: MutableMapping[str, Any], number: int) -> None:
    for key in OF_A_KNOB[1:]:
        entry.pop(key, None)
    entry["number"] = number


def _checked(before: dict[str, Any], edited: str, number: int, target: str) -> list[dict[str, Any]] | None:
    """Return the edited maps if only the binding changed, else None."""
    after = tomllib.loads(edited)
    place = _knob_of(before, target)
    if place is not None:
        before["knobs"][place] = number
        return before.get("cc", []) if after == before else None
    maps: list[dict[str, Any]] = after.pop("cc", [])
    kept = [entry for entry in before.pop("cc", []) if not _is_of(entry, target)]
    own = [entry for entry in maps if _is_of(entry, target)]
    right = (
        after == before
        and kept == [entry for entry in maps if not _is_of(entry, target)]
        and [entry["number"] for entry in own] == [number]
    )
    return maps if right else None
