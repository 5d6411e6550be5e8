"""The user's configuration file and folders, and the text of TOML files. Light import."""

import codecs
import functools
import os
import re
import tomllib
from pathlib import Path
from typing import Any

from .errors import UserError, nearest
from .files import read_regular

MOST_PARTS = 100  # of a dotted key: the parser's time grows with their square; presets have four
BEGINNING = 20  # bytes; in UTF-16 each other one of a key is zero
KEY = r"(?:[\w-]++|\"[^\"\n]*+\"|'[^'\n]*+')"
LONG_KEY = re.compile(rf"(?<![\w-]){KEY}(?:[ \t]*+\.[ \t]*+{KEY}){{{MOST_PARTS}}}")


def toml_text(data: bytes, name: str) -> str:
    """Decode UTF-8 with or without a byte-order mark; ``name`` is that of messages, such as "preset /a/b.toml".

    Raises:
        UserError: another encoding, or as `check_keys`.
    """
    zero_count = data[:BEGINNING].count(0)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 2 * zero_count >= len(data[:BEGINNING]) > 1:
        raise UserError(f"{name} is text in UTF-16; save it as UTF-8")
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line_number = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise UserError(
            f"{name} is not UTF-8 in line {line_number} (byte {byte:#x}, "
            f"{bytes([byte]).decode('latin-1')!r} in Latin-1); save it as UTF-8"
        ) from None
    check_keys(text, name)
    return text


def check_keys(text: str, name: str) -> None:
    """Raise UserError for a dotted key of more than `MOST_PARTS` parts."""
    if long_key_match := LONG_KEY.search(text):
        line_number = text.count("\n", 0, long_key_match.start()) + 1
        raise UserError(f"{name} is not TOML in line {line_number}: a key has more than {MOST_PARTS} parts")


LARGEST_BYTES = 1 << 16  # bytes
KEY_TYPES: dict[str, dict[str, type]] = {
    "play": {"device": str, "rate": int, "block": int, "midi_port": list, "midi_api": str, "lowest_latency": bool},
    "presets": {"folder": str},
}
TYPE_NAMES = {str: "a text in quotes", int: "a whole number", list: "a list of texts", bool: "true or false"}


def config_file() -> Path:
    """The file may not exist."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or "")  # which counts only if absolute, says its specification
    return (folder if folder.is_absolute() else Path.home() / ".config") / "timbrel" / "config.toml"


def configured(table: str, name: str) -> Any:
    """A value of the configuration file.

    Raises:
        UserError: the file cannot be read, is not TOML, or has unknown keys or values of another type.
    """
    return _read(config_file()).get(table, {}).get(name)


@functools.cache
def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the checked tables of a configuration file; none if it is missing."""
    try:
        tables = tomllib.loads(toml_text(read_regular(path, LARGEST_BYTES), str(path)))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; make it readable, or remove it") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not TOML: {error}") from None
    for table_name, entries in tables.items():
        if table_name not in KEY_TYPES or not isinstance(entries, dict):
            raise UserError(f"{path}: unknown table [{table_name}]{nearest(table_name, KEY_TYPES)}")
        for key, value in entries.items():
            if key not in KEY_TYPES[table_name]:
                raise UserError(f"{path}: unknown key {table_name}.{key}{nearest(key, KEY_TYPES[table_name])}")
            expected_type = KEY_TYPES[table_name][key]
            if type(value) is not expected_type or (
                isinstance(value, list) and not all(isinstance(element, str) for element in value)
            ):
                raise UserError(f"{path}: {table_name}.{key} = {value!r} should be {TYPE_NAMES[expected_type]}")
    return tables


def own_folder(name: str) -> Path:
    """Folder ``presets``, ``models``, ``packs`` or ``recordings``, which may not exist yet.

    Raises:
        UserError: as `configured`, which may name the folder of presets.
    """
    if name == "presets" and (folder_setting := configured("presets", "folder")) is not None:
        try:
            folder = Path(folder_setting).expanduser()
        except RuntimeError:  # of ~ and an unknown user
            folder = Path()
        if not folder.is_absolute() or "\0" in folder_setting:
            raise UserError(
                f"{config_file()}: presets.folder = {folder_setting!r} should be a full path, or begin with ~/"
            )
        return folder
    data_folder = Path(os.environ.get("XDG_DATA_HOME") or "")  # which counts only if absolute, says its specification
    return (data_folder if data_folder.is_absolute() else Path.home() / ".local/share") / "timbrel" / name


def missing_preset_folder() -> list[str]:
    """A line if the configuration file names a folder of presets that does not exist; UserError as `own_folder`."""
    folder = own_folder("presets")
    try:
        if configured("presets", "folder") is None or folder.is_dir():
            return []
    except OSError:  # it may be there: the commands that read it say why they cannot
        return []
    return [f"{config_file()}: presets.folder = {str(folder)!r} is no folder; create it, or name another"]
