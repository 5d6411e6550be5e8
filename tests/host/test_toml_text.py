"""TOML files in other encodings, and keys that parsers take minutes for."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.host import config
from timbrel.host.config import MOST_PARTS, check_keys, toml_text
from timbrel.host.errors import UserError
from timbrel.host.preset.library import open_patch, read_controller
from timbrel.host.preset.loading import read_preset
from timbrel.train.families.recipes import load_recipe

LONG = ".".join(["a"] * 10_000) + " = 1\n"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_utf_8_is_read_as_it_is_and_a_byte_order_mark_is_no_part_of_it(text):
    text = text.removeprefix("\ufeff").replace(".", "")
    assert toml_text(text.encode(), "x") == toml_text(codecs.BOM_UTF8 + text.encode(), "x") == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
def test_utf_16_is_named(encoding):
    with pytest.raises(UserError, match="preset x is text in UTF-16; save it as UTF-8"):
        toml_text('format = 1\nname = "Flöte"'.encode(encoding), "preset x")


def test_latin_1_is_named_with_its_line_and_letter():
    with pytest.raises(UserError, match=r"is not UTF-8 in line 2 \(byte 0xf6, 'ö' in Latin-1\); save it as UTF-8"):
        toml_text('format = 1\nname = "Flöte"'.encode("latin-1"), "preset x")


@pytest.mark.parametrize(
    "text", [LONG, f"x = 1\n[{LONG.split(' ')[0]}]", LONG.replace("a", '"a b"').replace(".", " . ")]
)
def test_keys_of_more_parts_than_a_preset_needs_are_refused_at_once(text):
    with pytest.raises(UserError, match=rf"is not TOML in line [12]: a key has more than {MOST_PARTS} parts"):
        check_keys(text, "preset x")


@pytest.mark.parametrize(
    "text", ["a" * 1_000_000, "a " * 500_000, '"' * 1_000_000, "a." * 40 + "b = 1", "x = 1.5\n" * 10_000]
)
def test_other_texts_are_looked_through_at_once(text):
    check_keys(text, "preset x")


@pytest.fixture
def readers(tmp_path, tiny_path, monkeypatch):
    """Functions that read a TOML file of each sort, with a text that suits it."""
    (tmp_path / "m.onnx").write_bytes(tiny_path().read_bytes())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(config, "config_file", lambda: tmp_path / "made.toml")
    config._read.cache_clear()
    return {
        "preset": (open_patch, 'format = 1\nmodel = "m.onnx"\n'),
        "controller": (read_controller, 'name = "box"\nsource = "its manual"\n'),
        "configuration": (lambda path: config.configured("play", "device"), '[play]\ndevice = "ö"\n'),
        "recipe": (load_recipe, 'base = "tuned-8"\n'),
    }


@pytest.mark.parametrize("sort", ["preset", "controller", "configuration", "recipe"])
def test_every_sort_of_file_may_have_a_mark_and_no_endless_key(readers, tmp_path, sort):
    read, text = readers[sort]
    path = tmp_path / "made.toml"
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    read(str(path))
    for data, words in ((LONG.encode(), "a key has more than"), (text.encode("utf-16"), "UTF-16; save it as UTF-8")):
        path.write_bytes(data)
        config._read.cache_clear()
        with pytest.raises(UserError, match=words) as caught:
            read(str(path))
        assert str(path) in str(caught.value)


def test_an_unsaved_preset_has_no_endless_key_either(tmp_path):
    with pytest.raises(UserError, match="a key has more than"):
        read_preset(tmp_path / "draft.toml", LONG)
