"""Network families for export. `FOLDERS` is the only registry."""

import importlib
from typing import NamedTuple

FOLDERS = [
    ".chroma",
    ".partials",
    ".grain",
    ".gan",
    ".classifier",
    ".invert",
    ".clip",
    ".sequence",
    ".loops",
]


class MadeFamily(NamedTuple):
    """A family that `make` can train, described without torch; ``alone``: a single sound is enough."""

    called: str
    alone: bool = False


def made_families() -> dict[str, MadeFamily]:
    """Return the families that `make` can train, without descriptors."""
    packages = [importlib.import_module(folder, __name__) for folder in FOLDERS]
    return {family: row for package in packages for family, row in getattr(package, "MADE", {}).items()}
