"""Edits a preset's text for page messages: values, path and effects."""

import tomllib
from collections.abc import Collection, Mapping
from typing import Any

from ..errors import UserError
from ..patch.text import editing
from ..session.preset_view import ControlView
from . import protocol, serialize
from .undo_history import PresetState

EFFECTS = "effects."


def baked(state: PresetState, targets: Collection[str], controls: Mapping[str, ControlView]) -> str:
    """Return a state's text with the current values of ``targets`` as defaults, where the file has a key for them.

    ``controls`` are of the preset on the panel; the keys of other effects follow from their number.

    Raises:
        UserError: the text cannot be edited without changing more.
    """
    moved: dict[tuple[str | int, ...], float | str] = {}
    for target in targets:
        value, control = state.values[target], controls.get(target)
        place = _in_effects(target) if control is None else control.place
        if place and value != state.rests.get(target, value):
            moved[place] = control.choices[round(value)] if control is not None and control.choices else value
    codes = [state.rests[target] for target in state.rests if target.startswith("latent.")]
    return editing.with_values(state.text, moved, codes)


def with_path(text: str, word: protocol.PathMessage, latents: int) -> str:
    """Set a message's path in a preset's text; raise UserError if a point has another number of latents."""
    if word.points is None:
        return editing.with_path(text, None)
    if any(len(point) != latents for point in word.points):
        raise UserError(f"a code of the path needs {latents} numbers, one a latent")
    motion: dict[str, Any] = {"path": [list(point) for point in word.points]}
    if word.seconds is None:
        return editing.with_path(text, motion | {"beats": word.beats})
    legs = len(word.points) - (not word.loop)
    motion["times"] = [round(word.seconds * leg / legs, 6) for leg in range(legs + 1)]
    return editing.with_path(text, motion | ({"loop": True} if word.loop else {}))


def with_effect(text: str, word: protocol.EffectMessage) -> str:
    """Edit the effects in a preset's text; raise UserError for an unavailable effect or an index out of range."""
    count = len(tomllib.loads(text).get("effects", []))
    if word.do == "add":
        if word.plugin not in serialize.available_effects():
            raise UserError(f"effect {word.plugin!r} cannot be added; choose one of the list")
        return editing.with_effect(text, word.plugin)
    if max(word.index, word.to if word.do == "move" else 0) >= count:
        raise UserError(f"the preset has {count} effects; choose one of them")
    match word.do:
        case "remove":
            return editing.without_effect(text, word.index)
        case "move":
            return editing.with_effect_moved(text, word.index, word.to)
        case _:
            return editing.with_effect_on(text, word.index, word.on)


def _in_effects(target: str) -> tuple[str | int, ...]:
    found = editing.effect_target(target)
    return () if found is None else ("effects", *found)
