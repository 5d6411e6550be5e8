"""The shipped presets and the user's own in a list beside the CLAP plugin, for a host's browser of presets."""

from pathlib import Path

from ..errors import UserError
from ..patch.loading import read_preset
from ..shipped import shipped_presets
from .user_data import own_presets

LIST = "presets"  # as native/clap_presets.c has it


def list_presets(folder: Path) -> None:
    """Write the list beside the plugin's binary: ``shipped`` or ``own``, name and description, a tab between each."""
    lines = []
    for kind, found in (("shipped", shipped_presets()), ("own", own_presets())):
        for name, path in found.items():
            try:
                description = read_preset(path).description
            except UserError:  # the user's own: whoever loads it is told why
                continue
            lines.append("\t".join([kind, name, " ".join(description.split())]) + "\n")
    (folder / LIST).write_text("".join(lines), encoding="utf-8")
