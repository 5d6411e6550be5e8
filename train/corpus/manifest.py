"""The manifest of a corpus, and the table of its clips."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ...host.errors import UserError
from ...host.files import building_folder, replacing
from .clip_table import ClipTable, Texts, mapped_array, parts_of
from .pitch import HOP
from .report import CorpusReport

FORMAT: Literal[2] = 2
Samples = npt.NDArray[np.float32]

MANIFEST = "corpus.json"
AGAIN = "run the same command again to go on"
FLOAT = np.dtype("<f4")
NO_DIGEST = bytes(32)
_OTHERS = ("pitch", "file_name_ends", "file_name_utf8", "file_digests")  # columns of the table, beside its clips'


class LoopGrid(BaseModel):
    """``step_length`` is in samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step_length: int = Field(gt=0)
    steps_per_beat: int = Field(default=4, gt=0)
    beats_per_bar: int = Field(default=4, gt=0)

    def tempo_bpm(self, rate: int) -> float:
        return 60 * rate / (self.step_length * self.steps_per_beat)


class Shard(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    length: int = Field(gt=0)


class Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal[2] = FORMAT
    name: str
    rate: int = Field(gt=0)
    hop: int = Field(default=HOP, ge=HOP, le=HOP)
    licence: str | None = None
    shards: list[Shard] = Field(min_length=1)
    table: str
    report: CorpusReport
    loops: LoopGrid | None = None


@dataclass(frozen=True)
class SourceFile:
    """A sound file: SHA-256 of its bytes, and of its samples as decoded, zeros if unknown."""

    name: str
    sha256: str
    decoded: bytes = NO_DIGEST


@dataclass(frozen=True)
class Table:
    clips: ClipTable
    pitch: Samples
    file_names: Texts
    file_digests: npt.NDArray[np.uint8]  # [files, 2, 32]: of bytes, and of samples

    @classmethod
    def of(cls, clips: ClipTable, pitch: Samples, files: Sequence[SourceFile]) -> Self:
        digests = b"".join(bytes.fromhex(file.sha256) + file.decoded for file in files)
        names = Texts.of(file.name for file in files)
        return cls(clips, pitch, names, np.frombuffer(digests, np.uint8).reshape(-1, 2, 32))

    def __add__(self, other: "Table") -> "Table":
        return Table(
            self.clips + other.clips,
            np.concatenate([self.pitch, other.pitch]),
            self.file_names + other.file_names,
            np.concatenate([self.file_digests, other.file_digests]),
        )

    def save(self, folder: Path) -> None:
        self.clips.save(folder)
        for name, column in self._others().items():
            np.save(folder / f"{name}.npy", column, allow_pickle=False)

    @classmethod
    def open(cls, folder: Path) -> Self:
        pitch, ends, utf8, digests = (mapped_array(folder / f"{name}.npy") for name in _OTHERS)
        found = cls(ClipTable.open(folder), pitch, Texts(ends, utf8), digests)
        if pitch.dtype != FLOAT or digests.dtype != np.uint8:
            raise ValueError("a column is of another type")
        if len(pitch) != found.clips.frame_count:
            raise ValueError("its pitch has another number of frames than its clips")
        if digests.shape != (len(ends), 2, 32) or not found.file_names.sound:
            raise ValueError("its source files are cut off")
        return found

    def _others(self) -> dict[str, npt.NDArray[Any]]:
        columns = (self.pitch.astype(FLOAT, copy=False), self.file_names.ends, self.file_names.utf8, self.file_digests)
        return dict(zip(_OTHERS, columns, strict=True))

    def files(self) -> Iterator[SourceFile]:
        for row, (sha256, decoded) in enumerate(self.file_digests):
            yield SourceFile(self.file_names[row], sha256.tobytes().hex(), decoded.tobytes())


def replace_files(
    folder: Path, manifest: Manifest, changes: Mapping[str, object], table: Table
) -> tuple[Manifest, Table]:
    """Write a new table, then the manifest that names it; remove other files."""
    number = 1
    while (folder / f"clips-{number}").exists():
        number += 1
    manifest = manifest.model_copy(update={**changes, "table": f"clips-{number}"})
    with building_folder(folder / manifest.table) as new:
        table.save(new)
    try:
        with replacing(folder / MANIFEST, overwrite=True) as file:
            file.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder / manifest.table, ignore_errors=True)
        raise
    for old in (*folder.glob("clips-*"), *folder.glob(".clips-*")):  # with a dot: of a process that was killed
        if old.name != manifest.table:
            shutil.rmtree(old, ignore_errors=True)
    for old in (*folder.glob("audio-*.f32"), folder / "pitch.f32"):
        if old.name not in {shard.file for shard in manifest.shards}:
            with contextlib.suppress(OSError):  # some systems keep files that are mapped
                old.unlink()
    return manifest, Table.open(folder / manifest.table)


def check_shards(folder: Path, shards: Sequence[Shard], clips: ClipTable) -> None:
    for shard in shards:
        check_size(folder / shard.file, shard.length)
    lengths = np.array([shard.length for shard in shards])
    columns = (parts_of(clips.numbers[name]) for name in ("shard", "start", "length"))
    if not len(clips) or not all(_inside(lengths, *part) for part in zip(*columns, strict=True)):
        raise UserError(f"{folder / MANIFEST} is damaged (a clip lies outside its shard); build the corpus again")


def _inside(
    lengths: npt.NDArray[Any], shard: npt.NDArray[Any], start: npt.NDArray[Any], length: npt.NDArray[Any]
) -> bool:
    known = shard.min() >= 0 and shard.max() < len(lengths) and start.min() >= 0 and length.min() > 0
    return bool(known and (start <= lengths[shard] - length).all())


def check_size(path: Path, length: int) -> None:
    found = path.stat().st_size if path.is_file() else 0
    if found != length * FLOAT.itemsize:
        raise UserError(
            f"{path} has {found} bytes where its {MANIFEST} expects {length * FLOAT.itemsize}; build the corpus again"
        )
