"""Plugins of presets: which may run, and how they load.

A VST3 runs with the user's permissions, so presets' plugins run only with the user's consent, stored by path and
digest. Consent covers all presets, but no replaced plugin. `host.audio.effects` loads no other. Slow loading, and
native code's standard error, are logged.
"""

import contextlib
import functools
import hashlib
import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..approvals import approvals, approve
from ..errors import UserError

PLUGINS = (".vst3", ".component")
MOST_FILES = 10_000  # of a bundle: refuses one that links to a whole disk
MOST_BYTES = 1 << 32


def may_run(plugin: Path) -> bool:
    approved_digest = approvals().get(str(plugin.resolve()))
    return approved_digest is not None and approved_digest == digest(plugin)


def may_run_by_name(name: str) -> Path | None:
    """Return an approved plugin's path by its file name."""
    approved_paths = (Path(path) for path in sorted(approvals()))
    return next((path for path in approved_paths if path.name == name and path.exists() and may_run(path)), None)


def let_run(plugin: Path) -> None:
    """Store an approval.

    Raises:
        UserError: as `approve` and `digest`.
        Failure: the disk is full.
    """
    approve(str(plugin.resolve()), digest(plugin))


def digest(plugin: Path) -> str:
    """SHA-256 of file names, bytes and folder links.

    Raises:
        UserError: it is unreadable, too large, or links outside itself.
    """
    root = plugin.resolve()
    try:
        part_paths = [root] if root.is_file() else list(itertools.islice(_parts(root), MOST_FILES + 1))
        part_stats = [part_path.stat() for part_path in part_paths]
        if len(part_paths) > MOST_FILES or sum(stat.st_size for stat in part_stats) > MOST_BYTES:
            raise UserError(f"{plugin} holds more than any plugin does; give the plugin's own file or folder")
        return _digest(
            root,
            tuple(
                (part_path, stat.st_size, stat.st_mtime_ns)
                for part_path, stat in zip(part_paths, part_stats, strict=True)
            ),
        )
    except OSError as error:
        raise UserError(f"{plugin} cannot be read: {error.strerror or error}") from None


@functools.lru_cache(maxsize=64)
def _digest(root: Path, parts: tuple[tuple[Path, int, int], ...]) -> str:
    """Cached by sizes and times."""
    checksum = hashlib.sha256()
    for part_path, *_ in parts:
        checksum.update(os.fsencode(part_path.relative_to(root)) + b"\0")
        if part_path.is_dir():
            checksum.update(os.fsencode(part_path.readlink()) + b"\0")
            continue
        with part_path.open("rb") as part_file:
            checksum.update(hashlib.file_digest(part_file, "sha256").digest())
    return checksum.hexdigest()


def _parts(bundle: Path) -> Iterator[Path]:
    """Yield a bundle's files and links in a fixed order."""
    for folder_name, subfolder_names, file_names in os.walk(bundle):
        folder_path = Path(folder_name)
        subfolder_names.sort()
        for link in (folder_path / name for name in subfolder_names if (folder_path / name).is_symlink()):
            if not link.resolve().is_relative_to(bundle):
                raise UserError(f"{link} leads out of the plugin; give a plugin that is whole")
            yield link
        yield from (folder_path / name for name in sorted(file_names) if (folder_path / name).is_file())


TELL_SECONDS = 5.0  # of loading, until the first message
AGAIN_SECONDS = 15.0  # between later messages
LEFT_SECONDS = 0.5  # to read the last lines; a child process of the plugin may never close the pipe
STDERR = 2
SHOWN_BYTES = 200  # of its output

log = logging.getLogger(__name__)
_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def overheard(name: str) -> Iterator[None]:
    """Log slow loading of plugin ``name`` in the block, then the first line of its standard error."""
    loaded_event, ear = threading.Event(), _Ear()
    warning_thread = threading.Thread(
        target=_log_slow_loading, args=(name, loaded_event, ear), name="overheard", daemon=True
    )
    try:
        with _one_at_a_time, ear.listening():
            warning_thread.start()
            try:
                yield
            finally:
                loaded_event.set()
                warning_thread.join()
    finally:
        if ear.lines:
            log.warning("%s wrote to standard error as it was loaded: %s", name, ear.summary)


def _log_slow_loading(name: str, loaded_event: threading.Event, ear: "_Ear") -> None:
    """Log now and then until the plugin is loaded."""
    start_seconds, wait_seconds = time.monotonic(), TELL_SECONDS
    while not loaded_event.wait(wait_seconds):
        wait_seconds = AGAIN_SECONDS
        stderr_text = f"; it writes to standard error: {ear.summary}" if ear.lines else ""
        log.warning("%s is still being loaded, for %.0f s now%s", name, time.monotonic() - start_seconds, stderr_text)


class _Ear:
    """Keeps the beginning of what native code writes to standard error, and counts its lines."""

    def __init__(self) -> None:
        self._first_bytes, self._last_byte = b"", b"\n"
        self._line_ends = 0

    @property
    def lines(self) -> int:
        """Including an unfinished line."""
        return self._line_ends + (self._last_byte != b"\n")

    @property
    def summary(self) -> str:
        first_line = " ".join(self._first_bytes.decode(errors="replace").split("\n")[0].split())
        return repr(first_line) if self.lines == 1 else f"{first_line!r} and {self.lines - 1} more lines"

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Redirect native standard error to a pipe; Python's own stays."""
        read_end, write_end = os.pipe()
        reader_thread = threading.Thread(target=self._read, args=(read_end,), name="ear", daemon=True)
        reader_thread.start()
        saved_stderr = os.dup(STDERR)
        try:
            with os.fdopen(
                saved_stderr, "w", encoding="utf-8", errors="backslashreplace", buffering=1
            ) as python_stderr:
                os.dup2(write_end, STDERR)
                os.close(write_end)
                try:
                    with contextlib.redirect_stderr(python_stderr) if _shared() else contextlib.nullcontext():
                        yield
                finally:
                    os.dup2(saved_stderr, STDERR)
        finally:
            reader_thread.join(LEFT_SECONDS)

    def _read(self, pipe_end: int) -> None:
        """Read the pipe until all writers have closed it."""
        with os.fdopen(pipe_end, "rb", buffering=0) as pipe_file:
            while piece_bytes := pipe_file.read(65_536):
                self._first_bytes = (self._first_bytes + piece_bytes)[:SHOWN_BYTES]
                self._line_ends, self._last_byte = self._line_ends + piece_bytes.count(b"\n"), piece_bytes[-1:]


def _shared() -> bool:
    """False if Python's standard error was replaced."""
    try:
        return sys.stderr.fileno() == STDERR
    except (AttributeError, OSError, ValueError):
        return False
