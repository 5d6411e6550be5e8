"""Atomic output: files and folders appear whole or not at all, and are replaced only on request."""

import contextlib
import errno
import os
import secrets
import shutil
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple

from .errors import Failure, UserError
from .interrupts import defer_signals

LONGEST_SUFFIX = 30  # bytes
LONGEST_PREFIX = 200  # bytes, of the 255 that file systems allow a name; a random part and a suffix follow
UNDECODED = "".join(map(chr, range(0xDC80, 0xDD00)))  # bytes of a letter that was cut
WRITING = ".writing"  # a file in a folder that a process writes


class Stamp(NamedTuple):
    """Changes when a file is written or replaced."""

    changed_ns: int
    size: int
    inode: int


def stamp(path: Path) -> Stamp | None:
    """None if unreadable."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(status.st_mtime_ns, status.st_size, status.st_ino)


def check_regular(path: Path, most: int) -> None:
    """Check a file before opening it: regular, at most ``most`` bytes.

    Missing files and folders pass: opening them raises the reason.

    Raises:
        UserError: names path and limit.
    """
    try:
        status = path.stat()
    except OSError:
        return
    if not S_ISREG(status.st_mode) and not S_ISDIR(status.st_mode):
        raise UserError(f"{path} is no regular file but a device, a pipe or a socket; give a file")
    if S_ISREG(status.st_mode) and status.st_size > most:
        raise _too_large(path, status.st_size, most)


def read_start(path: Path, length: int) -> bytes:
    """First bytes of a regular file of any size; raises as `read_regular`."""
    check_regular(path, sys.maxsize)
    with path.open("rb") as file:
        return file.read(length)


def as_on_disk(path: Path) -> Path:
    """The path itself if it exists, else the only one that differs from it in Unicode's composition alone.

    Archives and disks of other systems decompose letters with accents (NFD), and keyboards compose them (NFC).
    """
    if str(path).isascii() or os.path.lexists(path):
        return path
    folder = Path(path.anchor)
    for name in path.parts[bool(path.anchor) :]:
        if not name.isascii() and not os.path.lexists(folder / name):
            composed_name = unicodedata.normalize("NFC", name)
            with contextlib.suppress(OSError):
                equal_names = [
                    path.name for path in folder.iterdir() if unicodedata.normalize("NFC", path.name) == composed_name
                ]
                name = equal_names[0] if len(equal_names) == 1 else name
        folder /= name
    return folder if os.path.lexists(folder) else path


def read_regular(path: Path, most: int) -> bytes:
    """Read a regular file of at most ``most`` bytes.

    Raises:
        UserError: as `check_regular`.
        OSError: it is missing, a folder, or cannot be read.
    """
    check_regular(path, most)
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:  # it has grown, or tells no size, as files of the system do
        raise _too_large(path, len(data), most)
    return data


def _too_large(path: Path, size_bytes: int, most: int) -> UserError:
    """Return the error of a file of more than ``most`` bytes."""
    unit, unit_bits = ("MiB", 20) if most >> 20 else ("KiB", 10)
    return UserError(
        f"{path} has {size_bytes >> unit_bits} {unit}, at most {most >> unit_bits} are read; give a smaller file"
    )


def check_output(path: Path, overwrite: bool = False) -> None:
    """Check an output file before any work.

    Raises:
        UserError: it is a folder, a device or a pipe, exists without ``overwrite``, or its folder is missing or
            read-only; or no file can have its name.
    """
    folder = path.parent
    if not folder.is_dir():
        raise UserError(f"cannot write {path}: folder {folder} does not exist; make it first")
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # too long; with a character 0
        raise UserError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}; give another name"
        ) from None
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; give a file name")
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"{path} exists; give another name, or --overwrite to replace it")
    if path.exists() and not path.is_file() and not path.is_symlink():  # a link alone would be replaced
        raise UserError(f"cannot write {path}: it is a device, a pipe or a socket; give a file name")
    if not os.access(folder, os.W_OK):
        raise UserError(f"cannot write {path}: no right to write in {folder}; choose another folder")


def check_new_folder(path: Path) -> None:
    """Check that a folder is empty, or can be made.

    Raises:
        UserError: it is a file or not empty, or its parent is missing or read-only.
    """
    if path.is_file():
        raise UserError(f"cannot make folder {path}: a file has that name; give another name")
    if path.is_dir() and any(path.iterdir()):
        raise UserError(f"folder {path} exists and is not empty; give another name or empty it first")
    if not path.is_dir():
        if not path.parent.is_dir():
            raise UserError(f"cannot make folder {path}: folder {path.parent} does not exist; make it first")
        if not os.access(path.parent, os.W_OK):
            raise UserError(f"cannot make folder {path}: no right to write in {path.parent}; choose another place")


@contextlib.contextmanager
def replacing(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary file beside ``path``, of its suffix; moved there only if the block succeeds.

    Raises:
        UserError: as `check_output`; or another program has written ``path`` meanwhile, and this output has the name
            that the message says.
        Failure: the file cannot be written.
    """
    check_output(path, overwrite)
    with _reporting_failure(path, "nothing was kept of it"), _temporary(path, _new_file, _unlink) as temporary_file:
        yield temporary_file
        if overwrite:
            temporary_file.replace(path)
        elif (actual_path := _place_new(temporary_file, path)) != path:
            raise _name_taken_error(path, actual_path)


@contextlib.contextmanager
def building_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder as `replacing` a file; a link to an empty folder stays.

    Raises:
        UserError: as `check_new_folder`; or another program has written ``path`` meanwhile, as in `replacing`.
        Failure: it cannot be written.
    """
    check_new_folder(path)
    path = _followed(path)
    with (
        _reporting_failure(path, "nothing was kept of it"),
        _temporary(path, _new_folder, _remove_folder) as temporary_folder,
    ):
        yield temporary_folder
        if (actual_path := _place_new_folder(temporary_folder, path)) != path:
            raise _name_taken_error(path, actual_path)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``path``, or the folder that it links to, only if the block succeeds.

    Raises:
        UserError: its parent is read-only.
        Failure: it cannot be written.
    """
    path = _followed(path)
    try:
        with (
            _temporary(path, _new_folder, _remove_folder) as temporary_folder,
            _reporting_failure(path, "what was there is kept"),
        ):
            new_folder, old_folder = temporary_folder / "new", temporary_folder / "old"
            new_folder.mkdir()
            yield new_folder
            with defer_signals():
                if path.exists():
                    path.rename(old_folder)
                try:
                    new_folder.rename(path)
                finally:
                    if old_folder.exists() and not path.exists():
                        old_folder.rename(path)
                _remove_folder(temporary_folder)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; make {path.parent} writable or copy it") from None


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes, by a file in it that disappears.

    Raises:
        UserError: another process writes into it.
    """
    from filelock import FileLock, Timeout  # takes 15 ms, and few commands write folders

    lock = FileLock(folder / WRITING)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"another timbrel is writing into {folder}; wait until it ends, or give another name") from None
    try:
        yield
    finally:
        _unlink(folder / WRITING)
        lock.release()


def remove_at_once(path: Path) -> None:
    """Remove a folder, or a link to one; its name is free at once, even after a signal.

    Raises:
        Failure: it cannot be removed.
    """
    try:
        with _temporary(path, _new_folder, _remove_folder) as temporary_folder, defer_signals():
            path.rename(temporary_folder / "old")
    except OSError as error:
        raise Failure(f"cannot remove {path}: {error.strerror}; make {path.parent} writable") from error


@contextlib.contextmanager
def _temporary(path: Path, make: Callable[[Path], Path], remove: Callable[[Path], None]) -> Iterator[Path]:
    """Signals wait while the file is made, so that it is always removed."""
    temporary_path: Path | None = None
    try:
        with defer_signals():
            temporary_path = make(path)
        yield temporary_path
    finally:
        if temporary_path is not None:
            remove(temporary_path)


def _new_file(path: Path) -> Path:
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= LONGEST_SUFFIX else ""
    return _made(path.parent, path.stem, suffix, lambda temporary_path: temporary_path.touch(exist_ok=False))


def _new_folder(path: Path) -> Path:
    return _made(path.parent, path.name, "", Path.mkdir)


def _made(folder: Path, name: str, suffix: str, make: Callable[[Path], None]) -> Path:
    """Make a file or folder of a free name, as open to others as all that the user makes.

    The longest names are cut: ten letters more are needed.
    """
    prefix = os.fsdecode(os.fsencode(name)[:LONGEST_PREFIX]).rstrip(UNDECODED)
    while True:
        temporary_path = folder / f".{prefix}.{secrets.token_hex(4)}{suffix}"
        with contextlib.suppress(FileExistsError):
            make(temporary_path)
            return temporary_path


def _followed(path: Path) -> Path:
    """The folder that a link leads to: a rename would replace the link."""
    return path.resolve() if path.is_symlink() else path


def _place_new(temporary: Path, path: Path) -> Path:
    """Move a file to ``path``, or if another program has taken this name, to the first free one after it."""
    for candidate_path in _names_from(path):
        try:
            os.link(temporary, candidate_path)  # unlike a rename, it replaces nothing
        except FileExistsError:
            continue
        except OSError:  # a file system without hard links, such as that of a USB stick
            if os.path.lexists(candidate_path):
                continue
            temporary.replace(candidate_path)
        return candidate_path
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def _place_new_folder(temporary: Path, path: Path) -> Path:
    """Move a folder as `_place_new` a file."""
    for candidate_path in _names_from(path):
        try:
            if candidate_path.is_dir():
                candidate_path.rmdir()  # only an empty one
            elif os.path.lexists(candidate_path):
                continue
            temporary.replace(candidate_path)
        except OSError:
            if os.path.lexists(candidate_path):
                continue
            raise
        return candidate_path
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def _names_from(path: Path) -> Iterator[Path]:
    """Yield a path, then the same with numbers behind its name."""
    yield path
    yield from (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(2, 100))


def _name_taken_error(path: Path, actual_path: Path) -> UserError:
    return UserError(f"another program has written {path} meanwhile; this output is {actual_path}")


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _remove_folder(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _reporting_failure(path: Path, kept_note: str) -> Iterator[None]:
    """Turn the block's OSError into a Failure."""
    try:
        yield
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror or error}; {kept_note}") from error


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Silence C libraries' standard error; other threads wait."""
    with _HUSH:
        saved_stderr, null_device = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null_device, 2)
            yield
        finally:
            os.dup2(saved_stderr, 2)
            os.close(saved_stderr)
            os.close(null_device)


_HUSH = threading.Lock()  # two threads would each restore the other's redirection
