"""Shipped presets, models and tunes; preset lookup. Light import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PRESETS = Path(__file__).resolve().parents[1] / "presets"
MODELS = PRESETS / "models"
MIDI = PRESETS / "midi"
DEMO = "five-systems"  # the tune of `timbrel demo`
# The presets of each shipped tune that has several, by MIDI channel from 1 on.
PARTS = {DEMO: {1: "gm-keys", 2: "lakeside-knobs", 3: "digits-keys", 4: "gm-oboe", 5: "drum-loops"}}
KEYS = "gm-keys"  # plays demo.mid
LATER = ("digits-gan",)  # presets at the end of the list, so that earlier ones keep their program numbers
LONGEST_PRESET = 1 << 20  # bytes of a preset file: at least 100 times any shipped one
MADE = "preset.toml"  # preset name in the folder of `timbrel make`


@dataclass(frozen=True)
class Draft:
    """A preset without a file, read as if it were ``name`` in ``folder``, with in-memory ``files`` beside it."""

    name: str
    text: str
    folder: Path
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)


def shipped_presets() -> dict[str, Path]:
    """The presets by name, then the later ones."""
    found = {path.stem: path for path in sorted(PRESETS.glob("*.toml"))}
    return {name: found[name] for name in [*(name for name in found if name not in LATER), *LATER]}


def shipped_models() -> dict[str, Path]:
    return {p.stem: p for p in sorted(MODELS.glob("*.onnx")) if not p.name.endswith(".encoder.onnx")}


def shipped_tunes() -> dict[str, Path]:
    """A tune for one preset has the preset's name."""
    tunes = {path.stem: path for path in sorted(MIDI.glob("*.mid"))}
    own = {name: tunes[name] for name in shipped_presets() if name in tunes}
    return {name: tunes[name] for name in PARTS} | {KEYS: tunes["demo"]} | own


def preset_file(name: str) -> Path | None:
    """Return a preset's file: shipped, by path (may be missing), or in an instrument's folder; else None."""
    path = Path(name)
    if name in shipped_presets():
        return shipped_presets()[name]
    if (path / MADE).is_file():
        return path / MADE
    return path if path.suffix == ".toml" else None


def report_beside(name: str) -> Path | None:
    file = preset_file(name)
    folder = None if file is None or file.name != MADE else file.parent.absolute() / "report"
    return folder if folder is not None and (folder / "index.html").is_file() else None


def is_instrument(name: str) -> bool:
    return preset_file(name) is not None or name in shipped_models() or Path(name).suffix == ".onnx"
