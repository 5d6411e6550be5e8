"""Kinds of models for export. `FOLDERS` is the only registry."""

FOLDERS = [
    ".spectrum",
    ".partials",
    ".grain",
    ".clip",
    ".stream",
]
