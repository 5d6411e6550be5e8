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
    """A family that `make` can train, of ``MADE`` of its package; ``alone``: a single sound is enough.

    It is apart from the descriptor, which imports torch.
    """

    called: str
    alone: bool = False


def made_families() -> dict[str, MadeFamily]:
    """Return the families that `make` can train, without importing descriptors."""
    packages = [importlib.import_module(folder, __name__) for folder in FOLDERS]
    return {family: row for package in packages for family, row in getattr(package, "MADE", {}).items()}
