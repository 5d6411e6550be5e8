"""docs/presets.md is right: its example plays, and no key is missing."""

import re
import tomllib
from pathlib import Path

import pytest
import timbrel
from timbrel.host.kinds.clip import ClipSettings, KeySettings
from timbrel.host.kinds.grain import GrainSettings
from timbrel.host.kinds.stream import StreamSettings
from timbrel.host.play.rack import Rack
from timbrel.host.preset import preset
from timbrel.host.preset.controls import MacroSettings, SnapshotSettings
from timbrel.host.preset.library import open_patch

REFERENCE = (Path(timbrel.__file__).parent / "docs" / "presets.md").read_text(encoding="utf-8")
PARTS = {
    "The top of the file": preset.Preset,
    "[latent]": preset.LatentSettings,
    "[play]": preset.PlaySettings,
    "[grain]": GrainSettings,
    "[clip]": ClipSettings,
    "[stream]": StreamSettings,
    "[[keys]]": KeySettings,
    "[envelope]": preset.EnvelopeSettings,
    "[mpe]": preset.MpeSettings,
    "[tuning]": preset.TuningSettings,
    "[morph]": preset.MorphSettings,
    "[[cc]]": preset.CCMap,
    "[[macro]]": MacroSettings,
    "[[motion]]": preset.MotionSettings,
    "[[note]]": preset.NoteSettings,
    "[[snapshot]]": SnapshotSettings,
}


@pytest.mark.parametrize("heading", PARTS)
def test_every_key_of_a_part_stands_in_its_table(heading):
    section = REFERENCE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    told = {key for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    tables = {field for field in preset.Preset.model_fields if f"[{field}]" in REFERENCE}
    assert told == set(PARTS[heading].model_fields) - (tables if heading == "The top of the file" else set())


def test_the_example_is_a_preset_that_plays(tmp_path):
    lines = REFERENCE.split("\n## ")[0].splitlines()
    text = "\n".join(line.removeprefix("    ") for line in lines if line.startswith("    ") or not line)
    assert tomllib.loads(text)["motion"]
    path = tmp_path / "example.toml"
    path.write_text(text)
    assert Rack({0: open_patch(str(path))}, 48000).process([], 64)[0].shape == (2, 64)
