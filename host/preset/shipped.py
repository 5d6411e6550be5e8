"""Presets by name: shipped ones, the user's own, and their texts; shipped models and tunes. Light import."""

import contextlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..config import own_folder, toml_text
from ..errors import TimbrelError, UserError, nearest, printable
from ..files import as_on_disk, read_regular
from ..model.pack import SUFFIX

PRESETS = Path(__file__).resolve().parents[2] / "presets"
MODELS = PRESETS / "models"
MIDI = PRESETS / "midi"
DEMO = "five-systems"  # the tune of `timbrel demo`
# The presets of each shipped tune that has several, by MIDI channel from 1 on.
PARTS = {DEMO: {1: "electric-piano", 2: "lakeside-knobs", 3: "spoken-words", 4: "solo-oboe", 5: "drum-loops"}}
KEYS = "gm-keys"  # plays demo.mid
FIRST = "electric-piano"  # of a new plugin
INSTRUMENTS = (
    *("grand-piano", "electric-piano", "reed-organ", "jazz-vibraphone", "nylon-guitar", "finger-bass"),
    *("string-ensemble", "mixed-choir", "warm-pad", "solo-oboe", "saw-lead", "stereo-kit", "spoken-words"),
)
# By program number, from 1: a preset keeps its number, so new ones come last.
PROGRAMS = (
    *("digits-keys", "drum-kit", "drum-loops", "gm-hall", "gm-keys", "gm-lead", "gm-oboe", "gm-pad", "gm-strings"),
    *("lakeside-knobs", "lakeside-post", "lakeside-soundscape", "lakeside-walk", "digits-gan"),
    *INSTRUMENTS,
    "lakeside-learned",
)
# In the order of lists.
CURRENT = (
    *INSTRUMENTS,
    *("digits-gan", "lakeside-walk", "lakeside-learned", "lakeside-knobs", "lakeside-soundscape", "lakeside-post"),
    "drum-loops",
)
SUCCESSORS = {  # of earlier presets, which stay for projects and program changes
    "gm-keys": "electric-piano",
    "gm-strings": "string-ensemble",
    "gm-pad": "warm-pad",
    "gm-hall": "warm-pad",
    "gm-oboe": "solo-oboe",
    "gm-lead": "saw-lead",
    "drum-kit": "stereo-kit",
    "digits-keys": "spoken-words",
}
BESIDE = (".encoder.onnx", ".path.onnx")  # ends of files beside models
LONGEST_PRESET = 1 << 20  # bytes of a preset file: at least 100 times any shipped one
SLOTS = 8  # for snapshots in a preset
MOST_LISTED = 1000  # presets
MADE = "preset.toml"  # preset name in the folder of `timbrel make`


@dataclass(frozen=True)
class Draft:
    """A preset without a file, read as if it were ``name`` in ``folder``, with in-memory ``files`` beside it.

    ``silent``: it sounds like the preset that plays, so parameters and held notes go on.
    """

    name: str
    text: str
    folder: Path
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    silent: bool = False


def shipped_presets() -> dict[str, Path]:
    """By program number."""
    return {name: PRESETS / f"{name}.toml" for name in PROGRAMS}


def current_presets() -> dict[str, Path]:
    """Shipped presets without `earlier_presets`, in the order of lists."""
    files = shipped_presets()
    return {name: files[name] for name in CURRENT}


def earlier_presets() -> dict[str, str]:
    """Shipped presets of earlier versions; description with the name of the successor, by name."""
    return {name: f"(earlier; now {successor})" for name, successor in SUCCESSORS.items()}


def shipped_models() -> dict[str, Path]:
    return {p.stem: p for p in sorted(MODELS.glob("*.onnx")) if not p.name.endswith(BESIDE)}


def shipped_tunes() -> dict[str, Path]:
    """Tunes of several presets, and of each preset its own or its successor's."""
    files = {path.stem: path for path in MIDI.glob("*.mid")}
    files[KEYS] = files["demo"]
    preset_tunes = {name: files[name if name in files else SUCCESSORS[name]] for name in shipped_presets()}
    return {name: files[name] for name in PARTS} | preset_tunes


def preset_names() -> list[str]:
    """Return the names of the shipped presets in order of their program numbers, then of the user's own.

    Raises:
        UserError: the configuration file, which may name the folder of own presets, cannot be read.
    """
    return [*shipped_presets(), *own_presets()]


def model_names() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return list(shipped_models())


def preset_file(name: str) -> Path | None:
    """A preset's file: shipped, by path (may be missing), in an instrument's folder, a pack, or the user's own.

    Raises:
        UserError: a pack that cannot be unpacked.
    """
    path = as_on_disk(Path(name))
    if name in shipped_presets():
        return shipped_presets()[name]
    if path.suffix == SUFFIX:
        return _in_pack(path)
    if (path / MADE).is_file():
        return path / MADE
    if path.suffix == ".toml":
        return path
    return None if path.is_file() or name in shipped_models() else own_preset(name)


def patch_file(name: str) -> Path:
    """The file of a preset or a model: as `preset_file`, a shipped model's, or the path; a model may be missing.

    Raises:
        UserError: unknown name, missing preset, or as `preset_file`.
    """
    path = preset_file(name) or shipped_models().get(name) or as_on_disk(Path(name))
    if path.suffix == ".onnx" or path.exists():
        return path
    if path.suffix == ".toml":
        raise _missing(path)
    suggestion = nearest(name, [*shipped_presets(), *shipped_models()])
    raise UserError(f"no preset, model or file is named {name!r}{suggestion}")


def _missing(preset: Path) -> UserError:
    return UserError(f"preset {preset} does not exist; list shipped presets with 'timbrel presets'")


def preset_text(path: Path) -> str:
    """Text of a preset's file, with its line ends; all presets are read by this function.

    Raises:
        UserError: missing, irregular, too large, or as `toml_text`.
    """
    try:
        preset_bytes = read_regular(path, LONGEST_PRESET)
    except FileNotFoundError:
        raise _missing(path) from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give the preset file in it, such as {path / 'preset.toml'}") from None
    except OSError as error:
        raise UserError(f"preset {path} cannot be read: {error.strerror or error}") from None
    return toml_text(preset_bytes, f"preset {path}")


def own_preset(name: str) -> Path | None:
    """In the user's folder ``presets``: NAME.toml, NAME/ of `timbrel make` or NAME.timbrel."""
    if Path(name).name != name or name in ("", ".", ".."):
        return None
    preset_folder = own_folder("presets") / name
    if (preset_folder / MADE).is_file():
        return preset_folder / MADE
    if preset_folder.with_name(f"{name}.toml").is_file():
        return preset_folder.with_name(f"{name}.toml")
    pack_file = preset_folder.with_name(f"{name}{SUFFIX}")
    return _in_pack(pack_file) if pack_file.is_file() else None


def _in_pack(path: Path) -> Path:
    from ..model.pack import unpacked  # lazy: most presets are in none

    return unpacked(path) / MADE


def report_beside(name: str) -> Path | None:
    """Folder of the report of a made instrument, None without one."""
    file = preset_file(name)
    report_folder = None if file is None or file.name != MADE else file.parent.absolute() / "report"
    return report_folder if report_folder is not None and (report_folder / "index.html").is_file() else None


def is_instrument(name: str) -> bool:
    return preset_file(name) is not None or name in shipped_models() or Path(name).suffix == ".onnx"


def own_presets() -> dict[str, Path]:
    """User's presets, name to file, sorted: NAME.toml of the folder ``presets``, NAME/, or NAME.timbrel.

    Skips other files, unusable packs, and names of shipped presets and models.
    """
    folder = own_folder("presets")
    try:
        folder_entries = sorted(folder.iterdir())[:MOST_LISTED]
    except OSError:
        return {}
    names = sorted({entry.stem if entry.suffix in (".toml", SUFFIX) else entry.name for entry in folder_entries})
    shipped_names = shipped_presets().keys() | shipped_models().keys()
    files = {name: file for name in names if name not in shipped_names and (file := _readable_file(name)) is not None}
    return {name: file for name, file in files.items() if name == printable(name) and _is_preset(file)}


def _readable_file(name: str) -> Path | None:
    with contextlib.suppress(TimbrelError, OSError, ValueError):  # opening it reports the error
        return own_preset(name)
    return None


def _is_preset(file: Path) -> bool:
    if file.suffix != ".toml" or not file.is_file():
        return False
    try:
        return isinstance(tomllib.loads(preset_text(file)).get("model"), str)
    except (UserError, ValueError, RecursionError):
        return False
