"""The user's folders: presets, models, packs and recordings. Light import."""

import os
from pathlib import Path

from .config import config_file, configured
from .errors import UserError


def own_folder(name: str) -> Path:
    """Folder ``presets``, ``models``, ``packs`` or ``recordings``, which may not exist yet.

    Raises:
        UserError: as `configured`, which may name the folder of presets.
    """
    if name == "presets" and (told := configured("presets", "folder")) is not None:
        try:
            folder = Path(told).expanduser()
        except RuntimeError:  # of ~ and an unknown user
            folder = Path()
        if not folder.is_absolute() or "\0" in told:
            raise UserError(f"{config_file()}: presets.folder = {told!r} should be a full path, or begin with ~/")
        return folder
    data = Path(os.environ.get("XDG_DATA_HOME") or "")  # which counts only if absolute, says its specification
    return (data if data.is_absolute() else Path.home() / ".local/share") / "timbrel" / name
