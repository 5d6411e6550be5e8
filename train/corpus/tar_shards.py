"""Lists the sounds of WebDataset's shards: tar files whose samples are neighbours of one name, up to its first dot."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ...host.errors import UserError, printable
from ...host.model.pack import stays_inside
from .columns import Columns
from .sound_files import has_sound_suffix
from .stored_sounds import StoredSound, TarMember

LARGEST_FIELDS = 1 << 20  # bytes of a sample's .json or text
LARGEST_HEADER = 1 << 20  # bytes of a long name or of a member's records
BLOCK = 512  # bytes
WILDCARDS = str.maketrans(dict.fromkeys('*?"<>|', "_"))  # which only some systems forbid, and which lead nowhere
COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # beginnings of gzip, bzip2, xz and zstd


class _Member(NamedTuple):
    name: str
    start: int  # its first byte in the tar file
    length: int


@dataclass
class _Sample:
    """``members``: by their names' ends after the first dot, in lower case."""

    name: str
    members: dict[str, _Member] = field(default_factory=dict)


def shard_sounds(path: Path, columns: Columns) -> Iterator[tuple[str, StoredSound, str]]:
    """Yield name, sound and licence of each sound in a tar file; no sound is read.

    A sample's fields are those of its .json and its texts, such as .cls. Hidden members and folders are skipped.

    Raises:
        UserError: no tar file, or a damaged or compressed one; a member that is a link, or whose name leads elsewhere;
            fields that cannot be read.
    """
    try:
        with _HeadersOnly(path) as file:
            yield from _sounds(path, file, columns)
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise _damaged(path, getattr(error, "strerror", None) or str(error)) from None


class _Archive(tarfile.TarFile):
    members: list[tarfile.TarInfo]  # those that it has read; the stubs of the standard library lack it


class _HeadersOnly(io.FileIO):
    """A file that is read in small parts: headers claim any size."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= LARGEST_HEADER:
            raise ValueError("a header is too long")
        return super().read(size)


def _sounds(path: Path, file: _HeadersOnly, columns: Columns) -> Iterator[tuple[str, StoredSound, str]]:
    for sample in _samples(path, file):
        sounds = {suffix: member for suffix, member in sample.members.items() if _is_sound(suffix, columns)}
        if not sounds:
            continue
        fields = _fields(path, file, sample, columns.label_columns)
        labels, licence = columns.labels(fields, f"{path}, {sample.name}")
        for name, start, length in sounds.values():
            yield name, TarMember(path / name, path, labels, start, length), licence


def _is_sound(suffix: str, columns: Columns) -> bool:
    audio_suffix = columns.names_by_role.get("audio")
    return suffix == audio_suffix.lower() if audio_suffix else has_sound_suffix(PurePosixPath(f"sound.{suffix}"))


def _samples(path: Path, file: _HeadersOnly) -> Iterator[_Sample]:
    """Yield samples, one after another."""
    sample = _Sample("")
    for member in _members(path, file):
        folder, slash, file_name = member.name.rpartition("/")
        stem, _, written_suffix = file_name.partition(".")
        suffix = written_suffix.lower()  # as WebDataset reads them
        sample_name = f"{folder}{slash}{stem}"
        if sample_name != sample.name or suffix in sample.members:
            yield sample
            sample = _Sample(sample_name)
        sample.members[suffix] = member
    yield sample


def _members(path: Path, file: _HeadersOnly) -> Iterator[_Member]:
    """Yield the files in a tar file."""
    file_bytes = path.stat().st_size
    beginning = file.read(8)
    if beginning.startswith(COMPRESSED):
        raise UserError(f"{path} is compressed; unpack it to a plain tar file, whose sounds can be read one by one")
    file.seek(0)
    with _Archive.open(fileobj=file, mode="r:", encoding="utf-8", errors="replace") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # they would fill memory
            name = _plain_name(path, member)
            if member.isdir() or any(part.startswith(".") for part in name.split("/")):
                continue
            if not member.isreg() or member.issparse():
                raise UserError(f"{path} holds {name!r}, which is no file but a link or the like; pack the file itself")
            if member.offset_data + member.size > file_bytes:
                raise _damaged(path, f"{name} is cut off")
            yield _Member(name, member.offset_data, member.size)
        file.seek(archive.offset)  # `next` ends at damage as at the end
        if any(end := file.read(BLOCK)) or len(end) < BLOCK:
            raise _damaged(path, f"no header at byte {archive.offset}")
        while piece := file.read(LARGEST_HEADER):
            if piece.strip(b"\0"):  # readers end at the first of joined tar files
                raise UserError(f"{path} holds more behind its end, as joined tar files do; give each by itself")


def _plain_name(path: Path, member: tarfile.TarInfo) -> str:
    """Return a member's name in the tar file; raise UserError if it leads elsewhere, as packs' names may not."""
    name = member.name.removeprefix("./")
    visible_name = "/".join(part.lstrip(".") or part for part in name.split("/"))  # hidden files are skipped
    if name != "." and not stays_inside(visible_name.translate(WILDCARDS)):
        raise UserError(
            f"{path} holds {printable(member.name)!r}, no plain name of a file below it; pack it under another name"
        )
    return name


def _fields(path: Path, file: _HeadersOnly, sample: _Sample, names: set[str]) -> dict[str, Any]:
    """Return a sample's fields: all of its .json, and its texts of these names."""
    fields = dict[str, Any]()
    for suffix, member in sample.members.items():
        if suffix != "json" and suffix not in names:
            continue
        place = f"{path}, {member.name}"
        if member.length > LARGEST_FIELDS:
            raise UserError(f"{place} has {member.length >> 10} KiB, labels at most {LARGEST_FIELDS >> 10}; shorten it")
        file.seek(member.start)
        try:
            text = file.read(member.length).decode()
            content = json.loads(text) if suffix == "json" else {suffix: text}
        except (ValueError, RecursionError):
            raise UserError(f"{place} is no JSON, or no text in UTF-8; write it again") from None
        if not isinstance(content, dict):
            raise UserError(f"{place} is no JSON object of fields and values; write it again")
        fields |= content
    return fields


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is no tar file, or damaged ({printable(reason)}); get it again, or leave it out")
