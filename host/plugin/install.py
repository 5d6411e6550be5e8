"""Installs and uninstalls compiled plugins in the folders that hosts search, with presets for LV2 and CLAP browsers."""

import json
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from ..errors import Failure, UserError
from ..files import remove_at_once, replacing_folder
from ..preset.loading import described_presets
from .bundles import INTERPRETER, Bundle, bundles, how_to_build

PLUGIN = "urn:timbrel:instrument"  # as in native/manifest.ttl
NAME = f"{PLUGIN}#preset"  # the property that carries a preset's name to native/lv2.c
PREFIXES = """
@prefix lv2: <http://lv2plug.in/ns/lv2core#> .
@prefix pset: <http://lv2plug.in/ns/ext/presets#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix state: <http://lv2plug.in/ns/ext/state#> .
"""


def add_presets(bundle: Path) -> None:
    """Add presets to the manifest, their data to presets.ttl."""
    manifest_texts, preset_texts = [PREFIXES], [PREFIXES]
    for _, name, description in described_presets():
        preset_uri = f"<urn:timbrel:preset:{quote(name)}>"
        manifest_texts.append(
            f"{preset_uri}\n\ta pset:Preset ;\n\tlv2:appliesTo <{PLUGIN}> ;\n\trdfs:seeAlso <presets.ttl> .\n"
        )
        preset_texts.append(
            f"{preset_uri}\n\ta pset:Preset ;\n\tlv2:appliesTo <{PLUGIN}> ;\n\trdfs:label {_text(name)} ;\n"
            f"\trdfs:comment {_text(description)} ;\n\tstate:state [ <{NAME}> {_text(name)} ] .\n"
        )
    with (bundle / "manifest.ttl").open("a", encoding="utf-8") as manifest_file:
        manifest_file.write("\n".join(manifest_texts))
    (bundle / "presets.ttl").write_text("\n".join(preset_texts), encoding="utf-8")


def _text(text: str) -> str:
    """A string of Turtle, quoted."""
    return json.dumps(text, ensure_ascii=False)


LIST = "presets"  # as in native/clap_presets.c


def list_presets(folder: Path) -> None:
    """Lines of ``shipped`` or ``own``, name and description, separated by tabs."""
    preset_rows = [[origin, name, " ".join(description.split())] for origin, name, description in described_presets()]
    (folder / LIST).write_text("".join("\t".join(row) + "\n" for row in preset_rows), encoding="utf-8")


def install() -> list[Bundle]:
    """Copy each built plugin into the user's folder of its format; return the installed ones.

    Replaces each folder as a whole. A running host keeps the old binary.

    Raises:
        UserError: no plugin is built, or a folder of that name is not ours and stays.
        Failure: a folder cannot be written.
    """
    built_bundles = [bundle for bundle in bundles() if bundle.built_binary.is_file()]
    if not built_bundles:
        raise UserError(f"no plugin is built that could be installed: {how_to_build()}")
    for bundle in built_bundles:
        _check_place(bundle)
    for bundle in built_bundles:
        _install(bundle)
    return built_bundles


def uninstall() -> list[Bundle]:
    """Remove and return the plugins that `install` installed; Failure if one cannot be removed."""
    our_bundles = [bundle for bundle in bundles() if bundle.is_ours]
    for bundle in our_bundles:
        remove_at_once(bundle.installed)
    return our_bundles


def _check_place(bundle: Bundle) -> None:
    """Raise UserError if the install folder is not ours."""
    install_folder = bundle.installed
    if (install_folder.exists() or install_folder.is_symlink()) and not bundle.is_ours:
        raise UserError(
            f"{install_folder} was not put there by 'timbrel plugin install'; remove it, or give it another name"
        )


def _install(bundle: Bundle) -> None:
    """Copy a built bundle, its interpreter's path and its presets to the install folder."""
    try:
        bundle.installed.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"cannot make {bundle.installed.parent}: {error.strerror}; nothing was put there") from None
    with replacing_folder(bundle.installed) as new_folder:
        if bundle.built.is_dir():
            shutil.copytree(bundle.built, new_folder, copy_function=shutil.copy, dirs_exist_ok=True)
        else:
            shutil.copy(bundle.built, new_folder)
        interpreter_path = Path(sys.executable).absolute()  # not resolved: the link identifies a virtual environment
        (new_folder / bundle.binary).with_name(INTERPRETER).write_text(f"{interpreter_path}\n", encoding="utf-8")
        if bundle.format == "LV2":
            add_presets(new_folder)
        if bundle.format == "CLAP":
            list_presets(new_folder)
