"""The user's own presets, beside shipped ones."""

import contextlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

from ..config import own_folder
from ..errors import TimbrelError, UserError, printable
from ..model.pack import SUFFIX
from .shipped import own_preset, preset_text, shipped_models, shipped_presets

MOST_LISTED = 1000  # presets


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


def described_presets() -> Iterator[tuple[str, str, str]]:
    """Yield ``shipped`` or ``own``, name and description of each readable preset."""
    from .loading import read_preset  # the panel's process lists presets, and opens none

    for origin, preset_files in (("shipped", shipped_presets()), ("own", own_presets())):
        for name, path in preset_files.items():
            with contextlib.suppress(UserError):  # the user's own; loading it reports the error
                yield origin, name, read_preset(path).description


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
