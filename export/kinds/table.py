"""Kinds of models by name."""

import importlib

from . import FOLDERS
from .kind import ExportKind

KINDS: dict[str, ExportKind] = {
    kind.name: kind for kind in (importlib.import_module(f"{folder}.kind", __package__).KIND for folder in FOLDERS)
}
