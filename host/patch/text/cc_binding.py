"""MIDI learn in a preset's text: binds a CC to a target, with comments preserved."""

import tomllib
from collections.abc import Mapping
from typing import Any

from ...units import Range
from .editing import appended, with_value, without_entries, without_entry

OF_A_KNOB = ("bits", "nrpn", "channel")  # a map's keys for its controller besides its number


def bound(text: str, number: int, target: str, span: Range) -> tuple[str, list[str]]:
    """Bind CC ``number`` to ``target``; return the text and the CC's other targets.

    An existing map keeps range and curve; a new one covers ``span``. Errors as in `editing`.
    """
    fields = tomllib.loads(text)
    knobs = [f"latent.{index}" for index in range(len(fields.get("knobs", [])))]
    own = [place for place, entry in enumerate(fields.get("cc", [])) if _is_of(entry, target)]
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


def _is_of(entry: Mapping[str, Any], target: str) -> bool:
    return entry.get("target") == target and "pressure" not in entry
