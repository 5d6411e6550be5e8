"""The table of kinds for export, loaded from the kinds' folders."""

import importlib

from . import FOLDERS
from .kind import ExportKind

KINDS: dict[str, ExportKind] = {
    kind.name: kind for kind in (importlib.import_module(f"{folder}.kind", __package__).KIND for folder in FOLDERS)
}
