"""Velocities in file names: dynamic marks, velocity layers and MIDI velocities."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath

from .note_names import best_reading, number_readings, spelling_readings

# Velocities of dynamic marks, an eighth of MIDI's range apart, by their names and abbreviations.
DYNAMICS = {
    "pianississimo": 16, "ppp": 16, "pianissimo": 32, "pp": 32, "piano": 48, "p": 48, "mezzo-piano": 64, "mp": 64,
    "mezzo-forte": 80, "mf": 80, "forte": 96, "f": 96, "fortissimo": 112, "ff": 112, "fortississimo": 127, "fff": 127,
}  # fmt: skip
NAMED = 0.8  # of the names have a layer or a velocity
MOST_LAYERS = 32  # Salamander's piano has 16; higher numbers are velocities
LOUD = 64  # a MIDI velocity that some file reaches; else numbers behind notes are takes or lengths

# A mark is a word, or follows the octave of a note: "C4mf". A lone capital F is a note.
_MARK = re.compile(
    r"(?:(?<![a-z0-9])|(?<=[a-h#♯s♭b][0-9]))(mezzo[-_ ]?(?:piano|forte)|(?:piani|forti)(?:ssi)+mo|piano|forte"
    r"|(?-i:p{1,3}|f{1,3})|PPP?|FFF?|m[pf])(?![a-z0-9])",
    re.IGNORECASE,
)
_LAYER = re.compile(
    r"(?:(?<![^\W_])|(?<=[0-9]))(?:velocity|vel|vl|v)[-_ ]?([0-9]{1,3})(?=(?:rr[0-9]+)?(?![^\W_]))", re.IGNORECASE
)
_NUMBER = re.compile(r"[-_ ]([0-9]{2,3})(?![^\W_]|\.)")


def velocities(names: Sequence[str]) -> dict[str, int]:
    """Return MIDI velocities by name, 1 to 127; empty if names do not differ in them.

    Dynamic marks come first, whole words such as ``mf``, then layers such as ``v3`` of 16 or ``v127``, then numbers
    behind the note: ``C4-025``, ``060_100``.
    """
    readings = (read(names) for read in (_mark_velocities, _layer_velocities, _number_velocities))
    return next((levels for levels in readings if len(set(levels.values())) > 1), {})


def _mark_velocities(names: Sequence[str]) -> dict[str, int]:
    """Read last marks. A mark shared by all names does not count (a piano is no dynamic)."""
    texts = {name: map(_mark, _MARK.findall(PurePath(name).name)) for name in names}
    marks = {name: [mark for mark in words if mark in DYNAMICS] for name, words in texts.items()}
    shared = set.intersection(*map(set, marks.values())) if marks else set()
    own_marks = {name: [mark for mark in words if mark not in shared] for name, words in marks.items()}
    return {name: DYNAMICS[words[-1]] for name, words in own_marks.items() if words}


def _mark(text: str) -> str:
    return re.sub("mezzo[-_ ]?", "mezzo-", text.lower())


def _layer_velocities(names: Sequence[str]) -> dict[str, int]:
    texts = {name: _LAYER.findall(PurePath(name).stem) for name in names}
    layers = {name: int(numbers[-1]) for name, numbers in texts.items() if numbers}
    if not layers or len(layers) < NAMED * len(names) or max(layers.values()) > 127:
        return {}
    if max(layers.values()) > MOST_LAYERS:
        return {name: max(velocity, 1) for name, velocity in layers.items()}
    if not _is_shared(layers):  # versions
        return {}
    first = min(min(layers.values()), 1)  # some count from 0
    loudest = max(layers.values()) - first + 1
    return {name: round(127 * (layer - first + 1) / loudest) for name, layer in layers.items()}


def _number_velocities(names: Sequence[str]) -> dict[str, int]:
    for readings in (spelling_readings(names), number_readings(names)):
        reading = best_reading(readings, {})
        if reading is not None and len(reading.notes) >= NAMED * len(names):
            texts = {name: _NUMBER.match(tail) for name, tail in reading.tails.items()}
            numbers = {name: int(text[1]) for name, text in texts.items() if text}
            loud = bool(numbers) and LOUD <= max(numbers.values()) <= 127 and min(numbers.values()) > 0
            return numbers if loud and len(numbers) >= NAMED * len(names) and _is_shared(numbers) else {}
    return {}


def _is_shared(numbers: Mapping[str, int]) -> bool:
    """Whether several notes have each number: takes are numbered one by one."""
    return 2 * len(set(numbers.values())) <= len(numbers)
