"""Commands that inspect models and list presets."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ..config import missing_preset_folder
from .options import INFO_HELP, Overwrite, Trust, known_names, opened_model, warn

commands = typer.Typer(rich_markup_mode=None)

PACKAGES = ("numpy", "onnxruntime", "soundfile", "pedalboard", "pydantic", "sounddevice", "python-rtmidi", "torch")


@commands.command()
def info(
    model: Annotated[str, typer.Argument(help=INFO_HELP, autocompletion=known_names)],
    as_json: Annotated[
        bool, typer.Option("--json", help="Card, gestures, map and learned path, for programs.")
    ] = False,
    trust: Trust = False,
) -> None:
    """Describe a model, or a pack."""
    import json

    from ..errors import printable
    from ..model.model import describe
    from ..model.pack import SUFFIX, read_manifest
    from ..model.schema import document
    from ..preset.library import notes_of

    loaded_model = opened_model(model, trust)
    if as_json:
        print(json.dumps(document(loaded_model), indent=1, ensure_ascii=False))
        return
    size_bytes = loaded_model.path.stat().st_size
    description = describe(
        loaded_model.card, size_bytes, loaded_model.gestures, loaded_model.map, loaded_model.recordings
    )
    if Path(model).suffix == SUFFIX:
        manifest = read_manifest(Path(model))
        pack_fields = {"pack": manifest.name, "preset": manifest.metadata.get("description", "")}
        description = "".join(f"{label:<10} {printable(value)}\n" for label, value in pack_fields.items()) + description
    if preset_notes := notes_of(model):
        description += "".join(["\nnotes of the preset", *(f"\n  {preset_note}" for preset_note in preset_notes)])
    print(description)


@commands.command()
def version(
    as_json: Annotated[bool, typer.Option("--json", help="With what it runs on, for programs.")] = False,
) -> None:
    """Print the version."""
    import json
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    from ... import __version__
    from .. import extensions

    if not as_json:
        print(__version__)
        return
    versions_by_package: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions_by_package[name] = installed(name)
        except PackageNotFoundError:
            versions_by_package[name] = None
    for group in (extensions.FAMILIES, extensions.KINDS):
        versions_by_package |= extensions.all_versions(group)
    system_fields = {"system": platform.system(), "release": platform.release(), "machine": platform.machine()}
    print(
        json.dumps(
            {
                "timbrel": __version__,
                "python": platform.python_version(),
                **system_fields,
                "packages": versions_by_package,
            }
        )
    )


@commands.command()
def verify(model: Annotated[str, typer.Argument(help=INFO_HELP, autocompletion=known_names)]) -> None:
    """Run a model's own references, and play its recordings; exit status 1 if outputs differ or are not all covered."""
    from ..engines.engine import recordings_off
    from ..errors import printable
    from ..model.learned_path import LearnedPath

    loaded_model = opened_model(model)
    verdict, faulty_names = loaded_model.verify(), recordings_off(loaded_model)
    is_partial = verdict.points < verdict.width
    verdict_word = "FAILS" if not verdict.passed else "partial" if is_partial else "passes"
    outputs_text = f"all {verdict.width} outputs"
    if is_partial:
        outputs_text = f"{verdict.points} of {verdict.width} outputs, its card tells of no others; export it again"
    print(f"{model} {verdict_word}: off by {verdict.difference:.2e}, {verdict.tolerance:.0e} allowed, {outputs_text}")
    if recording_count := len(loaded_model.card.recordings):
        has_levels = all(recording.path_levels_db is not None for recording in loaded_model.card.recordings)
        played_text = "as recorded at rest, and along a path of codes" + ", at their card's levels" * has_levels
        if faulty_names:
            print(
                f"{model}: {len(faulty_names)} of {recording_count} recordings do not play {played_text}: "
                f"{', '.join(map(printable, faulty_names))}; export it again"
            )
        else:
            print(f"{model}: {recording_count} recordings play {played_text}")
    path_passes = True
    if loaded_model.card.learned_path is not None:
        path_verdict = LearnedPath(loaded_model).verify()
        path_passes = path_verdict.passed
        print(
            f"{model}: its learned path {'passes' if path_passes else 'FAILS'}: off by {path_verdict.difference:.2e}, "
            f"{path_verdict.tolerance:.0e} allowed, {path_verdict.points} numbers"
        )
    if verdict_word != "passes" or faulty_names or not path_passes:
        raise typer.Exit(1)


@commands.command()
def presets() -> None:
    """List the presets that ship with their program numbers, your own, earlier ones, and models without a preset."""
    from ..model.model import Model
    from ..preset.loading import described_presets
    from ..preset.shipped import preset_names, shipped_models

    warn(missing_preset_folder())
    program_numbers = {name: number for number, name in enumerate(preset_names(), 1)}
    preset_entries = list(described_presets())
    model_files = {name: path for name, path in shipped_models().items() if name not in program_numbers}
    name_width = max(map(len, [*program_numbers, *model_files]))
    print(f"{'preset':<{name_width}}  program  description")
    for origin, name, description in preset_entries:
        print(f"{name:<{name_width}}  {program_numbers[name]:>7}  {'(your own) ' * (origin == 'own')}{description}")
    print(f"\n{'model':<{name_width}}  {'':>7}  description")
    for name, path in model_files.items():
        print(f"{name:<{name_width}}  {'':>7}  {Model(path).card.description}")


@commands.command()
def get(
    url: Annotated[
        str, typer.Argument(help="A pack: https://…/NAME.timbrel#sha256=…, hf:OWNER/REPOSITORY, or a file.")
    ],
    overwrite: Overwrite = False,
    trust: Trust = False,
) -> None:
    """Fetch a pack, or take its file; prove it, and keep it among your presets."""
    from ..preset.fetched_packs import arrive
    from ..progress import Display

    with Display() as display:
        display.stage("fetching")
        kept_pack = arrive(url, overwrite, display.update, trust)
    print(f"{kept_pack.file}: {kept_pack.description}")
    print(f"licence: {kept_pack.licence}")
    print(f"next: timbrel play {shlex.quote(kept_pack.name)}")
