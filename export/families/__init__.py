"""Families of networks as export knows them, one folder each: graphs, report, first preset and study.

The list below is the only registry.
"""

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
