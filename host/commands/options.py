"""Options and help texts that commands share."""

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config import missing_preset_folder
from ..errors import TimbrelError, UserError

if TYPE_CHECKING:
    from ..model.model import Model


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
Trust = Annotated[bool, typer.Option("--trust", help="Let plugins, and packages that play models, run without asking.")]
MidiPort = Annotated[
    list[str] | None, typer.Option(help="A MIDI port, by any part of its name, or virtual; all by default.")
]
Channels = Annotated[
    list[str] | None, typer.Option(help="Another preset for a MIDI channel, or none: 2=PRESET, 10=none")
]
Programs = Annotated[Path | None, typer.Option("--set", help="A folder of presets for program changes.")]
MidiApi = Annotated[str | None, typer.Option(help="alsa, jack, coremidi or winmm; the first that works by default.")]


def known_names(incomplete: str) -> list[str]:
    """Names that a shell may complete."""
    from ..preset.shipped import own_presets, shipped_models, shipped_presets

    names = [*shipped_presets(), *shipped_models()]
    with contextlib.suppress(TimbrelError):  # of the configuration file: a shell has no place for it
        names += own_presets()
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def warn_of_folder(context: typer.Context, name: str) -> str:
    """Warn if the configured folder of presets is missing; return the preset's name."""
    with contextlib.suppress(TimbrelError):  # of the configuration file: looking up an own preset reports it
        if not context.resilient_parsing:  # completion by a shell
            warn(missing_preset_folder())
    return name


PRESET_HELP = "A preset or model, shipped or your own, a .toml preset, an instrument's folder, a pack or an .onnx file."
PresetName = Annotated[str, typer.Argument(help=PRESET_HELP, autocompletion=known_names, callback=warn_of_folder)]
MODEL_HELP = "A model file with its encoder beside it, a shipped model's name, or a preset that has one."
INFO_HELP = "A model file, a shipped model's name, or a preset that has one."


def warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"warning: {line}", file=sys.stderr)


def opened_model(name: str, trust: bool = False) -> "Model":
    """Open a model, after asking whether the package of its kind may run, and print its warnings."""
    from ..model.model import Model
    from ..preset.library import find_model
    from ..preset.plugin_consent import ask_about
    from ..preset.shipped import preset_file

    ask_about(preset_file(name) or Path(name), trust)
    model = Model(find_model(name))
    warn(model.warnings)
    return model


def channel_presets(options: list[str]) -> dict[int, str | None]:
    """Parse ``--channel``: names by channel, 0 to 15; None if muted."""
    names_by_channel: dict[int, str | None] = {}
    for option in options:
        channel_text, equals_sign, name = option.partition("=")
        if not (equals_sign and name and channel_text.isdecimal() and 1 <= int(channel_text) <= 16):
            raise UserError(
                f"--channel {option!r} must be NUMBER=PRESET, NUMBER from 1 to 16, such as 2=warm-pad, or NUMBER=none"
            )
        if int(channel_text) - 1 in names_by_channel:
            raise UserError(f"--channel {option!r} is the second for channel {int(channel_text)}; give one of them")
        names_by_channel[int(channel_text) - 1] = None if name == "none" else name
    return names_by_channel


def presets_in(folder: Path | None) -> tuple[str, ...]:
    """A folder's presets; program 1 is the first. Warns of those that cannot be read or lack a file."""
    if folder is None:
        return ()
    if not folder.is_dir():
        raise UserError(f"--set {folder} is not a folder; give one that holds presets (.toml)")
    from ..preset.library import check_files
    from ..preset.shipped import preset_file

    files_by_path: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        try:
            file = preset_file(str(path))
        except UserError as error:
            warn([f"{path} cannot be chosen: {error}"])
            continue
        if file is not None:
            files_by_path[str(path)] = file
    if not files_by_path:
        raise UserError(f"--set {folder} holds no preset (.toml, or an instrument's folder); put some there")
    for program_number, file in enumerate(files_by_path.values(), 1):
        try:
            check_files(file)
        except UserError as error:
            warn([f"program {program_number} cannot be chosen: {error}"])
    return tuple(files_by_path)
