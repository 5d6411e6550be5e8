"""Network families by name."""

import importlib

from . import FOLDERS
from .family import Family

FAMILIES: dict[str, Family] = {
    name: family
    for folder in FOLDERS
    for name, family in importlib.import_module(f"{folder}.family", __package__).FAMILIES.items()
}
