"""Network families for export. `FOLDERS` is the only registry."""

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
