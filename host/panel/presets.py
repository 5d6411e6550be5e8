"""The presets that a panel offers and keeps: what ships, and one folder, which no name leads out of."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import replacing
from ..shelf import MADE, PRESETS, shipped_models, shipped_presets

NAME = re.compile(r"\w[\w .+#-]{0,63}")  # what every file system takes, and no path
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # by Windows
MOST_LISTED = 1000  # of a folder
LONGEST_FILE = 1 << 20  # bytes: no preset is longer


@dataclass(frozen=True)
class Listed:
    """A preset in the list: what it is called, and how it is loaded."""

    name: str
    description: str
    model: str
    shipped: bool
    fits: bool
    path: str


class Presets:
    """The presets that ship, and those of a folder."""

    def __init__(self, folder: Path, home: Path) -> None:
        """Take those of a folder, or of ``home`` in place of that of the presets that ship."""
        folder = folder.resolve()
        self.folder = home.resolve() if folder == PRESETS else folder

    def listed(self) -> list[Listed]:
        """Return the presets that can be loaded, by name: those of the folder first, then what ships."""
        found = []
        for path in sorted(self.folder.glob("*.toml"))[:MOST_LISTED]:
            entry = _listed(path, path.stem, shipped=False)
            if entry is not None and path.stem not in shipped_presets():
                found.append(entry)
        for name, path in shipped_presets().items():
            entry = _listed(path, name, shipped=True)
            if entry is not None:
                found.append(entry)
        return found

    def find(self, name: str) -> str:
        """Return how the preset of a name in the list is loaded.

        Raises:
            UserError: there is none.
        """
        for entry in self.listed():
            if entry.name == name:
                return entry.path
        raise UserError(f"no preset of the list is named {name!r}; choose one of them")

    def save(self, name: str, text: str, overwrite: bool) -> Path:
        """Write a preset into the folder, whole or not at all, and return its file.

        Raises:
            UserError: the name is none, or belongs to what ships, or the file is there and must be kept.
            Failure: it cannot be written.
        """
        path = self.place(name)
        if path.exists() and not overwrite:
            raise UserError(f"{name!r} exists in {self.folder}; give another name, or replace it")
        with replacing(path, overwrite) as temporary:
            temporary.write_bytes(text.encode())
        return path

    def place(self, name: str) -> Path:
        """Return the file of a name in the folder.

        Raises:
            UserError: the name is none, or belongs to what ships.
        """
        name = name.strip().removesuffix(".toml").rstrip(" .")
        if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
            raise UserError(f"{name!r} is no name for a preset; use letters, digits, spaces, and . + # - _ inside")
        if name in shipped_presets() or name in shipped_models():
            raise UserError(f"{name!r} ships and is never changed; give another name")
        return self.folder / f"{name}.toml"


def _listed(path: Path, name: str, shipped: bool) -> Listed | None:
    """Return a preset of the list; None if the file is none, or cannot be read."""
    try:
        if path.stat().st_size > LONGEST_FILE:
            return None
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    model, description = fields.get("model"), fields.get("description", "")
    if not isinstance(model, str) or not isinstance(description, str):
        return None
    fits = model in shipped_models() or (path.parent / model).is_file()
    title = path.resolve().parent.name if path.name == MADE else name
    return Listed(title, description, Path(model).stem, shipped, fits, name if shipped else str(path))
