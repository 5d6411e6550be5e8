"""Says in JSON what pages show: of the preset, its controls and effects, and how the sound goes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..audio.parameters import RANGES, SETTINGS
from ..errors import printable
from ..live.messages import LiveStatus
from ..live.preset_view import Dial, PresetView

EVEN = ("latent", "macro", "morph")  # whose ways are as even as training made them
LOG_RATIO = 50.0  # between the ends of a range from which on a slider's way is logarithmic
WHOLE_PIANO = (0, 127)
MIDDLE = 60
SILENT_DB = -100.0  # and below: what pages are told of no sound at all


def model(sheet: PresetView) -> dict[str, Any]:
    """Return what pages are told of a model."""
    names = ("title", "low", "high", "default", "mean", "std")
    return {
        "name": sheet.model_name,
        "kind": sheet.kind,
        "description": sheet.description,
        "latents": [dict(zip(names, latent, strict=True)) for latent in sheet.latents],
        "pitched": sheet.keys == WHOLE_PIANO or sheet.keys[1] - sheet.keys[0] >= 60,
        "chroma": sheet.chroma,
        "card": [list(line) for line in sheet.card],
    }


def keys(sheet: PresetView) -> dict[str, int]:
    """Return which keys sound, and which of them a page begins with."""
    low, high = sheet.keys
    return {"low": low, "high": high, "center": min(max(MIDDLE, low), high)}


def control(dial: Dial, value: float, default: float, moving: bool) -> dict[str, Any]:
    """Return a control."""
    section, _, rest = dial.target.partition(".")
    number = rest.partition(".")[0]
    return {
        "target": dial.target,
        "title": dial.title,
        "group": dial.group,
        "effect": int(number) if section == "effects" and number.isdecimal() else None,
        "low": dial.low,
        "high": dial.high,
        "default": default,
        "value": value,
        "unit": dial.unit,
        "log": dial.group not in EVEN and dial.low > 0 and dial.high / dial.low >= LOG_RATIO,
        "maps": [{"source": source, "takeover": takeover} for source, takeover in dial.maps],
        "choices": [printable(choice) for choice in dial.choices],
        "about": dial.about,
        "moving": moving,
    }


def moving(fields: Mapping[str, Any], targets: Iterable[str]) -> set[str]:
    """Return which targets the motions of a preset move."""
    motions = fields.get("motion", [])
    if any("target" not in motion for motion in motions):
        return {target for target in targets if target.startswith("latent.")}
    return {motion["target"] for motion in motions}


def path(fields: Mapping[str, Any]) -> list[list[float]] | None:
    """Return the codes of a preset's path, if it has one."""
    return next((motion["path"] for motion in fields.get("motion", []) if "path" in motion), None)


def effects(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the effects of a preset, in their order."""
    return [
        {"index": index, "plugin": effect["plugin"], "title": _title(effect["plugin"]), "on": effect.get("on", True)}
        for index, effect in enumerate(fields.get("effects", []))
    ]


def available_effects() -> list[str]:
    """Return the effects that a page can add: those that need no file."""
    needing = {name for name, settings in SETTINGS.items() if Path in settings.values()}
    return sorted(set(RANGES) - needing)


def meters(status: LiveStatus) -> dict[str, Any]:
    """Return how the sound goes."""
    return {
        "t": "meters",
        "peak_db": max(status.peak_db, SILENT_DB),
        "load": list(status.load),
        "underruns": status.underruns,
        "voices": status.voices,
        "shed": status.shed,
        "held": list(status.held),
        "latency": status.latency_ms,
        "measured_ms": status.measured_ms,
        "code": list(status.latents),
        "limited": status.limited,
        "last": status.last,
        "age_ms": status.age_ms,
        "ahead_ms": status.ahead_ms,
    }


def waiting(status: LiveStatus) -> dict[str, dict[str, float]]:
    """Return, by target and source, where controllers stand that have yet to meet their targets."""
    found: dict[str, dict[str, float]] = {}
    for (target, source), stands in status.waiting.items():
        found.setdefault(target, {})[source] = stands
    return found


def sound(status: LiveStatus | None, away: bool) -> dict[str, Any]:
    """Return on what the sound comes out, and by what ports MIDI comes in; ``away``: it has no card now."""
    if status is None:
        return {"device": "", "rate": 0, "block": 0, "ports": [], "away": away}
    return {
        "device": status.device,
        "rate": status.rate,
        "block": status.block,
        "ports": list(status.ports),
        "away": away,
    }


def _title(plugin: str) -> str:
    name = plugin.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or plugin
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in name).split()
    return " ".join(words) if all(len(word) > 1 for word in words) else name
