"""Controllers in a preset's text: binds CCs, sets ranges, removes them; comments stay."""

import tomllib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import UserError
from ..units import Range
from .text import appended, is_knob_of, with_value, without_entries, without_entry, without_knob

Controller = Mapping[str, int | str | None]  # its number, nrpn or pressure, and its channel, None for all
OF_A_KNOB = ("number", "bits", "relative", "nrpn", "channel")  # a map's keys for its controller


def with_targets(text: str, names: Mapping[str, str]) -> str:
    """Replace names of targets in ``[[cc]]`` tables by the targets; ``names``: targets by name."""
    for place, entry in enumerate(tomllib.loads(text).get("cc", [])):
        if isinstance(entry, dict) and entry.get("target") in names:
            text = with_value(text, ("cc", place, "target"), names[entry["target"]])
    return text


def bound(
    text: str,
    controller: Mapping[str, int | str],
    target: str,
    span: Range,
    names: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, list[str]]:
    """Bind a controller to ``target``; return the text and the controller's other targets.

    An existing map keeps range and curve; a new one covers ``span``. Errors as in `text`.

    Args:
        controller: its keys of a ``[[cc]]`` table: ``number``, perhaps ``relative``, or ``nrpn``.
        names: targets by name, as the text may have them.
    """
    fields = tomllib.loads(text)
    knobs = [f"latent.{index}" for index in range(len(fields.get("knobs", [])))]
    spellings = [target, *(name for name, named_target in names.items() if named_target == target)]
    map_places = [
        place
        for place, entry in enumerate(fields.get("cc", []))
        if any(is_knob_of(entry, spelling) for spelling in spellings)
    ]
    if target in knobs and controller.keys() == {"number"}:
        text = with_value(text, ("knobs", knobs.index(target)), controller["number"])
    elif map_places:
        text = without_entries(text, "cc", lambda place, entry: place in map_places[1:])
        for key, value in controller.items():
            text = with_value(text, ("cc", map_places[0], key), value)
        for key in OF_A_KNOB:
            if key in fields["cc"][map_places[0]] and key not in controller:
                text = without_entry(text, ("cc", map_places[0], key))
    else:
        if target in knobs:
            text = without_knob(text, knobs.index(target))
        text = appended(text, "cc", {**controller, "target": target, "low": float(span[0]), "high": float(span[1])})
    source = next(iter(controller.items()))
    entries = [entry for entry in tomllib.loads(text).get("cc", []) if source in entry.items()]
    return text, [entry["target"] for entry in entries if entry["target"] not in spellings]


def shaped(
    text: str, target: str, controller: Controller, default_shape: Mapping[str, float], shape: Mapping[str, float]
) -> str:
    """Set ``low``, ``high`` and ``curve`` of a target's controller; errors as in `text`.

    ``default_shape``: values of keys that the text omits, and still omits where they stay.
    """
    fields = tomllib.loads(text)
    if (knob := _knob(fields, target, controller)) is not None:
        changed = {key: value for key, value in shape.items() if value != default_shape[key]}
        fresh = {"number": controller["number"], "target": target, **changed}
        return appended(without_knob(text, knob), "cc", fresh) if changed else text
    place, entry = _table(fields, target, controller)
    for key, value in shape.items():
        if value != entry.get(key, default_shape[key]):
            text = with_value(text, ("cc", place, key), value)
    return text


def unbound(text: str, target: str, controller: Controller) -> str:
    """Remove one controller of a target; errors as in `text`."""
    fields = tomllib.loads(text)
    if (knob := _knob(fields, target, controller)) is not None:
        return without_knob(text, knob)
    place, _ = _table(fields, target, controller)
    return without_entries(text, "cc", lambda number, _: number == place)


def _knob(fields: Mapping[str, Any], target: str, controller: Controller) -> int | None:
    for place, number in enumerate(fields.get("knobs", [])):
        if target == f"latent.{place}" and controller == {"number": number, "channel": None}:
            return place
    return None


def _table(fields: Mapping[str, Any], target: str, controller: Controller) -> tuple[int, Mapping[str, Any]]:
    for place, entry in enumerate(fields.get("cc", [])):
        if entry["target"] == target and all(entry.get(key) == value for key, value in controller.items()):
            return place, entry
    raise UserError(f"the preset has no such controller of {target} any more; open the control's menu again")
