"""What ships is among an LV2 host's presets, as lilv's own tools see it."""

import os
import re
import shutil
import subprocess

import pytest
from timbrel.host.plugin.bundles import NAME, NATIVE, PLUGIN, add_presets
from timbrel.host.preset.loading import read_preset
from timbrel.host.preset.shipped import shipped_presets

pytestmark = pytest.mark.skipif(not shutil.which("lv2info"), reason="needs lv2info: Debian's lilv-utils")


@pytest.fixture
def bundle(tmp_path):
    """The LV2 bundle as the compiler leaves it, without its binary, which no tool here loads."""
    folder = tmp_path / "timbrel.lv2"
    folder.mkdir()
    for name in ("manifest.ttl", "timbrel.ttl"):
        shutil.copy(NATIVE / name, folder / name)
    return folder


def ask(tmp_path, *command):
    """What a tool of lilv's prints of the plugins in a folder."""
    done = subprocess.run(
        command, env=os.environ | {"LV2_PATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


def listed(tmp_path):
    """The names of the plugin's presets, as a host lists them."""
    found = re.search(r"\tPresets: *\n((?:\t+ .*\n)*)", ask(tmp_path, "lv2info", PLUGIN))
    return sorted(line.strip() for line in found.group(1).splitlines())


def test_a_host_lists_every_shipped_preset_by_its_name(bundle, tmp_path):
    assert listed(tmp_path) == []
    add_presets(bundle)
    assert listed(tmp_path) == sorted(shipped_presets())


def test_the_state_of_a_preset_is_its_name_by_the_property_that_the_plugin_reads(bundle):
    add_presets(bundle)
    assert f'"{NAME.removeprefix(PLUGIN)}"' in (NATIVE / "lv2.c").read_text()
    for name in shipped_presets():
        assert f'state:state [ <{NAME}> "{name}" ]' in (bundle / "presets.ttl").read_text()


def test_a_preset_that_is_told_of_in_any_words_leaves_the_others_readable(bundle, tmp_path, monkeypatch):
    odd = 'quotes "and" \\ back, é\nand lines, <angles> .'
    monkeypatch.setattr(
        "timbrel.host.preset.loading.read_preset",
        lambda path: read_preset(path).model_copy(update={"description": odd}),
    )
    monkeypatch.setattr(
        "timbrel.host.preset.loading.current_presets",
        lambda: {'my <own> "keys" %': shipped_presets()["gm-keys"], "gm-pad": shipped_presets()["gm-pad"]},
    )
    monkeypatch.setattr("timbrel.host.preset.loading.earlier_presets", dict)
    add_presets(bundle)
    assert listed(tmp_path) == ["gm-pad", 'my <own> "keys" %']
