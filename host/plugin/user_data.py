"""User data folders of plugins: presets that every format lists, and models that projects name."""

import contextlib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError, printable
from ..patch.loading import preset_text, read_preset
from ..shipped import MADE, shipped_models, shipped_presets

MOST_LISTED = 1000  # presets


def own_folder(name: str) -> Path:
    """The folder may not exist yet."""
    data = Path(os.environ.get("XDG_DATA_HOME") or "")  # which counts only if absolute, says its specification
    return (data if data.is_absolute() else Path.home() / ".local/share") / "timbrel" / name


def own_presets() -> dict[str, Path]:
    """Return the user's presets, name to file, sorted: NAME.toml of the folder ``presets``, or NAME/ of `timbrel make`.

    Skips other files, and names of shipped presets and models.
    """
    folder = own_folder("presets")
    try:
        entries = sorted(folder.iterdir())[:MOST_LISTED]
    except OSError:
        return {}
    found = {entry.stem if entry.suffix == ".toml" else entry.name: entry for entry in entries}
    files = {name: entry / MADE if entry.is_dir() else entry for name, entry in found.items()}
    ships = shipped_presets().keys() | shipped_models().keys()
    return {name: file for name, file in files.items() if name not in ships and name == printable(name) and _is(file)}


def described_presets() -> Iterator[tuple[str, str, str]]:
    """Yield ``shipped`` or ``own``, name and description of each preset that can be read."""
    for kind, found in (("shipped", shipped_presets()), ("own", own_presets())):
        for name, path in found.items():
            with contextlib.suppress(UserError):  # the user's own; loading it reports the error
                yield kind, name, read_preset(path).description


def _is(file: Path) -> bool:
    if file.suffix != ".toml" or not file.is_file():
        return False
    try:
        return isinstance(tomllib.loads(preset_text(file)).get("model"), str)
    except (UserError, ValueError, RecursionError):
        return False
