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
    paths = (Path(path) for path in sorted(_approved_digests()))
    return next((path for path in paths if path.name == name and path.exists() and may_run(path)), None)


def let_run(plugin: Path) -> None:
    """Store an approval.

    Raises:
        UserError: it cannot be stored, or as `digest`.
        Failure: the disk is full.
    """
    path = _settings()
    digests = _approved_digests() | {str(plugin.resolve()): digest(plugin)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot remember that {plugin} may run in {path}: {error.strerror}; set XDG_CONFIG_HOME to another folder"
        ) from None
    with replacing(path, overwrite=True) as file:
        file.write_text(json.dumps(digests, indent=1) + "\n", encoding="utf-8")


def digest(plugin: Path) -> str:
    """SHA-256 of file names, bytes and folder links.

    Raises:
        UserError: it is unreadable, too large, or links outside itself.
    """
    root = plugin.resolve()
    try:
        parts = [root] if root.is_file() else list(itertools.islice(_parts(root), MOST_FILES + 1))
        stats = [part.stat() for part in parts]
        if len(parts) > MOST_FILES or sum(stat.st_size for stat in stats) > MOST_BYTES:
            raise UserError(f"{plugin} holds more than any plugin does; give the plugin's own file or folder")
        return _digest(
            root, tuple((part, stat.st_size, stat.st_mtime_ns) for part, stat in zip(parts, stats, strict=True))
        )
    except OSError as error:
        raise UserError(f"{plugin} cannot be read: {error.strerror or error}") from None


@functools.lru_cache(maxsize=64)
def _digest(root: Path, parts: tuple[tuple[Path, int, int], ...]) -> str:
    """Cached by sizes and times."""
    checksum = hashlib.sha256()
    for part, *_ in parts:
        checksum.update(os.fsencode(part.relative_to(root)) + b"\0")
        if part.is_dir():
            checksum.update(os.fsencode(part.readlink()) + b"\0")
            continue
        with part.open("rb") as data:
            checksum.update(hashlib.file_digest(data, "sha256").digest())
    return checksum.hexdigest()


def _parts(bundle: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(bundle):
        parent = Path(folder)
        names.sort()
        for link in (parent / name for name in names if (parent / name).is_symlink()):
            if not link.resolve().is_relative_to(bundle):
                raise UserError(f"{link} leads out of the plugin; give a plugin that is whole")
            yield link
        yield from (parent / name for name in sorted(files) if (parent / name).is_file())


def _settings() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "timbrel" / "plugins.json"


def _approved_digests() -> dict[str, str]:
    try:
        digests = json.loads(read_regular(_settings(), LARGEST_SETTINGS))
    except (UserError, OSError, ValueError, RecursionError):
        return {}
    return digests if isinstance(digests, dict) else {}
