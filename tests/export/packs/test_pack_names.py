"""Presets that are saved from a pack keep its model, by the pack's digest."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import timbrel
from timbrel.export.pack import pack
from timbrel.host.errors import UserError
from timbrel.host.panel.presets import PresetFolder
from timbrel.host.play.rack import ChannelInstrument
from timbrel.host.preset.learn import learn
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import own_presets
from timbrel.host.session.view_builder import view_of_patch

SCALE = "! ten.scl\nten\n 10\n!\n" + "".join(f" {120.0 * step}\n" for step in range(1, 11))
PRESET = 'format = 1\nmodel = "gm-partials-8"\n\n[tuning]\nscale = "ten.scl"\n\n[morph]\nto = "gm-strings"\n'
NOTES = [timbrel.Note(60, 0, 0.4), timbrel.Note(65, 0.2, 0.4)]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    (folder / "mine").mkdir()
    (folder / "mine" / "ten.scl").write_text(SCALE)
    (folder / "mine" / "reed.toml").write_text(PRESET)
    pack(open_patch(str(folder / "mine" / "reed.toml")), folder / "sent.timbrel")
    shutil.rmtree(folder / "mine")
    return folder / "sent.timbrel"


@pytest.fixture
def sent(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the pack, which was not opened before."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return shutil.copy(packed, tmp_path)


def test_a_preset_saved_from_a_pack_sounds_alike_elsewhere_and_leaves_the_pack_alone(
    sent: Path, tmp_path: Path
) -> None:
    patch = open_patch(str(sent))
    view = view_of_patch(str(sent), patch, 0, ChannelInstrument(patch, 44_100).knobs)
    before = view.file.read_bytes() if view.file else b""
    folder = PresetFolder(view.folder, tmp_path)
    assert folder.folder == tmp_path
    path, text = folder.save("copy", view.text + "\n[play]\nvoices = 4\n", False, {})
    assert path == tmp_path / "copy.toml"
    assert re.search(r'model = "pack:[0-9a-f]{64}"', text)
    np.testing.assert_array_equal(timbrel.open(path).render(NOTES), timbrel.open(sent).render(NOTES))
    assert view.file is not None
    assert view.file.read_bytes() == before
    assert [entry.fits for entry in folder.listed() if not entry.shipped] == [True]


def test_a_knob_learnt_on_a_pack_goes_into_a_copy(sent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from timbrel.host.events import ControlChange

    monkeypatch.chdir(tmp_path)
    moves = [(0.1 * value, ControlChange(0, 0, 74, value)) for value in range(0, 127, 8)]
    learn(str(sent), "gain", [*moves, (20.0, None), (40.0, None)], lambda line: None)
    text = (tmp_path / "sent.toml").read_text()
    assert 'target = "gain"' in text
    assert "pack:" in text
    assert 'target = "gain"' not in next((tmp_path / "data").rglob("preset.toml")).read_text()


def test_a_copy_of_a_packed_preset_can_be_packed_again(sent: Path, tmp_path: Path) -> None:
    pack(open_patch(str(sent)), tmp_path / "again.timbrel")
    np.testing.assert_array_equal(
        timbrel.open(tmp_path / "again.timbrel").render(NOTES), timbrel.open(sent).render(NOTES)
    )


def test_a_pack_that_is_not_here_is_named_by_its_digest(sent: Path, tmp_path: Path) -> None:
    for name in ("a" * 64, "../x", "A" * 64):
        (tmp_path / "copy.toml").write_text(f'format = 1\nmodel = "pack:{name}"\n')
        with pytest.raises(UserError, match=r"the pack with the SHA-256 .* is not here; get it"):
            open_patch(str(tmp_path / "copy.toml"))


def test_packs_in_the_users_folder_are_listed_and_opened_by_name(sent: Path, tmp_path: Path) -> None:
    presets = tmp_path / "data" / "timbrel" / "presets"
    presets.mkdir(parents=True)
    shutil.copyfile(sent, presets / "reed.timbrel")
    (presets / "broken.timbrel").write_text("no pack")
    assert list(own_presets()) == ["reed"]
    assert open_patch("reed").name == "sent"
    listed = [entry for entry in PresetFolder(tmp_path, tmp_path).listed() if not entry.shipped]
    assert [(entry.name, entry.fits) for entry in listed] == [("reed", True)]
    assert open_patch(listed[0].path).model.sha256 == open_patch("gm-partials-8").model.sha256
