"""Network families, one folder each; FOLDERS is the only registry."""

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
