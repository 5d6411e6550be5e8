"""Network families for export. `FOLDERS` is the only registry."""

import importlib
from collections.abc import Callable
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


def studies() -> list[Callable[..., None]]:
    """Return the commands of `timbrel study`, named by packages' ``STUDY``, without descriptors."""
    packages = [importlib.import_module(folder, __name__) for folder in FOLDERS]
    named = [(package.__name__, package.STUDY) for package in packages if hasattr(package, "STUDY")]
    return [getattr(importlib.import_module(f"{package}.study_command"), name) for package, name in named]
