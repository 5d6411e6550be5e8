"""Plugin trust: presets' native plugins run only with the user's consent, stored by path and digest.

A VST3 runs with the user's permissions. Consent covers all presets, but no replaced plugin. `host.audio.effects` loads
no other.
"""

import functools
import hashlib
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import UserError
from ..files import read_regular, replacing

PLUGINS = (".vst3", ".component")
MOST_FILES = 10_000  # of a bundle: refuses one that links to a whole disk
MOST_BYTES = 1 << 32
LARGEST_SETTINGS = 1 << 24  # bytes: of 50,000 plugins


def may_run(plugin: Path) -> bool:
    approved_digest = _approved_digests().get(str(plugin.resolve()))
    return approved_digest is not None and approved_digest == digest(plugin)


def may_run_by_name(name: str) -> Path | None:
    """Return an approved plugin's path by its file name."""
    approved_paths = (Path(path) for path in sorted(_approved_digests()))
    return next((path for path in approved_paths if path.name == name and path.exists() and may_run(path)), None)


def let_run(plugin: Path) -> None:
    """Store an approval.

    Raises:
        UserError: it cannot be stored, or as `digest`.
        Failure: the disk is full.
    """
    settings_path = _settings()
    digest_by_path = _approved_digests() | {str(plugin.resolve()): digest(plugin)}
    try:
        settings_path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot remember that {plugin} may run in {settings_path}: {error.strerror}; "
            "set XDG_CONFIG_HOME to another folder"
        ) from None
    with replacing(settings_path, overwrite=True) as temporary_path:
        temporary_path.write_text(json.dumps(digest_by_path, indent=1) + "\n", encoding="utf-8")


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


def _settings() -> Path:
    """Path of the file of approvals."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "timbrel" / "plugins.json"


def _approved_digests() -> dict[str, str]:
    """Digests by plugin path."""
    try:
        digest_by_path = json.loads(read_regular(_settings(), LARGEST_SETTINGS))
    except (UserError, OSError, ValueError, RecursionError):
        return {}
    return digest_by_path if isinstance(digest_by_path, dict) else {}
