"""Text of TOML files: byte-order marks, other encodings, and keys that a parser would take minutes for."""

import codecs
import re

from .errors import UserError

MOST_PARTS = 100  # of a dotted key: the parser's time grows with their square; presets have four
BEGINNING = 20  # bytes; in UTF-16 each other one of a key is zero
KEY = r"(?:[\w-]++|\"[^\"\n]*+\"|'[^'\n]*+')"
LONG_KEY = re.compile(rf"(?<![\w-]){KEY}(?:[ \t]*+\.[ \t]*+{KEY}){{{MOST_PARTS}}}")


def toml_text(data: bytes, name: str) -> str:
    """Decode UTF-8 with or without a byte-order mark; ``name`` is that of messages, such as "preset /a/b.toml".

    Raises:
        UserError: another encoding, or as `check_keys`.
    """
    zeros = data[:BEGINNING].count(0)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 2 * zeros >= len(data[:BEGINNING]) > 1:
        raise UserError(f"{name} is text in UTF-16; save it as UTF-8")
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise UserError(
            f"{name} is not UTF-8 in line {line} (byte {byte:#x}, {bytes([byte]).decode('latin-1')!r} in Latin-1); "
            "save it as UTF-8"
        ) from None
    check_keys(text, name)
    return text


def check_keys(text: str, name: str) -> None:
    """Raise UserError for a dotted key of more than `MOST_PARTS` parts."""
    if long_key := LONG_KEY.search(text):
        line = text.count("\n", 0, long_key.start()) + 1
        raise UserError(f"{name} is not TOML in line {line}: a key has more than {MOST_PARTS} parts")
