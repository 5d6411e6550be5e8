"""CLAP presets: lists the shipped and the user's presets beside the plugin, for a host's preset browser."""

from pathlib import Path

from ..errors import UserError
from ..patch.loading import read_preset
from ..shipped import shipped_presets
from .user_data import own_presets

LIST = "presets"  # as in native/clap_presets.c


def list_presets(folder: Path) -> None:
    """Write the list beside the binary: ``shipped`` or ``own``, name and description, separated by tabs."""
    lines = []
    for kind, found in (("shipped", shipped_presets()), ("own", own_presets())):
        for name, path in found.items():
            try:
                description = read_preset(path).description
            except UserError:  # the user's own; loading it reports the error
                continue
            lines.append("\t".join([kind, name, " ".join(description.split())]) + "\n")
    (folder / LIST).write_text("".join(lines), encoding="utf-8")
