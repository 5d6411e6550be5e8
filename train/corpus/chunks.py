"""Reads sound files in chunks, whole or not at all, so that a build can resume."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ... import __version__
from ...host.errors import Failure
from .file_names import Names
from .inharmonicity import by_partials
from .manifest import AGAIN, FLOAT
from .noise_floor import without_noise
from .note_segmentation import NoteSegment, is_melody, segment_notes
from .pitch import Samples, frame_count, pitch_track, track_at_key
from .sfz import SfzSample
from .sound_files import Copies, FloatFile, SoundFile, Unreadable, file_digest, samples_digest, trimmed
from .store import write_samples

CHUNK_BYTES = 64 << 20  # of sound files: some minutes of sound, lost at most when a build is killed
CHUNK_FILES = 1024

Tell = Callable[[float, str], None]  # receives the share of a chunk, 0 to 1, and a file's name


@dataclass(frozen=True)
class ReadingSettings:
    """Settings that determine a file's clips; ``shortest`` is in samples."""

    rate: int
    shortest: int
    melodies: bool
    group: str | None
    label: str | None


@dataclass(frozen=True)
class SoundToRead:
    """A file with labels from its .sfz and all names; ``stamp`` changes with its content."""

    name: str
    path: Path
    stamp: tuple[int, int, int, int]
    told: SfzSample
    velocity: int | None

    @classmethod
    def of(cls, name: str, path: Path, told: SfzSample, velocity: int | None) -> "SoundToRead":
        """Raise OSError if the file is gone."""
        return cls(name, path.absolute(), _stamp(path), told, velocity)

    @property
    def size(self) -> int:
        return self.stamp[0]

    @property
    def has_changed(self) -> bool:
        try:
            return _stamp(self.path) != self.stamp
        except OSError:  # it is gone; its clips were read before
            return False


def _stamp(path: Path) -> tuple[int, int, int, int]:
    now = path.stat()
    return now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino


@dataclass(frozen=True)
class Chunk:
    """Consecutive files, read into ``shard``; ``folder`` holds the descriptions."""

    sounds: tuple[SoundToRead, ...]
    settings: ReadingSettings
    folder: Path
    shard: Path

    @property
    def description(self) -> Path:
        return self.folder / f"{self.shard.stem}.json"

    @property
    def pitch(self) -> Path:
        return self.folder / f"{self.shard.stem}.pitch"

    @property
    def digest(self) -> str:
        """SHA-256 of files and settings."""
        files = [(one.name, str(one.path), one.stamp, one.told, one.velocity) for one in self.sounds]
        return hashlib.sha256(repr((__version__, self.settings, files)).encode("utf-8", "surrogateescape")).hexdigest()


class ReadClip(BaseModel):
    """A clip, as `clip_table.Clip`; ``start`` and ``frame`` count within the chunk."""

    model_config = ConfigDict(extra="forbid")

    name: str
    group: str
    label: str
    start: int
    length: int
    frame: int
    peak: float
    key: int | None = None
    velocity: int | None = None
    onset_seconds: float | None = None
    slurred: bool = False


class ReadSound(BaseModel):
    """A file's clips, or its ``fault``; ``detail``: the reason, or the earlier name of equal samples."""

    model_config = ConfigDict(extra="forbid")

    name: str
    sha256: str = ""
    decoded: str = ""
    fault: Literal["", "unreadable", "silent", "too short", "identical"] = ""
    detail: str = ""
    rate: int = 0
    clipped: bool = False
    remarks: list[str] = []
    melody: bool = False
    clips: list[ReadClip] = []


class ReadChunk(BaseModel):
    """``length`` counts the shard's samples, ``frames`` its pitch."""

    model_config = ConfigDict(extra="forbid")

    digest: str
    length: int
    frames: int
    sounds: list[ReadSound]

    def fits(self, chunk: Chunk) -> bool:
        sizes = ((chunk.shard, self.length), (chunk.pitch, self.frames))
        return self.digest == chunk.digest and all(
            not count or (path.is_file() and path.stat().st_size == count * FLOAT.itemsize) for path, count in sizes
        )


def chunks_of(sounds: Mapping[str, SoundToRead]) -> Iterator[tuple[SoundToRead, ...]]:
    taken, size = list[SoundToRead](), 0
    for sound in sounds.values():
        if taken and (size + sound.size > CHUNK_BYTES or len(taken) == CHUNK_FILES):
            yield tuple(taken)
            taken, size = [], 0
        taken.append(sound)
        size += sound.size
    if taken:
        yield tuple(taken)


def known_chunk(chunk: Chunk) -> ReadChunk | None:
    """Return a read chunk's description; None if its files or settings changed."""
    try:
        found = ReadChunk.model_validate_json(chunk.description.read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.fits(chunk) else None


def read_chunk(chunk: Chunk, tell: Tell | None = None) -> None:
    """Read a chunk's files, unless they were read before; the description is written last.

    Raises:
        Failure: the disk is full.
    """
    if known_chunk(chunk) is not None:
        return
    chunk.description.unlink(missing_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=chunk.folder) as name:
            room = Path(name)
            audio, pitch, description = room / "audio", room / "pitch", room / "description"
            with audio.open("wb") as audio_file, pitch.open("wb") as pitch_file, (room / "scratch").open("w+b") as raw:
                reader = _Reader(chunk.settings, audio_file, pitch_file, raw)
                sounds = []
                for number, sound in enumerate(chunk.sounds):
                    if tell is not None:
                        tell(number / len(chunk.sounds), sound.name)
                    sounds.append(reader.read(sound))
                    if sound.has_changed:
                        raise Failure(f"{sound.path} changed while it was read; {AGAIN}")
            found = ReadChunk(digest=chunk.digest, length=reader.length, frames=reader.frames, sounds=sounds)
            description.write_text(found.model_dump_json(), encoding="utf-8")
            audio.replace(chunk.shard)
            pitch.replace(chunk.pitch)
            description.replace(chunk.description)
    except OSError as error:
        raise Failure(f"cannot write {chunk.shard}: {error.strerror or error}; make room, and {AGAIN}") from error


class _Reader:
    def __init__(self, settings: ReadingSettings, audio: BinaryIO, pitch: BinaryIO, scratch: BinaryIO) -> None:
        self._settings, self._audio, self._pitch, self._scratch = settings, audio, pitch, scratch
        self._names = Names(settings.group, settings.label)
        self._copies = Copies()
        self.length = self.frames = 0

    def read(self, sound: SoundToRead) -> ReadSound:
        settings, name = self._settings, sound.name
        try:
            sha256 = file_digest(sound.path)
        except OSError as error:
            return ReadSound(name=name, fault="unreadable", detail=error.strerror or str(error))
        try:
            file = SoundFile(sound.path)
            samples = FloatFile.filled(self._scratch, file.mono(settings.rate))
        except Unreadable as error:
            return ReadSound(name=name, sha256=sha256, fault="unreadable", detail=str(error))
        if len(samples) < settings.shortest:
            return ReadSound(name=name, sha256=sha256, fault="too short")
        if (kept := trimmed(samples, settings.rate, settings.shortest)) is None:
            return ReadSound(name=name, sha256=sha256, fault="silent")
        decoded = samples_digest(samples)
        if first := self._copies.earlier(name, decoded):
            return ReadSound(name=name, sha256=sha256, decoded=decoded.hex(), fault="identical", detail=first)
        kept, noise = without_noise(kept, settings.rate, settings.shortest)
        track = by_partials(kept, settings.rate, pitch_track(kept, settings.rate, noise))
        found = ReadSound(name=name, sha256=sha256, decoded=decoded.hex(), rate=file.rate, clipped=file.clipped)
        found = found.model_copy(update={"remarks": file.remarks})
        cut = segment_notes(kept, settings.rate) if settings.melodies and is_melody(kept, track, settings.rate) else []
        if notes := [note for note in cut if note.stop - note.start >= settings.shortest]:
            clips = [*self._notes(kept, notes, sound, noise)]
            return found.model_copy(update={"melody": True, "clips": clips})
        told = sound.told
        if told.key is not None:
            track = track_at_key(track, kept, settings.rate, told.key, noise)
        clip = self._written(
            kept,
            track,
            name=name,
            group=self._names.group(name),
            label=self._names.label(sound.path) or told.label,
            key=told.key,
            velocity=sound.velocity,
        )
        return found.model_copy(update={"clips": [clip]})

    def _notes(self, sound: FloatFile, notes: list[NoteSegment], of: SoundToRead, noise: float) -> Iterator[ReadClip]:
        """A mark in a melody's name is not each note's velocity."""
        for number, note in enumerate(notes, 1):
            part, own = sound.stretch(note.start, note.stop), f"{of.name}#{number:0{len(str(len(notes)))}}"
            yield self._written(
                part,
                by_partials(part, self._settings.rate, pitch_track(part, self._settings.rate, noise)),
                name=own,
                group=self._names.group(own),
                label=self._names.label(of.path),
                onset_seconds=note.start / self._settings.rate,
                slurred=note.slurred,
            )

    def _written(self, samples: FloatFile, track: Samples, **labels: object) -> ReadClip:
        assert len(track) == frame_count(len(samples))
        start, frame = self.length, self.frames
        peak = write_samples(self._audio, samples)
        self._pitch.write(track.astype(FLOAT).tobytes())
        self.length += len(samples)
        self.frames += len(track)
        place = {"start": start, "length": len(samples), "frame": frame, "peak": peak}
        return ReadClip.model_validate({**labels, **place})
