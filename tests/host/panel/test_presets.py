"""The list of presets, and names that try to lead elsewhere."""

import os
from pathlib import Path

import pytest
from timbrel.host.errors import UserError
from timbrel.host.panel import presets as folder_module
from timbrel.host.panel.presets import PresetFolder
from timbrel.host.preset.library import open_patch
from timbrel.host.preset.shipped import current_presets, earlier_presets, shipped_presets

from .fakes import TEXT


@pytest.fixture
def presets(tmp_path):
    (tmp_path / "pad.toml").write_text(TEXT)
    return PresetFolder(tmp_path, tmp_path)


def test_the_list_has_the_folders_presets_before_those_that_ship_and_passes_over_what_is_none(presets):
    (presets.folder / "notes.toml").write_text("[[x]]")
    (presets.folder / "broken.toml").write_text("= 3")
    (presets.folder / "binary.toml").write_bytes(b"\xff\xfe")
    (presets.folder / "folder.toml").mkdir()
    listed = presets.listed()
    assert [one.name for one in listed] == ["pad", *current_presets(), *earlier_presets()]
    assert (listed[0].description, listed[0].shipped, listed[0].fits) == ("a pad", False, False)  # it has no model
    assert all(one.shipped and one.fits for one in listed[1:])


def test_a_list_that_is_asked_for_a_thousand_times_is_read_once_a_second_and_after_changes(presets, monkeypatch):
    now, read = [100.0], []
    monkeypatch.setattr(folder_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(folder_module, "shipped_presets", lambda: read.append(now[0]) or {})
    for names in ("current_presets", "earlier_presets"):
        monkeypatch.setattr(folder_module, names, dict)
    for _ in range(1000):
        assert [one.name for one in presets.listed()] == ["pad"]
    assert len(read) < 10
    (presets.folder / "other.toml").write_text(TEXT)
    os.utime(presets.folder, ns=(0, 1))  # a disk may count in milliseconds
    assert [one.name for one in presets.listed()] == ["other", "pad"]
    (presets.folder / "pad.toml").write_text(TEXT.replace("a pad", "mine"))
    assert presets.listed()[1].description == "a pad"
    now[0] += 1.0
    assert presets.listed()[1].description == "mine"
    presets.save("third", TEXT, False, {})
    assert [one.name for one in presets.listed()] == ["other", "pad", "third"]


def test_what_ships_is_kept_at_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = shipped_presets()["gm-keys"].parent
    for folder, home in ((shipped, tmp_path), (shipped, Path()), (Path(), tmp_path.parent)):
        assert PresetFolder(folder, home).save("mine", TEXT, True, {}) == (tmp_path / "mine.toml", TEXT)
    (tmp_path / "home").mkdir()
    assert PresetFolder(shipped, tmp_path / "home").save("mine", TEXT, False, {})[0] == tmp_path / "home" / "mine.toml"


@pytest.mark.parametrize("name", ["mine", "mine.toml", " mine ", "Stück 2 + b", "a.b", "Ω"])
def test_a_name_is_a_file_in_the_folder(presets, name):
    path, _ = presets.save(name, TEXT, False, {})
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
def test_no_name_leads_out_of_the_folder_or_means_something_to_a_system(tmp_path, name):
    (home := tmp_path / "home").mkdir()
    with pytest.raises(UserError, match="is no name"):
        PresetFolder(home, home).save(name, TEXT, True, {})
    assert list(tmp_path.rglob("*")) == [home]


@pytest.mark.parametrize("name", ["gm-keys", "gm-chroma-8"])
def test_what_ships_is_never_replaced_nor_hidden(presets, name):
    with pytest.raises(UserError, match="ships"):
        presets.save(name, TEXT, True, {})


def test_a_file_that_is_there_is_replaced_only_where_that_was_said_and_a_link_is_not_followed(presets, tmp_path):
    with pytest.raises(UserError, match="exists"):
        presets.save("pad", "format = 1", False, {})
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.write_text("mine")
    (tmp_path / "link.toml").symlink_to(elsewhere)
    presets.save("link", TEXT, True, {})
    assert elsewhere.read_text() == "mine"
    assert (tmp_path / "link.toml").read_text() == TEXT


def text_of(*names):
    """A preset that names a model, and other files of an effect each."""
    effects = "".join(f'[[effects]]\nplugin = "Convolution"\nimpulse = "{name}" # {name}\n' for name in names[1:])
    return f'format = 1\ndescription = "{names[0]}"\nmodel = "{names[0]}"\n{effects}'


def test_what_lies_nowhere_is_laid_beside_and_takes_no_other_files_place(presets, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"another")
    (tmp_path / "hall.wav").write_bytes(b"hall")
    (tmp_path / "link.wav").symlink_to(tmp_path / "nowhere")
    files = {"model.onnx": b"mine", "hall.wav": b"hall", "far.toml": b"far", "link.wav": b"link", "unnamed": b"unnamed"}
    before = {path.name for path in tmp_path.iterdir()}
    path, text = presets.save("far", text_of("model.onnx", "hall.wav", "far.toml", "link.wav"), False, files)
    assert text.startswith('format = 1\ndescription = "model.onnx"\nmodel = "model-2.onnx"\n')
    assert '"hall.wav" # hall.wav\n' in text
    assert '"far-2.toml" # far.toml\n' in text
    assert path.read_text() == text
    laid = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name not in before | {"far.toml"}}
    assert laid == {"model-2.onnx": b"mine", "far-2.toml": b"far", "link-2.wav": b"link"}
    assert (tmp_path / "model.onnx").read_bytes() == b"another"
    assert not (tmp_path / "nowhere").exists()
    again = presets.save("far", text_of("model.onnx"), True, {"model.onnx": b"mine"})
    assert again == (path, text_of("model.onnx").replace('model = "model.onnx"', 'model = "model-2.onnx"'))


def test_a_file_whose_name_leads_elsewhere_or_is_a_model_that_ships_gets_another(presets, tmp_path):
    names = {"../out.onnx": "file", "a/b": "file-2", ".hidden": "file-3", "nul": "file-4"}
    names |= {"gm-chroma-8": "gm-chroma-8.onnx"}
    for name, laid in names.items():
        _, text = presets.save("mine", text_of(name), True, {name: name.encode()})
        assert f'\nmodel = "{laid}"\n' in text
        assert (tmp_path / laid).read_bytes() == name.encode()
    assert not (tmp_path.parent / "out.onnx").exists()


def test_where_the_preset_cannot_be_written_nothing_is_laid_beside(presets, tmp_path):
    (tmp_path / "mine.toml").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="is a folder"):
        presets.save("mine", text_of("model.onnx"), True, {"model.onnx": b"mine"})
    assert sorted(tmp_path.iterdir()) == before


def test_the_list_says_the_kind_of_each_model_without_its_weights(presets, tmp_path, monkeypatch):
    kinds = {one.name: one.kind for one in presets.listed()}
    assert kinds["pad"] == ""  # it has no model
    expected = {
        name: open_patch(name).model.card.kind for name in ("gm-keys", "drum-kit", "lakeside-walk", "drum-loops")
    }
    assert expected.items() <= kinds.items()
    (tmp_path / "tiny.onnx").write_bytes(b"\xff" * 40)
    (tmp_path / "none.onnx").write_bytes(b"")
    (tmp_path / "none.toml").write_text(TEXT.replace("tiny", "none"))
    assert [one.kind for one in presets.listed()[:2]] == ["", ""]


def test_favourites_are_kept_for_the_user_and_not_in_the_presets(presets, tmp_path):
    presets.favour("gm-hall", True)
    presets.favour("pad", True)
    presets.favour("gm-hall", False)
    for folder in (presets, PresetFolder(tmp_path, tmp_path)):
        assert [one.name for one in folder.listed() if one.favourite] == ["pad"]
    assert (tmp_path / "pad.toml").read_text() == TEXT
    with pytest.raises(UserError, match="no preset of the list"):
        presets.favour("../pad", True)
