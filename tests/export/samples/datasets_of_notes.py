"""Small data sets of notes for tests."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from timbrel.export.samples.dataset import make_dataset
from timbrel.export.samples.drawing import DatasetSettings

SMALL: dict[str, Any] = {"seconds": 0.5, "sample_rate": 16000, "shard_notes": 64}
NOTES = 66  # the fewest that are two batches and two shards, of which one is whole


def small(folder: Path, notes: int = NOTES, names: tuple[str, ...] = ("gm-oboe",), **more: Any) -> Path:
    workers = {name: more.pop(name) for name in ("workers", "ray", "warn", "progress") if name in more}
    make_dataset(names, folder, DatasetSettings(**{**SMALL, **more}), notes, **workers)
    return folder


def notes_of(folder: Path) -> list[tuple[dict[str, Any], np.ndarray]]:
    """The labels and samples, [n, channels], of all notes."""
    found = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            for sound, labels in zip(members[::2], members[1::2], strict=True):
                assert sound.name.partition(".")[0] == labels.name.partition(".")[0]
                samples, _ = soundfile.read(io.BytesIO(archive.extractfile(sound).read()), always_2d=True)
                found.append((json.loads(archive.extractfile(labels).read()), samples))
    return found


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
