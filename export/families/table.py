"""The families of networks as export, reports and `make` know them, from the descriptors of their folders."""

import importlib

from . import FOLDERS
from .family import ExportFamily

FAMILIES: dict[str, ExportFamily] = {
    name: family
    for folder in FOLDERS
    for name, family in importlib.import_module(f"{folder}.family", __package__).FAMILIES.items()
}
# What `make` takes where nothing is asked for: of sounds with a pitch, of those whose partials are no harmonics, of
# sounds without a pitch, of hits and words, and of loops.
TONAL, FREE, TEXTURE, SHORT, LOOPS = "partials", "chroma", "grain", "clip", "loops"


def said(family: str) -> str:
    """Return the name that users choose a family by."""
    return FAMILIES[family].called or family


def chosen(name: str) -> str:
    """Return the family that users choose by a name; ``auto`` stays what it is."""
    return next((family for family, row in FAMILIES.items() if row.called == name), name)
