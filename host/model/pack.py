"""Packs: an instrument as one zip file, with a manifest of digests. Light import.

A pack is unpacked once, into the user's folder ``packs``, under its SHA-256. Nothing in it is run.
"""

import contextlib
import hashlib
import json
import lzma
import os
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..config import own_folder
from ..errors import Failure, UserError, printable
from ..files import building_folder, check_regular

SUFFIX = ".timbrel"
BY_DIGEST = "pack:"  # and the SHA-256 of a pack: the model in it, as presets saved from one name it


MANIFEST = "pack.json"
FORMAT = 1
LARGEST = 1 << 30  # bytes of a pack, and of all its files
LARGEST_MANIFEST = 1 << 20
MOST_FILES = 4096
DEEPEST = 8  # folders in one another
LONGEST_NAME = 200  # bytes of a pack's name, or of a part of a file's
LARGEST_DIRECTORY = 1 << 22  # bytes of a zip file's list of entries
PROVED = ".proved"  # suffix of a file beside the unpacked folder, once its model gave its reference here
LEFTOVER_SECONDS = 3600.0  # the age of leftovers of interrupted processes, for removal
RECORD, LOCATOR = 22, 20  # bytes of a zip file's end record, and of the locator of a zip64 one before it
LONGEST_END = LOCATOR + RECORD + (1 << 16)  # and a comment
PIECE_BYTES = 1 << 20
RETRY_ADVICE = "get it again, or ask its maker"
# Of damaged entries, unknown methods and encryption; `zipfile` raises them while it reads.
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError, RuntimeError)


class PackedFile(NamedTuple):
    size: int  # bytes
    sha256: str


class PackManifest(NamedTuple):
    name: str
    metadata: Mapping[str, str]  # description, licence, credits, kind and the version of timbrel
    files: Mapping[str, PackedFile]  # by path in the pack


def read_manifest(path: Path) -> PackManifest:
    """Raise UserError for no pack, a damaged one, or one of a newer timbrel."""
    with _opened(path) as archive:
        return _manifest(path, archive)


def unpacked(path: Path) -> Path:
    """Folder of a pack's files, unpacked on the first call; `unproved` then says so.

    Raises:
        UserError: no pack, damaged, of a newer timbrel, too large, or the user's folder is read-only.
        Failure: the disk is full.
    """
    check_regular(path, LARGEST)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    digest_folder = _packs() / digest
    with _opened(path) as archive:
        manifest = _manifest(path, archive)
        folder = digest_folder / manifest.name
        if _is_whole(folder, manifest):
            return folder
        try:
            digest_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot unpack {path} into {digest_folder}: {error.strerror}; set XDG_DATA_HOME to another folder"
            ) from None
        _clear(digest_folder, folder, manifest)
        try:
            with building_folder(folder) as new_folder:
                for file_name, packed_file in manifest.files.items():
                    _extract(path, archive, file_name, packed_file, new_folder)
        except (UserError, Failure):
            if not _is_whole(folder, manifest):  # else another process was faster
                with contextlib.suppress(OSError):
                    digest_folder.rmdir()
                raise
        except BaseException:
            with contextlib.suppress(OSError):
                digest_folder.rmdir()
            raise
    return folder


def _is_whole(folder: Path, manifest: PackManifest) -> bool:
    with contextlib.suppress(OSError):
        return all(
            (folder / file_name).stat().st_size == packed_file.size for file_name, packed_file in manifest.files.items()
        )
    return False


def _clear(digest_folder: Path, folder: Path, manifest: PackManifest) -> None:
    """Remove an incomplete ``folder``, and old leftovers of interrupted processes."""
    for entry in digest_folder.iterdir():
        with contextlib.suppress(OSError):
            is_broken = entry == folder and not _is_whole(folder, manifest)  # another process may just have finished it
            is_old = entry.name.startswith(".") and time.time() - entry.stat().st_mtime > LEFTOVER_SECONDS
            if is_broken or is_old:
                shutil.rmtree(entry, ignore_errors=True)


def digest_of(file: Path) -> str | None:
    """SHA-256 of the pack of an unpacked file, None if of none."""
    digest_folder = _home(file)
    return None if digest_folder is None else digest_folder.name


def proved_before(digest: str) -> Path | None:
    """Folder of the pack with a SHA-256, None if not on this machine, or not proved."""
    digest_folder = _packs() / digest
    if not digest_folder.with_suffix(PROVED).is_file() or not digest_folder.is_dir():
        return None
    return next(
        (folder for folder in digest_folder.iterdir() if folder.is_dir() and not folder.name.startswith(".")), None
    )


def unproved(file: Path) -> bool:
    """Return whether a file's pack has a model that has not yet given its reference on this machine."""
    digest_folder = _home(file)
    return digest_folder is not None and not digest_folder.with_suffix(PROVED).is_file()


def mark_proved(file: Path) -> None:
    digest_folder = _home(file)
    assert digest_folder is not None
    digest_folder.with_suffix(PROVED).touch()


def throw_away(file: Path) -> None:
    """Remove a pack's unpacked folder after a failed proof."""
    digest_folder = _home(file)
    assert digest_folder is not None
    shutil.rmtree(digest_folder, ignore_errors=True)


def is_name(name: str) -> bool:
    return stays_inside(name) and len(PurePosixPath(name).parts) == 1


def _packs() -> Path:
    return own_folder("packs").resolve()


def _home(file: Path) -> Path | None:
    """Folder, named by a digest, of the pack of an unpacked file; None if of none."""
    packs_folder, resolved_file = _packs(), file.resolve()
    inner_path_parts = packs_folder in resolved_file.parents and resolved_file.relative_to(packs_folder).parts
    return packs_folder / inner_path_parts[0] if inner_path_parts else None


def _opened(path: Path) -> zipfile.ZipFile:
    """Open a pack; errors name it."""
    try:
        _check_directory(path)
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise damaged(path, str(error)) from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def _check_directory(path: Path) -> None:
    """Refuse a list of entries that would fill memory."""
    with path.open("rb") as file:
        file_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, file_bytes - LONGEST_END))
        end_bytes = file.read()
    # zipfile takes the first if nothing follows it.
    record_offsets = {len(end_bytes) - RECORD, end_bytes.rfind(b"PK\x05\x06")}
    for record_offset in record_offsets:
        if record_offset < 0 or end_bytes[record_offset : record_offset + 4] != b"PK\x05\x06":
            continue
        # The sizes of a zip64 record would count.
        if end_bytes[max(0, record_offset - LOCATOR) : record_offset].startswith(b"PK\x06\x07"):
            raise zipfile.BadZipFile("it is of format zip64, which packs do not need")
        if int.from_bytes(end_bytes[record_offset + 12 : record_offset + 16], "little") > LARGEST_DIRECTORY:
            raise zipfile.BadZipFile("it lists too many files")


def damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is no pack, or damaged ({printable(reason)}); {RETRY_ADVICE}")


def _manifest(path: Path, archive: zipfile.ZipFile) -> PackManifest:
    """Parse and check the manifest of an opened pack."""
    try:
        manifest_bytes = b"".join(_read_pieces(archive, MANIFEST, LARGEST_MANIFEST))
        fields: Any = json.loads(manifest_bytes)
        format_version = fields["format"]
        if isinstance(format_version, int) and format_version > FORMAT:
            raise UserError(f"{path} has format {format_version}, this timbrel reads {FORMAT}; update timbrel")
        packed_files = {
            str(name): PackedFile(int(file_entry["bytes"]), str(file_entry["sha256"]))
            for name, file_entry in fields["files"].items()
        }
        metadata = {str(key): str(value) for key, value in fields["about"].items()}
        name = str(fields["name"])
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError, *ZIP_ERRORS) as error:
        raise damaged(path, f"{MANIFEST}: {error}") from None
    if not is_name(name):
        raise damaged(path, "its name is no name of a folder")
    if not 1 <= len(packed_files) <= MOST_FILES:
        raise damaged(path, f"it names {len(packed_files)} files, at most {MOST_FILES} are possible")
    if wrong_names := [file_name for file_name in packed_files if not stays_inside(file_name)]:
        raise damaged(path, f"{wrong_names[0]!r} is no name of a file in it")
    if (
        any(packed_file.size < 0 for packed_file in packed_files.values())
        or sum(packed_file.size for packed_file in packed_files.values()) > LARGEST
    ):
        raise UserError(f"{path} unpacks to more than {LARGEST >> 20} MiB, which is no instrument; {RETRY_ADVICE}")
    if len({file_name.casefold() for file_name in packed_files}) < len(packed_files):
        raise damaged(path, "two of its files have one name")
    return PackManifest(name, metadata, packed_files)


def stays_inside(name: str) -> bool:
    """Return whether a name stays inside its folder, on any system."""
    path_parts = PurePosixPath(name).parts
    forbidden_characters = set('\\:*?"<>|')
    return (
        bool(path_parts)
        and name == "/".join(path_parts)
        and name == printable(name)
        and not forbidden_characters & set(name)
        and not any(part.startswith(".") or part.endswith((".", " ")) for part in path_parts)
        and max(len(part.encode()) for part in path_parts) <= LONGEST_NAME
        and len(path_parts) <= DEEPEST
    )


def _extract(path: Path, archive: zipfile.ZipFile, name: str, packed: PackedFile, folder: Path) -> None:
    """Write one file of a pack into ``folder``, and check its size and digest."""
    target_file, target_hash, written_bytes = folder / name, hashlib.sha256(), 0
    target_file.parent.mkdir(parents=True, exist_ok=True)
    with target_file.open("xb") as opened_file:
        pieces = _read_pieces(archive, name, packed.size)
        while True:
            try:
                piece = next(pieces, b"")
            except (KeyError, ValueError, *ZIP_ERRORS) as error:
                raise damaged(path, f"{name}: {error}") from None
            if not piece:
                break
            opened_file.write(piece)
            target_hash.update(piece)
            written_bytes += len(piece)
    if written_bytes != packed.size or target_hash.hexdigest() != packed.sha256:
        raise damaged(path, f"{name} is not the file that {MANIFEST} tells of")


def _read_pieces(archive: zipfile.ZipFile, name: str, limit: int) -> Iterator[bytes]:
    """Raise ValueError at more than ``limit`` bytes, in spite of the header."""
    remaining_bytes = limit
    with archive.open(name) as file:
        while piece := file.read(min(PIECE_BYTES, remaining_bytes + 1)):
            if len(piece) > remaining_bytes:
                raise ValueError(f"longer than {limit} bytes")
            remaining_bytes -= len(piece)
            yield piece
