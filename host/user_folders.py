"""The user's folders: presets, models and packs. Light import."""

import os
from pathlib import Path


def own_folder(name: str) -> Path:
    """The folder may not exist yet."""
    data = Path(os.environ.get("XDG_DATA_HOME") or "")  # which counts only if absolute, says its specification
    return (data if data.is_absolute() else Path.home() / ".local/share") / "timbrel" / name
