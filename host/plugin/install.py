"""Installs and uninstalls compiled plugins in the folders that hosts search, with presets for LV2 and CLAP browsers."""

import json
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from ..errors import Failure, UserError
from ..files import remove_at_once, replacing_folder
from ..preset.user_presets import described_presets
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
    names, data = [PREFIXES], [PREFIXES]
    for _, name, description in described_presets():
        subject = f"<urn:timbrel:preset:{quote(name)}>"
        names.append(f"{subject}\n\ta pset:Preset ;\n\tlv2:appliesTo <{PLUGIN}> ;\n\trdfs:seeAlso <presets.ttl> .\n")
        data.append(
            f"{subject}\n\ta pset:Preset ;\n\tlv2:appliesTo <{PLUGIN}> ;\n\trdfs:label {_text(name)} ;\n"
            f"\trdfs:comment {_text(description)} ;\n\tstate:state [ <{NAME}> {_text(name)} ] .\n"
        )
    with (bundle / "manifest.ttl").open("a", encoding="utf-8") as manifest:
        manifest.write("\n".join(names))
    (bundle / "presets.ttl").write_text("\n".join(data), encoding="utf-8")


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


LIST = "presets"  # as in native/clap_presets.c


def list_presets(folder: Path) -> None:
    """Lines of ``shipped`` or ``own``, name and description, separated by tabs."""
    rows = [[kind, name, " ".join(description.split())] for kind, name, description in described_presets()]
    (folder / LIST).write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


def install() -> list[Bundle]:
    """Copy each built plugin into the user's folder of its format; return the installed ones.

    Replaces each folder as a whole. A running host keeps the old binary.

    Raises:
        UserError: no plugin is built, or a folder of that name is not ours and stays.
        Failure: a folder cannot be written.
    """
    built = [bundle for bundle in bundles() if bundle.built_binary.is_file()]
    if not built:
        raise UserError(f"no plugin is built that could be installed: {how_to_build()}")
    for bundle in built:
        _check_place(bundle)
    for bundle in built:
        _install(bundle)
    return built


def uninstall() -> list[Bundle]:
    """Remove and return the plugins that `install` installed; Failure if one cannot be removed."""
    ours = [bundle for bundle in bundles() if bundle.is_ours]
    for bundle in ours:
        remove_at_once(bundle.installed)
    return ours


def _check_place(bundle: Bundle) -> None:
    place = bundle.installed
    if (place.exists() or place.is_symlink()) and not bundle.is_ours:
        raise UserError(f"{place} was not put there by 'timbrel plugin install'; remove it, or give it another name")


def _install(bundle: Bundle) -> None:
    try:
        bundle.installed.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"cannot make {bundle.installed.parent}: {error.strerror}; nothing was put there") from None
    with replacing_folder(bundle.installed) as folder:
        if bundle.built.is_dir():
            shutil.copytree(bundle.built, folder, copy_function=shutil.copy, dirs_exist_ok=True)
        else:
            shutil.copy(bundle.built, folder)
        interpreter = Path(sys.executable).absolute()  # not resolved: the link identifies a virtual environment
        (folder / bundle.binary).with_name(INTERPRETER).write_text(f"{interpreter}\n", encoding="utf-8")
        if bundle.format == "LV2":
            add_presets(folder)
        if bundle.format == "CLAP":
            list_presets(folder)
