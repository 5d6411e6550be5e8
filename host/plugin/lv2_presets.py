"""LV2 presets: adds shipped and user presets to the LV2 bundle."""

import json
from pathlib import Path
from urllib.parse import quote

from ..patch.user_presets import described_presets

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
