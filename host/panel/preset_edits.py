"""Edits a preset's text for page messages: values, path and effects."""

import itertools
import tomllib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import UNSET

from ..errors import UserError
from ..patch.text import cc_binding, editing
from ..session.preset_view import ControlView, MapView
from . import protocol, serialize
from .undo_history import PresetState, Values

EFFECTS = "effects."
STEEPEST = 16.0  # curve of a [[cc]] table
GAIN = "gain"  # which no snapshot holds: a recall must not be louder than the player has set it
LENGTHS = {"seconds": (0.05, 3600.0), "beats": (0.125, 4096.0)}  # of a path; presets allow 20 rounds a second


def baked(state: PresetState, targets: Collection[str], controls: Mapping[str, ControlView]) -> str:
    """Text with current values of ``targets`` as defaults, where the file has a key for them.

    ``controls`` are of the preset on the panel; keys of other effects follow from their number.

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


def with_range(text: str, word: protocol.BindingMessage, control: ControlView) -> str:
    """Set a controller's range and curve.

    Raises:
        UserError: a number is out of range, or the control has no such controller.
    """
    found = _map(word, control)
    for name, value in (("low", word.low), ("high", word.high)):
        if not control.low <= value <= control.high:
            span = f"[{control.low:g}, {control.high:g}] {control.unit}".rstrip()
            raise UserError(f"{name} {value:g} of {found.source} is out of range {span}; give a value in it")
    if not 0 < word.curve <= STEEPEST:
        raise UserError(
            f"curve {word.curve:g} of {found.source} is out of range (0, {STEEPEST:g}]; give 1 for a straight line"
        )
    before, shape = ({name: getattr(one, name) for name in ("low", "high", "curve")} for one in (found, word))
    return cc_binding.shaped(text, word.target, found.controller, before, shape)


def without_map(text: str, word: protocol.UnlearnMessage, control: ControlView) -> str:
    """Remove a control's controller; errors as in `with_range`."""
    return cc_binding.unbound(text, word.target, _map(word, control).controller)


def _map(word: protocol.BindingMessage | protocol.UnlearnMessage, control: ControlView) -> MapView:
    for entry in control.maps:
        if (entry.source, entry.channel) == (word.source, word.channel):
            return entry
    raise UserError(f"{word.source} does not move {control.title}; choose one of its controllers")


def stored(values: Values, controls: Mapping[str, ControlView]) -> dict[str, float | str]:
    """Values of a snapshot: all controls except gain, choices by name, as many as one message recalls."""
    targets = [target for target in controls if target != GAIN][: protocol.MOST_TARGETS]
    choices = {target: controls[target].choices for target in targets}
    return {target: choices[target][round(values[target])] if choices[target] else values[target] for target in targets}


def with_path(text: str, word: protocol.PathMessage, latents: int) -> str:
    """Set or change the path; a new length keeps the rhythm of its times.

    Raises:
        UserError: a point has another number of latents, the length is out of range, or no path is there to change.
    """
    if word.points is None:
        return editing.with_path(text, None)
    for unit, (low, high) in LENGTHS.items():
        length = getattr(word, unit)
        if length is not None and not low <= length <= high:
            raise UserError(f"a path of {length:g} {unit} is out of range [{low:g}, {high:g}]; give a length in it")
    if word.points is UNSET:
        before = serialize.path_motion(tomllib.loads(text))
        if before is None:
            raise UserError("the preset has no path; draw one on the map")
    elif any(len(point) != latents for point in word.points):
        raise UserError(f"a code of the path needs {latents} numbers, one a latent")
    else:
        before = {"path": word.points, "beats": 1.0}
    motion: dict[str, Any] = {key: before[key] for key in ("path", "legs") if key in before}
    present = serialize.path(before)
    loop = present["loop"] if word.loop is None else word.loop
    if word.beats is not None:
        return editing.with_path(text, motion | {"beats": word.beats})
    if word.seconds is None and ("beats" in present or loop == present["loop"]):
        return text
    seconds = present["seconds"] if word.seconds is None else word.seconds
    motion["times"] = _times(before.get("times", ()), seconds, len(before["path"]) - (not loop))
    start = {"start": before["start"]} if "start" in before else {}
    return editing.with_path(text, motion | start | ({"loop": True} if loop else {}))


def _times(before: Sequence[float], seconds: float, count: int) -> list[float]:
    """Legs keep the rhythm of the times before."""
    legs = [end - begin for begin, end in itertools.pairwise(before)] or [1.0]
    legs = (legs + [sum(legs) / len(legs)] * count)[:count]
    scale, start = seconds / sum(legs), before[0] if before else 0.0
    return [round(start + scale * time, 6) for time in itertools.accumulate(legs, initial=0.0)]


def with_effect(text: str, word: protocol.EffectMessage) -> str:
    """Raises UserError for an unavailable effect or an index out of range."""
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
