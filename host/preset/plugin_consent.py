"""Asks the user whether a preset's plugins may run."""

import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from ..audio.plugins import PLUGINS, let_run, may_run
from ..errors import UserError, printable
from .shipped import patch_file, preset_text


def ask_for(presets: Iterable[str], trust: bool) -> None:
    """Ask the user about each unapproved plugin of some presets; ``trust`` answers yes for all.

    Raises:
        UserError: no terminal, the answer is no, or as `patch_file` and `let_run`.
    """
    for name in presets:
        file = patch_file(name)
        for plugin in plugins_of(file):
            if may_run(plugin):
                continue
            if not trust and not sys.stdin.isatty():
                raise UserError(
                    f"preset {file} runs {plugin}, native code that has not run here before; if you know where it is "
                    "from, give --trust, or run this in a terminal, which asks"
                )
            if not trust and not _says_yes(f"preset {file} runs {plugin}, which runs with your permissions. Allow it?"):
                raise UserError(f"{plugin} may not run; take it out of preset {file}")
            let_run(plugin)


def plugins_of(preset: Path) -> list[Path]:
    """Files of plugins in a preset's effects, those that exist."""
    if preset.suffix == ".onnx" or not preset.is_file():
        return []
    try:
        effects = tomllib.loads(preset_text(preset)).get("effects")
    except (UserError, ValueError, RecursionError):
        return []  # opening the preset reports its fault
    plugin_names = (
        [effect.get("plugin") for effect in effects if isinstance(effect, dict)] if isinstance(effects, list) else []
    )
    plugin_files = [preset.parent / name for name in plugin_names if isinstance(name, str) and name.endswith(PLUGINS)]
    return [file for file in plugin_files if file.exists()]


def _says_yes(question: str) -> bool:
    print(f"timbrel: {printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
