"""The list of presets, and names that try to lead elsewhere."""

from pathlib import Path

import pytest
from timbrel.host.errors import UserError
from timbrel.host.panel.presets import Presets
from timbrel.host.shelf import shipped_presets

from .fakes import TEXT


@pytest.fixture
def presets(tmp_path):
    (tmp_path / "pad.toml").write_text(TEXT)
    return Presets(tmp_path, tmp_path)


def test_the_list_has_the_folders_presets_before_those_that_ship_and_passes_over_what_is_none(presets):
    (presets.folder / "notes.toml").write_text("[[x]]")
    (presets.folder / "broken.toml").write_text("= 3")
    (presets.folder / "binary.toml").write_bytes(b"\xff\xfe")
    (presets.folder / "folder.toml").mkdir()
    listed = presets.listed()
    assert [one.name for one in listed] == ["pad", *shipped_presets()]
    assert (listed[0].description, listed[0].shipped, listed[0].fits) == ("a pad", False, False)  # it has no model
    assert all(one.shipped and one.fits for one in listed[1:])


def test_what_ships_is_kept_at_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = shipped_presets()["gm-keys"].parent
    for folder, home in ((shipped, tmp_path), (shipped, Path()), (Path(), tmp_path.parent)):
        assert Presets(folder, home).save("mine", TEXT, overwrite=True) == tmp_path / "mine.toml"
    (tmp_path / "home").mkdir()
    assert Presets(shipped, tmp_path / "home").save("mine", TEXT, overwrite=False) == tmp_path / "home" / "mine.toml"


@pytest.mark.parametrize("name", ["mine", "mine.toml", " mine ", "Stück 2 + b", "a.b", "Ω"])
def test_a_name_is_a_file_in_the_folder(presets, name):
    path = presets.save(name, TEXT, overwrite=False)
    assert path.parent == presets.folder
    assert path.suffix == ".toml"
    assert path.read_text() == TEXT


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../mine", "a/b", "a\\b", "/etc/mine", "C:mine", ".hidden", "nul", "COM1.x", "a\nb", "a\0b"),
        *("-rf", "a*", "~root", "a" * 65, "mine .toml/..", "\u202emine"),
    ],
)
def test_no_name_leads_out_of_the_folder_or_means_something_to_a_system(presets, name):
    before = sorted(presets.folder.parent.rglob("*"))
    with pytest.raises(UserError, match="is no name"):
        presets.save(name, TEXT, overwrite=True)
    assert sorted(presets.folder.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["gm-keys", "gm-chroma-8"])
def test_what_ships_is_never_replaced_nor_hidden(presets, name):
    with pytest.raises(UserError, match="ships"):
        presets.save(name, TEXT, overwrite=True)


def test_a_file_that_is_there_is_replaced_only_where_that_was_said_and_a_link_is_not_followed(presets, tmp_path):
    with pytest.raises(UserError, match="exists"):
        presets.save("pad", "format = 1", overwrite=False)
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.write_text("mine")
    (tmp_path / "link.toml").symlink_to(elsewhere)
    presets.save("link", TEXT, overwrite=True)
    assert elsewhere.read_text() == "mine"
    assert (tmp_path / "link.toml").read_text() == TEXT
