"""Kinds of models for export, one folder each: first preset, demo, view for searches, and player for nn~.

FOLDERS is the only registry.
"""

FOLDERS = [
    ".spectrum",
    ".partials",
    ".grain",
    ".clip",
    ".stream",
]
