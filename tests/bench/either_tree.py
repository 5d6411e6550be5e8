"""Modules of the package in either tree: a thing's names, the newest first."""

import importlib
import importlib.util
from types import ModuleType


def module(*names: str) -> ModuleType:
    """Import the first module of the package that exists; names are without ``timbrel.``."""
    for name in names:
        try:
            if importlib.util.find_spec(f"timbrel.{name}"):
                return importlib.import_module(f"timbrel.{name}")
        except ModuleNotFoundError:  # not even its folder
            continue
    raise ModuleNotFoundError(f"no module {' or '.join(names)}")
