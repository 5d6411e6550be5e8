"""Network families, one folder each with recipe, network and batches; FOLDERS is the only registry."""

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
