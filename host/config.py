"""The user's configuration file: defaults of options, and the folder of presets. Light import."""

import functools
import os
import tomllib
from pathlib import Path
from typing import Any

from .errors import UserError, nearest
from .files import read_regular
from .toml_text import toml_text

LARGEST = 1 << 16  # bytes
KNOWN: dict[str, dict[str, type]] = {
    "play": {"device": str, "rate": int, "block": int, "midi_port": list, "midi_api": str, "lowest_latency": bool},
    "presets": {"folder": str},
}
NAMES = {str: "a text in quotes", int: "a whole number", list: "a list of texts", bool: "true or false"}


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
    try:
        told = tomllib.loads(toml_text(read_regular(path, LARGEST), str(path)))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}; make it readable, or remove it") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not TOML: {error}") from None
    for table, entries in told.items():
        if table not in KNOWN or not isinstance(entries, dict):
            raise UserError(f"{path}: unknown table [{table}]{nearest(table, KNOWN)}")
        for name, value in entries.items():
            if name not in KNOWN[table]:
                raise UserError(f"{path}: unknown key {table}.{name}{nearest(name, KNOWN[table])}")
            kind = KNOWN[table][name]
            if type(value) is not kind or (isinstance(value, list) and not all(isinstance(one, str) for one in value)):
                raise UserError(f"{path}: {table}.{name} = {value!r} should be {NAMES[kind]}")
    return told
