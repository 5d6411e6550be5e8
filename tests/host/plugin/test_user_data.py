"""The user's own presets are in the lists of all formats."""

from pathlib import Path

import numpy as np
import pytest
from timbrel.host.config import own_folder
from timbrel.host.plugin.bundles import add_presets
from timbrel.host.plugin.project import unpack
from timbrel.host.preset.shipped import MODELS, own_presets, shipped_presets

from .fake import FakePlugin

TEXT = 'format = 1\nmodel = "{model}"\ndescription = "of my own"\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's folder of presets, with a file, an instrument that `timbrel make` wrote, and what is no preset."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    own = tmp_path / "timbrel" / "presets"
    (own / "violin").mkdir(parents=True)
    (own / "violin" / "violin.onnx").write_bytes((MODELS / "lakeside-10.onnx").read_bytes())
    (own / "violin" / "preset.toml").write_text(TEXT.format(model="violin.onnx"))
    (own / "mine.toml").write_text(TEXT.format(model="gm-chroma-8"))
    (own / "gm-keys.toml").write_text(TEXT.format(model="gm-chroma-8"))  # this name ships
    (own / "broken.toml").write_text("model = \n")
    (own / "gone.toml").symlink_to(own / "nowhere")
    (own / "two\nlines.toml").write_text(TEXT.format(model="gm-chroma-8"))
    (own / "notes.txt").write_text("notes")
    (own / "empty").mkdir()
    return own


def test_the_list_has_files_and_instruments_and_nothing_else(folder, monkeypatch, tmp_path):
    assert own_presets() == {"mine": folder / "mine.toml", "violin": folder / "violin" / "preset.toml"}
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))
    assert own_presets() == {}


def test_a_plugin_lists_own_presets_after_those_that_ship_and_plays_them_by_number_and_by_name(folder):
    plugin = FakePlugin()
    plugin.listen(lambda: plugin.ready and plugin.presets)
    assert plugin.presets == [*shipped_presets(), "mine", "violin"]
    plugin.reset()
    plugin.choose(0, plugin.presets.index("violin") + 1)
    plugin.midi(0, 0x90, 60, 100)
    assert np.abs(plugin.block(8192)).max() > 0.01
    state = unpack(plugin.save())
    assert (state.preset.name, list(state.preset.files)) == ("violin", ["violin.onnx"])
    (folder / "mine.toml").write_text("format = 1\nmodel = 3\n")  # a list is made where an instance begins
    plugin.load("mine")
    plugin.listen(lambda: plugin.said)
    assert "mine.toml" in plugin.said[0]
    assert "should be a valid string" in plugin.said[0]  # the user's own: the message says all
    assert unpack(plugin.save()) == state
    assert plugin.close() == 0


def test_lv2_presets_have_the_users_own(folder, tmp_path):
    (tmp_path / "manifest.ttl").touch()
    add_presets(tmp_path)
    assert "<urn:timbrel:preset:violin>" in (tmp_path / "manifest.ttl").read_text()
    told = (tmp_path / "presets.ttl").read_text()
    assert 'rdfs:label "mine" ;\n\trdfs:comment "of my own"' in told
    assert told.count("pset:Preset") == len(shipped_presets()) + 2


@pytest.mark.parametrize("data", ["", "relative", "/absolute"])
def test_the_folder_is_where_the_user_has_data_which_a_relative_name_does_not_say(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", data)
    assert (
        own_folder("presets") == (Path(data) if data == "/absolute" else tmp_path / ".local/share") / "timbrel/presets"
    )
