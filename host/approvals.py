"""Approvals of the user for code of others: plugins by path and packages by name, each with a digest."""

import json
import os
from pathlib import Path

from .errors import UserError
from .files import read_regular, replacing

LARGEST_SETTINGS = 1 << 24  # bytes: of 50,000 plugins


def approvals() -> dict[str, str]:
    """Digests by a plugin's path, or ``package NAME``; empty if the file cannot be read."""
    try:
        digest_by_name = json.loads(read_regular(_settings(), LARGEST_SETTINGS))
    except (UserError, OSError, ValueError, RecursionError):
        return {}
    return digest_by_name if isinstance(digest_by_name, dict) else {}


def approve(name: str, digest: str) -> None:
    """Store an approval.

    Raises:
        UserError: it cannot be stored.
        Failure: the disk is full.
    """
    settings_path = _settings()
    digest_by_name = approvals() | {name: digest}
    try:
        settings_path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot remember that {name} may run in {settings_path}: {error.strerror}; "
            "set XDG_CONFIG_HOME to another folder"
        ) from None
    with replacing(settings_path, overwrite=True) as temporary_path:
        temporary_path.write_text(json.dumps(digest_by_name, indent=1) + "\n", encoding="utf-8")


def _settings() -> Path:
    """Path of the file of approvals."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "timbrel" / "plugins.json"
