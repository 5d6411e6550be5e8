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
    for map_index, entry in enumerate(tomllib.loads(text).get("cc", [])):
        if isinstance(entry, dict) and entry.get("target") in names:
            text = with_value(text, ("cc", map_index, "target"), names[entry["target"]])
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
    knob_targets = [f"latent.{index}" for index in range(len(fields.get("knobs", [])))]
    target_names = [target, *(name for name, named_target in names.items() if named_target == target)]
    map_indices = [
        map_index
        for map_index, cc_map in enumerate(fields.get("cc", []))
        if any(is_knob_of(cc_map, spelling) for spelling in target_names)
    ]
    if target in knob_targets and controller.keys() == {"number"}:
        text = with_value(text, ("knobs", knob_targets.index(target)), controller["number"])
    elif map_indices:
        text = without_entries(text, "cc", lambda map_index, cc_map: map_index in map_indices[1:])
        for key, value in controller.items():
            text = with_value(text, ("cc", map_indices[0], key), value)
        for key in OF_A_KNOB:
            if key in fields["cc"][map_indices[0]] and key not in controller:
                text = without_entry(text, ("cc", map_indices[0], key))
    else:
        if target in knob_targets:
            text = without_knob(text, knob_targets.index(target))
        text = appended(text, "cc", {**controller, "target": target, "low": float(span[0]), "high": float(span[1])})
    source_item = next(iter(controller.items()))
    source_maps = [cc_map for cc_map in tomllib.loads(text).get("cc", []) if source_item in cc_map.items()]
    return text, [cc_map["target"] for cc_map in source_maps if cc_map["target"] not in target_names]


def shaped(
    text: str, target: str, controller: Controller, default_shape: Mapping[str, float], shape: Mapping[str, float]
) -> str:
    """Set ``low``, ``high`` and ``curve`` of a target's controller; errors as in `text`.

    ``default_shape``: values of keys that the text omits, and still omits where they stay.
    """
    fields = tomllib.loads(text)
    if (knob_index := _knob(fields, target, controller)) is not None:
        changed_shape = {key: value for key, value in shape.items() if value != default_shape[key]}
        new_map = {"number": controller["number"], "target": target, **changed_shape}
        return appended(without_knob(text, knob_index), "cc", new_map) if changed_shape else text
    map_index, cc_map = _table(fields, target, controller)
    for key, value in shape.items():
        if value != cc_map.get(key, default_shape[key]):
            text = with_value(text, ("cc", map_index, key), value)
    return text


def unbound(text: str, target: str, controller: Controller) -> str:
    """Remove one controller of a target; errors as in `text`."""
    fields = tomllib.loads(text)
    if (knob_index := _knob(fields, target, controller)) is not None:
        return without_knob(text, knob_index)
    map_index, _ = _table(fields, target, controller)
    return without_entries(text, "cc", lambda number, _: number == map_index)


def _knob(fields: Mapping[str, Any], target: str, controller: Controller) -> int | None:
    """Index of a target's controller in the list ``knobs``, None if not there."""
    for knob_index, cc_number in enumerate(fields.get("knobs", [])):
        if target == f"latent.{knob_index}" and controller == {"number": cc_number, "channel": None}:
            return knob_index
    return None


def _table(fields: Mapping[str, Any], target: str, controller: Controller) -> tuple[int, Mapping[str, Any]]:
    """Index and fields of a target's controller among ``[[cc]]`` tables."""
    for map_index, cc_map in enumerate(fields.get("cc", [])):
        if cc_map["target"] == target and all(cc_map.get(key) == value for key, value in controller.items()):
            return map_index, cc_map
    raise UserError(f"the preset has no such controller of {target} any more; open the control's menu again")
