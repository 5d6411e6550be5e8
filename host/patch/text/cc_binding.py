"""Controllers in a preset's text: binds CCs, sets ranges, removes them; comments stay."""

import tomllib
from collections.abc import Mapping
from typing import Any

from ...errors import UserError
from ...units import Range
from .editing import appended, is_knob_of, with_value, without_entries, without_entry, without_knob

Controller = Mapping[str, int | str | None]  # its number, nrpn or pressure, and its channel, None for all
OF_A_KNOB = ("bits", "nrpn", "channel")  # a map's keys for its controller besides its number


def bound(text: str, number: int, target: str, span: Range) -> tuple[str, list[str]]:
    """Bind CC ``number`` to ``target``; return the text and the CC's other targets.

    An existing map keeps range and curve; a new one covers ``span``. Errors as in `editing`.
    """
    fields = tomllib.loads(text)
    knobs = [f"latent.{index}" for index in range(len(fields.get("knobs", [])))]
    own = [place for place, entry in enumerate(fields.get("cc", [])) if is_knob_of(entry, target)]
    if target in knobs:
        text = with_value(text, ("knobs", knobs.index(target)), number)
    elif own:
        text = without_entries(text, "cc", lambda place, entry: place in own[1:])
        text = with_value(text, ("cc", own[0], "number"), number)
        for key in OF_A_KNOB:
            if key in fields["cc"][own[0]]:
                text = without_entry(text, ("cc", own[0], key))
    else:
        fresh = {"number": number, "target": target, "low": float(span[0]), "high": float(span[1])}
        text = appended(text, "cc", fresh)
    entries = tomllib.loads(text).get("cc", [])
    return text, [entry["target"] for entry in entries if entry.get("number") == number and entry["target"] != target]


def shaped(
    text: str, target: str, controller: Controller, before: Mapping[str, float], shape: Mapping[str, float]
) -> str:
    """Set ``low``, ``high`` and ``curve`` of a target's controller; errors as in `editing`.

    ``before``: values of keys that the text omits, and still omits where they stay.
    """
    fields = tomllib.loads(text)
    if (knob := _knob(fields, target, controller)) is not None:
        changed = {key: value for key, value in shape.items() if value != before[key]}
        fresh = {"number": controller["number"], "target": target, **changed}
        return appended(without_knob(text, knob), "cc", fresh) if changed else text
    place, entry = _table(fields, target, controller)
    for key, value in shape.items():
        if value != entry.get(key, before[key]):
            text = with_value(text, ("cc", place, key), value)
    return text


def unbound(text: str, target: str, controller: Controller) -> str:
    """Remove one controller of a target; errors as in `editing`."""
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
