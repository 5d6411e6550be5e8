"""Finds what ships by its name, and the file that a preset's name means; light, as commands ask it first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PRESETS = Path(__file__).resolve().parents[1] / "presets"
MODELS = PRESETS / "models"
MIDI = PRESETS / "midi"
DEMO = "five-systems"  # what `timbrel demo` plays
# The presets of each shipped tune that has several, by MIDI channel from 1 on.
PARTS = {DEMO: {1: "gm-keys", 2: "lakeside-knobs", 3: "digits-keys", 4: "gm-oboe", 5: "drum-loops"}}
KEYS = "gm-keys"  # plays demo.mid
LONGEST_PRESET = 1 << 20  # bytes of a preset file: those that ship have at most a hundredth
MADE = "preset.toml"  # what `timbrel make` calls the preset in the folder that it writes


@dataclass(frozen=True)
class Draft:
    """A preset that is no file: the ``text`` of one, read as if it lay in ``folder`` by its ``name``.

    ``files`` are those beside it that are none either: their bytes, by the names by which the text calls them.
    """

    name: str
    text: str
    folder: Path
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)


def shipped_presets() -> dict[str, Path]:
    """Names and files of the presets that ship."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.toml"))}


def shipped_models() -> dict[str, Path]:
    """Names and files of the models that ship."""
    return {p.stem: p for p in sorted(MODELS.glob("*.onnx")) if not p.name.endswith(".encoder.onnx")}


def shipped_tunes() -> dict[str, Path]:
    """Names of the tunes that ship for several presets, of the presets that have one of their own, and the tunes."""
    tunes = {path.stem: path for path in sorted(MIDI.glob("*.mid"))}
    own = {name: tunes[name] for name in shipped_presets() if name in tunes}
    return {name: tunes[name] for name in PARTS} | {KEYS: tunes["demo"]} | own


def preset_file(name: str) -> Path | None:
    """Return the file of a shipped preset, of one by its path, or of the one in a folder that `timbrel make` wrote.

    None if a name means no preset; the file of one by its path may be missing.
    """
    path = Path(name)
    if name in shipped_presets():
        return shipped_presets()[name]
    if (path / MADE).is_file():
        return path / MADE
    return path if path.suffix == ".toml" else None


def report_beside(name: str) -> Path | None:
    """Return the folder of the report that `timbrel make` wrote beside a preset of this name, if it did."""
    file = preset_file(name)
    folder = None if file is None or file.name != MADE else file.parent.absolute() / "report"
    return folder if folder is not None and (folder / "index.html").is_file() else None


def is_instrument(name: str) -> bool:
    """Return whether a name means a preset or a model, which `timbrel render` takes."""
    return preset_file(name) is not None or name in shipped_models() or Path(name).suffix == ".onnx"
