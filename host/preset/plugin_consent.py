"""Asks the user whether the plugins of presets, and the packages of their models' kinds, may run."""

import json
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .. import extensions
from ..audio.plugins import PLUGINS, let_run, may_run
from ..errors import UserError, printable
from ..kinds.table import CLASSES
from ..model.onnx_bytes import NotONNX, card_of
from .library import model_path
from .preset import Preset
from .shipped import patch_file, preset_text


def ask_for(presets: Iterable[str], trust: bool) -> None:
    """Ask the user about each unapproved plugin, and package of a model's kind, of some presets or models.

    ``trust`` answers yes for all.

    Raises:
        UserError: as `patch_file` and `ask_about`.
    """
    for name in presets:
        ask_about(patch_file(name), trust)


def ask_about(file: Path, trust: bool) -> None:
    """Ask as `ask_for`, about a preset's or model's file, which may be missing.

    Raises:
        UserError: no terminal, the answer is no, or as `let_run` and `extensions.find`.
    """
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
    for kind_name in _kinds_of(file):
        package = extensions.find(extensions.KINDS, kind_name)
        if package is None or extensions.may_run(package):
            continue
        if not trust and not sys.stdin.isatty():
            raise UserError(f"{file}: {extensions.refusal(kind_name, package)}")
        title = extensions.title(package)
        question = f"{file} is of kind {kind_name!r}: package {title} runs with your permissions. Allow it?"
        if not trust and not _says_yes(question):
            raise UserError(f"package {title} may not run; choose a model of another kind than {file}")
        extensions.let_run(package)


def plugins_of(preset: Path) -> list[Path]:
    """Files of plugins in a preset's effects, those that exist."""
    effects = _fields(preset).get("effects")
    plugin_names = (
        [effect.get("plugin") for effect in effects if isinstance(effect, dict)] if isinstance(effects, list) else []
    )
    plugin_files = [preset.parent / name for name in plugin_names if isinstance(name, str) and name.endswith(PLUGINS)]
    return [file for file in plugin_files if file.exists()]


def _fields(preset: Path) -> dict[str, Any]:
    """A preset's tables; empty for models and files that cannot be read: opening one reports its fault."""
    if preset.suffix == ".onnx" or not preset.is_file():
        return {}
    try:
        return tomllib.loads(preset_text(preset))
    except (UserError, ValueError, RecursionError):
        return {}


def _kinds_of(file: Path) -> Iterator[str]:
    """Names that a preset's tables and its model's card give to kinds that are not timbrel's."""
    fields = _fields(file)
    yield from fields.keys() - Preset.model_fields.keys()
    model_name = fields.get("model", "")
    try:
        model_file = file if file.suffix == ".onnx" else model_path(str(model_name), file.parent)
        card = json.loads(card_of(model_file))
    except (UserError, NotONNX, OSError, ValueError, RecursionError):
        return
    kind_name = card.get("kind") if isinstance(card, dict) else None
    if isinstance(kind_name, str) and kind_name not in CLASSES:
        yield kind_name


def _says_yes(question: str) -> bool:
    print(f"timbrel: {printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
