"""Shards of a data set (WebDataset's tar files), written whole or not at all, and their index."""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...host.errors import UserError
from ...host.files import WRITING, check_new_folder, replacing
from .batches import Job, Member
from .settings import BATCH, DatasetSettings

INDEX = "index.json"
FORMAT: Literal[1] = 1
LEFTOVER = re.compile(r"\.(notes-\d+|index)\.\w+\.(tar|json)")
PIECE = 1 << 20  # bytes read at a time


class Shard(BaseModel):
    """A whole shard: its file, first note, notes, bytes and SHA-256."""

    model_config = ConfigDict(strict=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^notes-\d{6,}\.tar$")]
    first: Annotated[int, Field(ge=0)]
    notes: Annotated[int, Field(ge=1)]
    bytes: Annotated[int, Field(ge=0)]
    sha256: str


class _Told(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    format: Literal[1] = FORMAT
    names: list[str]
    made_by: dict[str, Any]
    notes: Annotated[int, Field(ge=1)]
    shards: list[Shard]


@dataclass
class Index:
    """The settings and whole shards of a data set's folder."""

    folder: Path
    job: Job
    shards: dict[int, Shard] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, job: Job, say: Callable[[str], None]) -> "Index":
        """Begin a new folder, or resume one of the same settings and no more notes; nothing is written yet.

        ``say`` receives a line for each damaged shard, to be rendered again.

        Raises:
            UserError: the folder has other files or notes, or cannot be made or written.
        """
        index = cls(folder, job)
        if not (folder / INDEX).exists():
            if not folder.is_dir() or any(not _is_leftover(path) and path.name != WRITING for path in folder.iterdir()):
                check_new_folder(folder)
            return index
        told = index._read()
        if told.made_by != index._made_by():
            raise UserError(f"{folder} holds {_difference(told.made_by, index._made_by())}; give another folder")
        if told.notes > job.notes:
            raise UserError(f"{folder} is of {told.notes} notes; ask for as many or more, or give another folder")
        for shard in told.shards:
            number = shard.first // index.shard_notes
            if shard.notes != index.notes_of(number):
                continue  # the last one, which grows
            if fault := _fault(folder / shard.file, shard):
                say(f"{folder / shard.file} {fault}; it is rendered again")
            else:
                index.shards[number] = shard
        return index

    @property
    def shard_notes(self) -> int:
        return DatasetSettings.model_validate_json(self.job.settings).shard_notes

    @property
    def missing(self) -> list[int]:
        return [number for number in range(-(-self.job.notes // self.shard_notes)) if number not in self.shards]

    def batches_of(self, shard: int) -> range:
        return range(shard * self.shard_notes // BATCH, min((shard + 1) * self.shard_notes // BATCH, self.job.batches))

    def notes_of(self, shard: int) -> int:
        return min(self.shard_notes, self.job.notes - shard * self.shard_notes)

    def add(self, shard: int, batches: Iterable[list[Member]]) -> None:
        """Write a shard and then the index.

        Raises:
            Failure: it cannot be written; earlier shards stay.
        """
        name = f"notes-{shard:06d}.tar"
        with replacing(self.folder / name, overwrite=True) as temporary, temporary.open("wb") as file:
            sink = _Digest(file)
            with tarfile.open(fileobj=sink, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
                for batch in batches:
                    for member in batch:
                        info = tarfile.TarInfo(member.name)
                        info.size = len(member.data)
                        archive.addfile(info, io.BytesIO(member.data))
        self.shards[shard] = Shard(
            file=name,
            first=shard * self.shard_notes,
            notes=self.notes_of(shard),
            bytes=sink.count,
            sha256=sink.digest.hexdigest(),
        )
        self._write()

    def make_folder(self) -> None:
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make folder {self.folder}: {error.strerror or error}") from None

    def remove_leftovers(self) -> None:
        for path in self.folder.iterdir():
            if _is_leftover(path):
                path.unlink(missing_ok=True)

    def _write(self) -> None:
        told = _Told(
            names=[Path(name).name for name in self.job.presets],
            made_by=self._made_by(),
            notes=self.job.notes,
            shards=[self.shards[number] for number in sorted(self.shards)],
        )
        with replacing(self.folder / INDEX, overwrite=True) as temporary:
            temporary.write_text(told.model_dump_json(indent=1), encoding="utf-8")

    def _made_by(self) -> dict[str, Any]:
        settings = json.loads(self.job.settings)
        return {"timbrel": self.job.version, "presets": list(self.job.digests), **settings}

    def _read(self) -> _Told:
        path = self.folder / INDEX
        try:
            return _Told.model_validate_json(path.read_bytes())
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from None
        except ValidationError:
            raise UserError(f"{path} is no index of a data set, or damaged; give another folder") from None


def _is_leftover(path: Path) -> bool:
    return LEFTOVER.fullmatch(path.name) is not None


class _Digest(io.BytesIO):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file, self.digest, self.count = file, hashlib.sha256(), 0

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.count += len(data)
        return self._file.write(data)


def _fault(path: Path, shard: Shard) -> str:
    try:
        if path.stat().st_size != shard.bytes:
            return f"has {path.stat().st_size} bytes in place of {shard.bytes}"
        with path.open("rb") as file:
            return "" if hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256 else "is damaged"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def _difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    for name, value in here.items():
        if there.get(name) != value:
            if name == "presets":
                return "notes of other presets or models"
            return f"notes with {name} {there.get(name)!r}, not {value!r}"
    return "other notes"
