"""Network families for export, one folder each: graphs, report, first preset and study.

FOLDERS is the only registry.
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
