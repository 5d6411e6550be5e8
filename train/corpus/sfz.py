"""Reads SFZ instruments: the key, velocity and named group of each sample."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...host.errors import UserError
from ...host.files import check_regular
from ...host.units import PITCH_CLASSES
from .file_names import ACCIDENTALS

LARGEST = 1 << 24  # bytes of an .sfz file; the largest known have a few
DEEPEST = 16  # files that include one another
LEVELS = ("control", "global", "master", "group", "region")
NAMES = ("region_label", "group_label", "master_label", "global_label")
NOTE = re.compile(r"([a-g])([#sb]?)(-?\d+)", re.IGNORECASE)
COMMENTS = re.compile(r"//.*?$|/\*.*?\*/", re.MULTILINE | re.DOTALL)
HEADER_OR_OPCODE = re.compile(r"<(\w+)>|([\w$]+)=(.*?)(?=\s+[\w$]+=|\s*<\w+>|\s*$)", re.MULTILINE)
DEFINITION = re.compile(r"^\s*#define\s+(\$\w+)\s+(\S+)\s*$", re.MULTILINE)
INCLUSION = re.compile(r'^\s*#include\s+"([^"]+)"\s*$', re.MULTILINE)


@dataclass(frozen=True)
class SfzSample:
    """``key``: the MIDI note that plays the sample as it is, None if keys do not move it; ``velocity``: the highest."""

    key: int | None
    velocity: int | None
    label: str


def sfz_samples(sources: Sequence[Path]) -> dict[Path, SfzSample | None]:
    """Return the samples of all ``.sfz`` files in folders, by resolved path; None for those of releases.

    The first region of a sample counts. A named group is its label, else the file's name if there are several.

    Raises:
        UserError: a file is not text, too large, or includes itself.
    """
    files = [file for source in sources if source.is_dir() for file in sorted(source.rglob("*.sfz"))]
    found: dict[Path, SfzSample | None] = {}
    for file in files:
        for opcodes in _regions(_text(file)):
            if "sample" not in opcodes or opcodes["sample"].startswith("*"):  # a generator's
                continue
            name = (opcodes.get("default_path", "") + opcodes["sample"]).replace("\\", "/")
            path = (file.parent / name).resolve()
            label = next((opcodes[one] for one in NAMES if one in opcodes), file.stem if len(files) > 1 else "")
            released = opcodes.get("trigger", "").startswith("release")
            found.setdefault(path, None if released else SfzSample(_key(opcodes), _velocity(opcodes), label))
    return found


def _regions(text: str) -> Iterator[Mapping[str, str]]:
    """Yield each region's opcodes with those that it inherits."""
    told: dict[str, dict[str, str]] = {level: {} for level in LEVELS}
    at = "control"
    for header, opcode, value in HEADER_OR_OPCODE.findall(text):
        if not header:
            told[at][opcode] = value.strip()
            continue
        if at == "region":
            yield _joined(told)
        at = header if header in LEVELS else "control"
        for level in LEVELS[LEVELS.index(at) :] if at != "control" else ():
            told[level] = {}
    if at == "region":
        yield _joined(told)


def _joined(told: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {opcode: value for level in LEVELS for opcode, value in told[level].items()}


def _key(opcodes: Mapping[str, str]) -> int | None:
    if opcodes.get("pitch_keytrack") == "0":
        return None
    told = next((opcodes[name] for name in ("pitch_keycenter", "key") if name in opcodes), "60")
    if told.lstrip("-").isdecimal():
        key = int(told)
    elif note := NOTE.fullmatch(told):
        letter, sign, octave = note.groups()
        key = 12 * (int(octave) + 1) + PITCH_CLASSES.index(letter.upper()) + ACCIDENTALS[sign.lower()]
    else:  # "sample": the file's own
        return None
    return key if 0 <= key <= 127 else None


def _velocity(opcodes: Mapping[str, str]) -> int | None:
    if not {"lovel", "hivel"} & set(opcodes):
        return None
    highest = opcodes.get("hivel", "127")
    return min(max(int(highest), 1), 127) if highest.isdecimal() else None


def _text(file: Path, depth: int = 0) -> str:
    if depth == DEEPEST:
        raise UserError(f"{file} includes itself, or {DEEPEST} files in turn; take its #include out")
    check_regular(file, LARGEST)
    try:
        text = COMMENTS.sub("", file.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from None
    defined = sorted(DEFINITION.findall(text), key=lambda pair: -len(pair[0]))
    text = DEFINITION.sub("", text)
    text = INCLUSION.sub(lambda found: _text(file.parent / found[1].replace("\\", "/"), depth + 1), text)
    for name, value in defined:
        text = text.replace(name, value)
    return text
