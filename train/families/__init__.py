"""Families of networks, one folder each: recipe, network and batches. The list below is the only registry."""

FOLDERS = [
    ".chroma",
    ".partials",
    ".grain",
    ".gan",
    ".classifier",
    ".invert",
    ".clip",
    ".loops",
    ".sequence",
]
