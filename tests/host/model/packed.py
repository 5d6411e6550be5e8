"""Small packs for tests."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILES = {"preset.toml": b"format = 1\n" * 20, "model.onnx": bytes(range(256)) * 8, "irs/room.wav": b"room" * 50}


def told(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    return {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}


def packed(content: Mapping[str, bytes] = FILES, /, manifest: Mapping[str, Any] | None = None, **changes: Any) -> bytes:
    """Return a pack; ``changes`` replace fields of its manifest, ``manifest`` all of it."""
    fields = {"format": 1, "name": "reed", "about": {"licence": "CC0"}, "files": told(content)} | changes
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry("pack.json"), json.dumps(fields if manifest is None else manifest))
        for name, data in content.items():
            archive.writestr(_entry(name), data)
    return buffer.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    """Return an entry of a fixed time: equal packs have equal bytes."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def write(folder: Path, data: bytes) -> Path:
    path = folder / "reed.timbrel"
    path.write_bytes(data)
    return path
