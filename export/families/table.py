"""Network families by name."""

import importlib

from . import FOLDERS, made_families
from .family import ExportFamily

FAMILIES: dict[str, ExportFamily] = {
    name: family
    for folder in FOLDERS
    for name, family in importlib.import_module(f"{folder}.family", __package__).FAMILIES.items()
}
# Defaults of `make`: sounds with a pitch, sounds without one, hits and words, and loops.
TONAL, TEXTURE, SHORT, LOOPS = "partials", "grain", "clip", "loops"


def name_for_users(family: str) -> str:
    return made_families()[family].called


def family_named(name: str) -> str:
    return next((family for family, row in made_families().items() if row.called == name), name)
