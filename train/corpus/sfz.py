"""Reads SFZ instruments: the key, velocity and named group of each sample."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...host.errors import UserError, printable
from ...host.files import check_regular
from .stored_sounds import SoundLabels, key_of

LARGEST = 1 << 24  # bytes of an .sfz file with all that it includes; the largest known have a few
DEEPEST = 16  # files that include one another
LEVELS = ("control", "global", "master", "group", "region")
NAMES = ("region_label", "group_label", "master_label", "global_label")
OPCODES = {  # others are not stored: each region would copy them
    *NAMES, "sample", "default_path", "trigger", "pitch_keytrack", "pitch_keycenter", "key", "lovel", "hivel"
}  # fmt: skip
NUMBER = re.compile(r"-?\d{1,3}")
COMMENTS = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)  # an open one lasts to the end: one search, not many
VARIABLE = re.compile(r"\$\w{1,64}")
SUBSTITUTION = 64  # characters that each substitution counts at least: the 260,000 possible ones take a second
HEADER_OR_OPCODE = re.compile(r"<(\w{1,32})>|(?<![\w$])([\w$]{1,64})=")
DIRECTIVE = re.compile(r"""\s*#(define)\s+(\$\w+)\s+(\S+)\s*|\s*#(include)\s+"([^"]+)"\s*""")


class SfzSamples:
    """Samples by path; letter case does not matter, as on most makers' systems."""

    def __init__(self) -> None:
        self._samples: dict[str, SoundLabels | None] = {}

    def add(self, path: Path, sample: SoundLabels | None) -> None:
        """The first region counts; None is a release's."""
        self._samples.setdefault(str(path.resolve()).casefold(), sample)

    def sample(self, path: Path) -> SoundLabels | None:
        return self._samples.get(str(path.resolve()).casefold())

    def is_release(self, path: Path) -> bool:
        return self._samples.get(str(path.resolve()).casefold(), ...) is None


def sfz_samples(sources: Sequence[Path]) -> SfzSamples:
    """Return the samples of all ``.sfz`` files in folders but included ones.

    A sample's label is its named group, else its file's name among several. Links to files outside are skipped.

    Raises:
        UserError: a file cannot be read, is too large, includes itself, or includes a file outside its folder of
            ``sources``.
    """
    sfz_files = {
        file.resolve(): (file, source.resolve())
        for source in sources
        if source.is_dir()
        for file in sorted(source.rglob("*"))
        if file.suffix.lower() == ".sfz" and file.is_file() and source.resolve() in file.resolve().parents
    }
    text_by_file = {resolved: _Text(file, source) for resolved, (file, source) in sfz_files.items()}
    error_by_file: dict[Path, UserError] = {}
    for file, text in text_by_file.items():
        try:
            text.read(file)
        except UserError as error:  # a part of another file may not stand alone
            error_by_file[file] = error
    included_files = {
        included_file for file, text in text_by_file.items() for included_file in text.included if included_file != file
    }
    instrument_texts = {file: text for file, text in text_by_file.items() if file not in included_files}
    for file in instrument_texts.keys() & error_by_file.keys():
        raise error_by_file[file]
    samples = SfzSamples()
    for file, text in instrument_texts.items():
        for opcodes in _regions("\n".join(text.lines)):
            sample_name = opcodes.get("sample", "*")
            if sample_name.startswith("*") or "\0" in sample_name:  # a generator's
                continue
            path = file.parent / (opcodes.get("default_path", "") + sample_name).replace("\\", "/")
            label = next(
                (opcodes[opcode] for opcode in NAMES if opcode in opcodes),
                file.stem if len(instrument_texts) > 1 else "",
            )
            is_release = opcodes.get("trigger", "").startswith("release")
            samples.add(path, None if is_release else SoundLabels(_key(opcodes), _velocity(opcodes), label))
    return samples


@dataclass
class _Text:
    """An instrument's lines; inclusions are relative to its folder, and lie in the ``source`` that was given."""

    file: Path
    source: Path  # resolved
    lines: list[str] = field(default_factory=list)
    included: set[Path] = field(default_factory=set)
    _defined: dict[str, str] = field(default_factory=dict)
    _size: int = 0

    def read(self, file: Path, depth: int = 0) -> None:
        if depth == DEEPEST:
            raise UserError(f"{file} includes itself, or {DEEPEST} files in turn; take its #include out")
        check_regular(file, LARGEST)
        try:
            text = COMMENTS.sub("", file.read_text(encoding="utf-8-sig", errors="replace"))
        except OSError as error:
            raise UserError(f"cannot read {file}: {error.strerror or error}") from None
        self._count(len(text))
        for line in text.splitlines():
            directive = DIRECTIVE.fullmatch(line)
            if directive is None:
                self.lines.append(self._substituted(line))
            elif directive[1]:
                self._defined[directive[2]] = directive[3]
            else:
                self._include(self._substituted(directive[5]), depth)

    def _include(self, name: str, depth: int) -> None:
        included_file = (self.file.resolve().parent / name.replace("\\", "/").replace("\0", "")).resolve()
        if self.source not in included_file.parents:
            raise UserError(
                f"{self.file} includes {printable(name)!r}, which lies outside of {self.source}; "
                "give the folder that has both"
            )
        self.included.add(included_file)
        self.read(included_file, depth + 1)

    def _substituted(self, line: str, depth: int = 0) -> str:
        """Replace variables by their values, and variables in these; the longest defined name counts."""
        if "$" not in line or depth == DEEPEST:
            return line

        def value(match: re.Match[str]) -> str:
            variable_name = match[0]
            for prefix_length in range(len(variable_name), 1, -1):
                if variable_name[:prefix_length] in self._defined:
                    replacement = self._defined[variable_name[:prefix_length]]
                    self._count(max(len(replacement), SUBSTITUTION))
                    return self._substituted(replacement, depth + 1) + variable_name[prefix_length:]
            return variable_name

        return VARIABLE.sub(value, line)

    def _count(self, character_count: int) -> None:
        """Raise UserError if the text has grown too long."""
        self._size += character_count
        if self._size > LARGEST:
            raise UserError(
                f"{self.file}, with all that it includes and defines, is longer than {LARGEST >> 20} MiB; "
                "give a shorter one"
            )


def _regions(text: str) -> Iterator[Mapping[str, str]]:
    """Yield the opcodes of each region with those of its groups."""
    opcodes: dict[str, dict[str, str]] = {level: {} for level in (*LEVELS, "")}
    section = "control"
    matches = list(HEADER_OR_OPCODE.finditer(text))
    for match_index, match in enumerate(matches):
        header, opcode = match.groups()
        if opcode:
            value_end = matches[match_index + 1].start() if match_index + 1 < len(matches) else len(text)
            if opcode in OPCODES:
                value = text[match.end() : value_end].partition("\n")[0].strip()
                opcodes[section]["pitch_keycenter" if opcode == "key" else opcode] = value  # the later of both counts
            continue
        if section == "region":
            yield _joined(opcodes)
        section = header if header in LEVELS else ""  # others, such as effect, say nothing of samples
        for level in LEVELS[LEVELS.index(section) :] if section not in ("", "control") else ():
            opcodes[level] = {}
    if section == "region":
        yield _joined(opcodes)


def _joined(opcodes: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the opcodes of all levels; an inner level's counts before an outer one's."""
    return {opcode: value for level in LEVELS for opcode, value in opcodes[level].items()}


def _key(opcodes: Mapping[str, str]) -> int | None:
    """Return the MIDI note of the untransposed sample; None without tracking."""
    if opcodes.get("pitch_keytrack") == "0":
        return None
    return key_of(opcodes.get("pitch_keycenter", "60"))  # None for "sample": the file's own


def _velocity(opcodes: Mapping[str, str]) -> int | None:
    """Return the highest velocity of a region; None for no range."""
    if not {"lovel", "hivel"} & set(opcodes):
        return None
    highest_text = opcodes.get("hivel", "127")
    return min(max(int(highest_text), 1), 127) if NUMBER.fullmatch(highest_text) else None
