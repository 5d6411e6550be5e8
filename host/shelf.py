"""Finds what ships by its name, and the file that a preset's name means; light, as commands ask it first."""

from pathlib import Path

PRESETS = Path(__file__).resolve().parents[1] / "presets"
MODELS = PRESETS / "models"
MIDI = PRESETS / "midi"
DEMO = "gm-keys"  # the preset that `timbrel demo` plays, to demo.mid
MADE = "preset.toml"  # what `timbrel make` calls the preset in the folder that it writes


def shipped_presets() -> dict[str, Path]:
    """Names and files of the presets that ship."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.toml"))}


def shipped_models() -> dict[str, Path]:
    """Names and files of the models that ship."""
    return {p.stem: p for p in sorted(MODELS.glob("*.onnx")) if not p.name.endswith(".encoder.onnx")}


def shipped_tunes() -> dict[str, Path]:
    """Names of the shipped presets that have a tune of their own, and the tunes."""
    tunes = {path.stem: path for path in sorted(MIDI.glob("*.mid"))}
    return {DEMO: tunes["demo"]} | {name: tunes[name] for name in shipped_presets() if name in tunes}


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
