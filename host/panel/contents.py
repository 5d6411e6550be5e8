"""Panel contents as JSON: model, controls, effects, meters and audio device."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..audio.effect_ranges import RANGES, SETTINGS
from ..errors import printable
from ..preset.text import effect_target
from ..session.messages import LiveStatus, SessionView
from ..session.view import ControlView, PresetView

EVEN = ("latent", "macro", "morph")  # linear by training
LOG_RATIO = 50.0  # ratio of a range's ends above which a slider is logarithmic
MIDDLE = 60
DIGITS = 5  # of a value that is drawn: a tenth of a pixel
MAP = ("source", "takeover", "low", "high", "curve", "channel")  # of a `MapView`
SILENT_DB = -100.0  # and below: sent for silence


def model(view: PresetView) -> dict[str, Any]:
    """The model's name, kind, latents and card."""
    latent_fields = ("title", "low", "high", "default", "mean", "std")
    return {
        "name": view.model_name,
        "kind": view.kind,
        "description": view.description,
        "latents": [dict(zip(latent_fields, latent, strict=True)) for latent in view.latents],
        "chroma": view.chroma,
        "card": [list(card_line) for card_line in view.card],
    }


def keys(view: PresetView) -> dict[str, Any]:
    """Range of playable keys, silent ones in it, and labels by key."""
    low_key, high_key = min(view.keys, default=0), max(view.keys, default=127)
    return {
        "low": low_key,
        "high": high_key,
        "center": min(max(MIDDLE, low_key), high_key),
        "silent": [key for key in range(low_key, high_key + 1) if key not in view.keys],
        "labels": {key: label for key, label in view.keys.items() if label},
    }


def control(view: ControlView, value: float, default: float, moving: bool) -> dict[str, Any]:
    """A control with its present value and default; ``moving``: by a motion of the preset."""
    effect_and_parameter = effect_target(view.target)
    return {
        "target": view.target,
        "title": view.title,
        "group": view.group,
        "effect": None if effect_and_parameter is None else effect_and_parameter[0],
        "low": view.low,
        "high": view.high,
        "default": default,
        "value": value,
        "unit": view.unit,
        "log": view.group not in EVEN and view.low > 0 and view.high / view.low >= LOG_RATIO,
        "maps": [{name: getattr(map_view, name) for name in MAP} for map_view in view.maps],
        "choices": [printable(choice) for choice in view.choices],
        "about": view.description,
        "moving": moving,
        "sources": [source._asdict() for source in view.sources],
    }


def moving(fields: Mapping[str, Any], targets: Iterable[str]) -> set[str]:
    """Targets that the preset's motions move."""
    if has_path_or_walk(fields):
        return {target for target in targets if target.startswith("latent.")}
    return {motion["target"] for motion in fields.get("motion", [])}


def has_path_or_walk(fields: Mapping[str, Any]) -> bool:
    """Return whether a motion replaces the latents' knobs instead of adding to them."""
    return any("target" not in motion for motion in fields.get("motion", []))


def path_motion(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The motion along a path; None without."""
    return next((motion for motion in fields.get("motion", []) if "path" in motion), None)


def path(motion: Mapping[str, Any]) -> dict[str, Any]:
    """Points, length in seconds or beats, and whether it loops."""
    if "times" in motion:
        first_time, *_, last_time = motion["times"]
        length_by_unit, loops = {"seconds": round(last_time - first_time, 6)}, motion.get("loop", False)
    else:
        length_by_unit = (
            {"beats": motion["beats"]} if "beats" in motion else {"seconds": round(1 / motion["rate_hz"], 6)}
        )
        loops = True
    return {"points": motion["path"], **length_by_unit, "loop": loops}


def snapshots(fields: Mapping[str, Any], controls: Mapping[str, ControlView]) -> dict[int, dict[str, float]]:
    """By slot, with values within ranges of present controls."""
    return {
        snapshot["slot"]: {
            target: _clamp_to_range(controls[target], value)
            for target, value in snapshot["values"].items()
            if target in controls
        }
        for snapshot in fields.get("snapshot", [])
    }


def _clamp_to_range(control: ControlView, value: float | str) -> float:
    """Value in the control's range, of a number or a choice."""
    raw_value = control.choices.index(value) if isinstance(value, str) else value
    return min(max(raw_value, control.low), control.high)


def effects(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The preset's effects in order."""
    return [
        {"index": index, "plugin": effect["plugin"], "title": _title(effect["plugin"]), "on": effect.get("on", True)}
        for index, effect in enumerate(fields.get("effects", []))
    ]


def available_effects() -> list[str]:
    """Effects that a page can add: those without files."""
    file_effects = {name for name, effect_settings in SETTINGS.items() if Path in effect_settings.values()}
    return sorted(set(RANGES) - file_effects)


def meters(status: LiveStatus) -> dict[str, Any]:
    """The message of meters, sent with each report."""
    return {
        "t": "meters",
        "peaks_db": [max(peak_db, SILENT_DB) for peak_db in status.peaks_db],
        "spectrum_db": list(status.spectrum_db),
        "load": list(status.load),
        "underruns": status.underruns,
        "voices": status.voices,
        "shed": status.shed,
        "held": list(status.held),
        "sounding": list(status.sounding),
        "latency": status.latency_ms,
        "measured_ms": status.measured_ms,
        "code": list(status.latents),
        "moved": {target: float(f"{value:.{DIGITS}g}") for target, value in status.moved.items()},
        "limited": status.limited,
        "last": status.last,
        "age_ms": status.age_ms,
        "ahead_ms": status.ahead_ms,
    }


def waiting(status: LiveStatus) -> dict[str, dict[str, float]]:
    """Positions, by target and controller, of controllers that have yet to take over."""
    positions: dict[str, dict[str, float]] = {}
    for (target, source), position in status.waiting.items():
        positions.setdefault(target, {})[source] = position
    return positions


def sound(status: LiveStatus | None, lost_reason: str) -> dict[str, Any]:
    """Audio device and MIDI ports; ``lost_reason``: why the sound has stopped, or ""."""
    if status is None:
        return {"device": "", "rate": 0, "block": 0, "ports": [], "away": lost_reason}
    return {
        "device": status.device,
        "rate": status.rate,
        "block": status.block,
        "ports": list(status.ports),
        "away": lost_reason,
    }


def session(view: SessionView | None) -> dict[str, Any] | None:
    """Settings and recording; None without a card of its own."""
    if view is None:
        return None
    return {
        "ports": view.ports,
        "channel": view.channel,
        "block": view.block,
        "lowest_latency": view.lowest_latency,
        "card_fault": view.card_fault,
        "restarting": view.restarting,
        "recording": view.recording,
        "seconds": time.monotonic() - view.start_time if view.recording == "on" else 0.0,
        "files": view.files,
    }


def _title(plugin: str) -> str:
    """Title of an effect: words of its class, or the name of a plugin's file."""
    name = plugin.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or plugin
    words = "".join(f" {letter}" if letter.isupper() else letter for letter in name).split()
    return " ".join(words) if all(len(word) > 1 for word in words) else name
