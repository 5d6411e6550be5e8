"""The user's folders: presets, models and packs. Light import."""

import os
from pathlib import Path

from .config import configured


def own_folder(name: str) -> Path:
    """Return the folder ``presets``, ``models`` or ``packs``, which may not exist yet.

    Raises:
        UserError: as `configured`, which may name the folder of presets.
    """
    if name == "presets" and (told := configured("presets", "folder")) is not None:
        return Path(told).expanduser()
    data = Path(os.environ.get("XDG_DATA_HOME") or "")  # which counts only if absolute, says its specification
    return (data if data.is_absolute() else Path.home() / ".local/share") / "timbrel" / name
