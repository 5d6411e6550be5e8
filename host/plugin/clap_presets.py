"""CLAP presets: lists shipped and user presets for a host's browser."""

from pathlib import Path

from ..patch.user_presets import described_presets

LIST = "presets"  # as in native/clap_presets.c


def list_presets(folder: Path) -> None:
    """Lines of ``shipped`` or ``own``, name and description, separated by tabs."""
    rows = [[kind, name, " ".join(description.split())] for kind, name, description in described_presets()]
    (folder / LIST).write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
