"""Stores and opens a corpus: a folder of sound in shards, a table of its clips, and a JSON manifest.

corpus.json             the manifest, written last: it names the valid shards and table
audio-00000.f32, …      clips end to end, mono, little-endian float32; never changed
sides-00000.f32, …      sides of the stereo clips among them, left before right, one after the other; never changed
clips-1/                the table: a NumPy file a column, the pitch of all clips, and the source files

Pitch is a MIDI note for every 1024 samples. A stereo clip's mono samples have the power of both sides
(`mix_sides`). Format 4 lacks the groups' expression. Format 2 has no sides. Format 1 has one shard, and its table in
the manifest.
"""

import contextlib
import functools
import mmap
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...host.errors import UserError
from ...host.files import building_folder
from .clip_table import (
    CONTINUE_HINT,
    FLOAT,
    FORMAT,
    MANIFEST,
    SPLITS,
    Clip,
    Clips,
    ClipTable,
    LoopGrid,
    Manifest,
    Shard,
    SourceFile,
    Split,
    Table,
    check_shards,
    check_size,
    release,
    replace_files,
    sides_name,
)
from .pitch import HOP, Samples, Sliceable, frame_count
from .report import CorpusReport


class _Clip1(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    split: Split = "train"
    start: int = Field(ge=0)
    length: int = Field(gt=0)
    group: str
    label: str = ""
    key: int | None = Field(default=None, ge=0, le=127)
    program: int | None = Field(default=None, ge=0, le=127)
    velocity: int | None = Field(default=None, ge=0, le=127)
    tempo_bpm: float | None = Field(default=None, gt=0)
    beats: int | None = Field(default=None, gt=0)
    onset_seconds: float | None = Field(default=None, ge=0)
    slurred: bool = False


class _Manifest1(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal[1]
    name: str
    rate: int = Field(gt=0)
    hop: int = Field(default=HOP, ge=HOP, le=HOP)
    licence: str | None = None
    clips: list[_Clip1] = Field(min_length=1)
    report: CorpusReport
    files: dict[str, str] = {}
    loops: LoopGrid | None = None

    @model_validator(mode="after")
    def _clips_lie_end_to_end(self) -> Self:
        expected_starts = accumulate((clip.length for clip in self.clips), initial=0)
        if any(clip.start != expected_start for clip, expected_start in zip(self.clips, expected_starts, strict=False)):
            raise ValueError("its clips do not lie end to end")
        return self


def read_format_1(folder: Path, text: str) -> tuple[Manifest, Table]:
    """Return the manifest and table of a corpus of format 1."""
    old_manifest = _Manifest1.model_validate_json(text)
    clip_columns = ClipTable.from_clips(
        [Clip(row=row, **clip.model_dump()) for row, clip in enumerate(old_manifest.clips)]
    )
    check_size(folder / "pitch.f32", clip_columns.frame_count)
    pitch = np.memmap(folder / "pitch.f32", FLOAT, mode="r")
    manifest = Manifest(
        name=old_manifest.name,
        rate=old_manifest.rate,
        licence=old_manifest.licence,
        shards=[Shard(file="audio.f32", length=sum(clip.length for clip in old_manifest.clips))],
        table="",
        report=old_manifest.report,
        loops=old_manifest.loops,
    )
    return manifest, Table.from_clips(
        clip_columns, pitch, [SourceFile(name, digest) for name, digest in old_manifest.files.items()]
    )


READING = ".reading"  # folder in a corpus that is built, of descriptions of its sounds
PIECE = 1 << 20  # samples copied at once: 4 MB, however long the clip
SHARD_BYTES = 1 << 30  # of sound, after which `Writer` begins another shard
MOST_MAPPED = 64  # files at once: each takes a file descriptor, and some systems allow 256
READ_AHEAD_BYTES = 16 << 20  # of sound, at most, that is asked of the disk at once
MAPPED_BYTES = 32 << 20  # of sound, after which mapped pages are released: memory stays flat for any corpus


class Corpus:
    def __init__(self, folder: Path, manifest: Manifest, table: Table) -> None:
        self.folder, self._manifest, self._table = folder, manifest, table
        self.name = manifest.name
        self.rate = manifest.rate
        self.licence = manifest.licence
        self.group = manifest.group  # the expression that gave the clips' groups, if one is known
        self.report = manifest.report
        self.loops = manifest.loops  # None where clips are not loops
        self.shards = manifest.shards
        self._mapped: dict[str, np.memmap[Any, np.dtype[np.float32]]] = {}  # by file; the last used at the end
        self._mapped_bytes = 0
        self._lock = threading.Lock()  # of both: batches are cut beside a validation
        check_shards(folder, manifest.shards, table.clips)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map the corpus in ``folder``.

        Raises:
            UserError: it is missing, no corpus, damaged, or of another format.
        """
        if not folder.exists():
            raise UserError(f"corpus {folder} does not exist; build one with: timbrel corpus build SOUNDS -o {folder}")
        manifest_path = folder / MANIFEST
        if (folder / READING).is_dir() and not manifest_path.is_file():
            raise UserError(f"corpus {folder} is not finished: its build was stopped; {CONTINUE_HINT}")
        if not manifest_path.is_file():
            raise UserError(f"{folder} is no corpus: it has no {MANIFEST}; build one with: timbrel corpus build")
        return cls(folder, *_read(manifest_path))

    def all_for_training(self) -> "Corpus":
        """Return the corpus with all clips under train; files stay."""
        return self._with_splits(np.zeros(len(self._table.clips), np.uint8))

    def deal(self, splits: Mapping[str, Split]) -> "Corpus":
        """Assign splits by clip name, also on disk; raises as `host.files.replacing`."""
        clips = self.clips()
        new_corpus = self._with_splits(np.array([SPLITS.index(splits[name]) for name in clips.names], np.uint8))
        report = self.report.model_copy(update={"split_clips": {}, "split_seconds": {}})
        _count_splits(report, new_corpus._table.clips, self.rate)
        dealt_clips = new_corpus._table.clips
        return Corpus(
            self.folder,
            *replace_files(self.folder, self._manifest, {"report": report}, replace(self._table, clips=dealt_clips)),
        )

    def _with_splits(self, splits: npt.NDArray[np.uint8]) -> "Corpus":
        return Corpus(self.folder, self._manifest, replace(self._table, clips=self._table.clips.with_splits(splits)))

    def beginning(self, count: int) -> "Corpus":
        """Return the corpus of the first ``count`` clips."""
        return Corpus(self.folder, self._manifest, replace(self._table, clips=self._table.clips.beginning(count)))

    def clips_digest(self) -> str:
        """Return the SHA-256 of the clips' names, splits and labels."""
        return self._table.clips.digest()

    @functools.cached_property
    def files(self) -> dict[str, str]:
        """SHA-256 of source sound files, by name; empty for other sources."""
        return {file.name: file.sha256 for file in self.source_files()}

    def source_files(self) -> Iterator[SourceFile]:
        return self._table.files()

    def clips(self, split: Split | None = None) -> Clips:
        return Clips(self._table.clips, self._table.clips.rows(split))

    def samples(self, clip: Clip, start: int = 0, stop: int | None = None) -> Samples:
        """Return a clip's mono sound, or a part of it: float32 [length], mapped."""
        first_sample = clip.start + min(start, clip.length)
        end_sample = clip.start + clip.length if stop is None else min(clip.start + stop, clip.start + clip.length)
        return self._mapped_samples(self.shards[clip.shard].file, first_sample, end_sample)

    def channels(self, clip: Clip) -> int:
        """Return 2 for a stereo clip, else 1."""
        return 1 if clip.sides_start is None else 2

    def sides(self, clip: Clip) -> Samples:
        """Return a clip's left and right side: float32 [2, length], mapped. A clip of one channel has it twice."""
        if clip.sides_start is None:
            return np.broadcast_to(self.samples(clip), (2, clip.length))
        end_sample = clip.sides_start + 2 * clip.length
        return self._mapped_samples(self.shards[clip.shard].sides_file, clip.sides_start, end_sample).reshape(2, -1)

    def _mapped_samples(self, file: str, first_sample: int, end_sample: int) -> Samples:
        """Return samples of a mapped file, after asking the disk for them."""
        byte_count = max(0, end_sample - first_sample) * FLOAT.itemsize
        shard = self._map_file(file, byte_count)
        if hasattr(mmap, "MADV_WILLNEED") and 0 < byte_count < READ_AHEAD_BYTES:  # else it comes page by page
            # madvise takes whole pages.
            page_offset = first_sample * FLOAT.itemsize % mmap.PAGESIZE
            begin_byte = first_sample * FLOAT.itemsize - page_offset
            shard._mmap.madvise(mmap.MADV_WILLNEED, begin_byte, byte_count + page_offset)  # type: ignore[attr-defined]
        return shard[first_sample:end_sample]

    def _map_file(self, file: str, byte_count: int) -> np.memmap[Any, np.dtype[np.float32]]:
        """Return a mapped file of sound. Unmaps pages and files that were used long ago."""
        with self._lock:
            self._mapped_bytes += byte_count
            if self._mapped_bytes > MAPPED_BYTES:
                self._mapped_bytes = 0
                release(*self._mapped.values())
            shard = self._mapped.pop(file, None)
            if shard is None:
                shard = np.memmap(self.folder / file, FLOAT, mode="r")
            self._mapped[file] = shard
            if len(self._mapped) > MOST_MAPPED:
                del self._mapped[next(iter(self._mapped))]  # views keep theirs
            return shard

    def pitch(self, clip: Clip) -> Samples:
        """Return a clip's MIDI notes: float32 [ceil(length / 1024)], NaN where unpitched, mapped."""
        return self._table.pitch[self._table.clips.frames(clip)]

    def seconds(self, split: Split | None = None) -> float:
        return int(self.clips(split).lengths.sum()) / self.rate


class Writer:
    """Writes a corpus's files; ``base`` is a growing corpus in the folder."""

    def __init__(self, folder: Path, rate: int, base: Corpus | None = None) -> None:
        self.folder, self.rate, self.base = folder, rate, base
        self.clips: list[Clip] = []  # new ones; rows count from the base's last
        self.report = base.report.model_copy(deep=True) if base else CorpusReport()
        self._shards: list[Shard] = [*base.shards] if base else []
        self._tracks: list[Samples] = []
        self._base_count = len(base._table.clips) if base else 0
        self._audio = contextlib.ExitStack()
        self._file: Any = None
        self._sides_file: Any = None
        self._length = self._sides_length = 0  # of the shard that is written

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._audio.close()

    def append(
        self,
        samples: Sliceable,
        track: Samples,
        *,
        name: str,
        group: str,
        label: str = "",
        key: int | None = None,
        program: int | None = None,
        velocity: int | None = None,
        tempo_bpm: float | None = None,
        beats: int | None = None,
        onset_seconds: float | None = None,
        slurred: bool = False,
        held_seconds: float | None = None,
        sides: Samples | None = None,
    ) -> None:
        """Add a clip: mono samples [length], pitch [ceil(length / 1024)], and sides [2, length] of a stereo sound."""
        if self._file is None or self._length * FLOAT.itemsize >= SHARD_BYTES:
            self._begin_shard()
        start, peak, sides_start = self._length, write_samples(self._file, samples), None
        self._length += len(samples)
        if sides is not None:
            sides_start, peak = self._sides_length, self._write_sides(sides)
        self._shards[-1] = Shard(file=self._shards[-1].file, length=self._length, sides_length=self._sides_length)
        clip = Clip(
            shard=len(self._shards) - 1, start=start, length=len(samples), peak=peak, name=name, group=group,
            label=label, key=key, program=program, velocity=velocity, tempo_bpm=tempo_bpm, beats=beats,
            onset_seconds=onset_seconds, slurred=slurred, sides_start=sides_start,
            held_seconds=held_seconds,
        )  # fmt: skip
        self.add(clip, track)

    def add(self, clip: Clip, track: Samples) -> None:
        """Add a clip in a known shard; its row is set here."""
        assert len(track) == frame_count(clip.length)
        self.report.count_clip(clip.length, track, self.rate, is_stereo=clip.sides_start is not None)
        self.clips.append(replace(clip, row=self._base_count + len(self.clips)))
        self._tracks.append(track.astype(FLOAT))

    @property
    def next_shard(self) -> int:
        """The number of the next new file."""
        shard_numbers = [int(shard.file[6:11]) for shard in self._shards if shard.file.startswith("audio-")]
        return max(shard_numbers, default=-1) + 1

    def add_shard(self, file: str, length: int, sides_length: int) -> int:
        """Add a file, and that of its sides, as a shard; return its index."""
        self._shards.append(Shard(file=file, length=length, sides_length=sides_length))
        return len(self._shards) - 1

    def _begin_shard(self) -> None:
        self._audio.close()
        file_name = shard_name(len(self._shards))
        self._file = self._audio.enter_context((self.folder / file_name).open("wb"))
        self._shards.append(Shard(file=file_name, length=1))
        self._length = self._sides_length = 0

    def _write_sides(self, sides: Samples) -> float:
        """Write the sides of a clip beside the shard; return the largest absolute sample."""
        if not self._sides_length:
            sides_path = self.folder / sides_name(self._shards[-1].file)
            self._sides_file = self._audio.enter_context(sides_path.open("wb"))
        self._sides_length += sides.size
        return max(write_samples(self._sides_file, side) for side in sides)

    def samples(self, clip: Clip) -> Samples:
        if self._file is not None:
            self._file.flush()
        offset = clip.start * FLOAT.itemsize
        return np.fromfile(self.folder / self._shards[clip.shard].file, FLOAT, clip.length, offset=offset)

    def pitch(self, clip: Clip) -> Samples:
        return self._tracks[clip.row - self._base_count]

    def set_pitch(self, clip: Clip, track: Samples) -> None:
        self.report.count_pitch(self.pitch(clip), clip.length, self.rate, -1)
        self.report.count_pitch(track, clip.length, self.rate)
        self._tracks[clip.row - self._base_count] = track.astype(FLOAT)

    def finish(
        self,
        splits: Mapping[str, Split],
        *,
        name: str,
        licence: str | None = None,
        files: Sequence[SourceFile] = (),
        loops: LoopGrid | None = None,
        group: str | None = None,
    ) -> CorpusReport:
        """Write the table and ``corpus.json``; ``splits`` are new clips', by name."""
        self._audio.close()
        new_clips = ClipTable.from_clips([replace(clip, split=splits[clip.name]) for clip in self.clips])
        _count_splits(self.report, new_clips, self.rate)
        self.report.grid_bpm = loops.tempo_bpm(self.rate) if loops else None
        manifest = Manifest(
            name=name,
            rate=self.rate,
            shards=self._shards,
            table="",
            licence=licence,
            report=self.report,
            loops=loops,
            group=group,
        )
        table = Table.from_clips(new_clips, np.concatenate([np.zeros(0, FLOAT), *self._tracks]), files)
        replace_files(self.folder, manifest, {}, self.base._table + table if self.base else table)
        return self.report


@contextlib.contextmanager
def writing(destination: Path, rate: int) -> Iterator[Writer]:
    """Yield a `Writer` of ``destination``; raises as `host.files.building_folder`."""
    with building_folder(destination) as folder, Writer(folder, rate) as writer:
        yield writer


def shard_name(number: int) -> str:
    return f"audio-{number:05}.f32"


def write_samples(file: Any, samples: Sliceable) -> float:
    """Write float32 samples; return the largest absolute one."""
    peak = 0.0
    for piece_start in range(0, len(samples), PIECE):
        piece = samples[piece_start : min(piece_start + PIECE, len(samples))].astype(FLOAT)
        peak = max(peak, float(np.abs(piece).max()))
        file.write(piece.tobytes())
    return peak


def _count_splits(report: CorpusReport, clips: ClipTable, rate: int) -> None:
    """Count clips and seconds of each split in the report."""
    for split_index, length in zip(clips.numbers["split"].tolist(), clips.numbers["length"].tolist(), strict=True):
        report.count_split(SPLITS[split_index], length / rate)


def _read(path: Path) -> tuple[Manifest, Table]:
    """Read the manifest and table; raise UserError for damage or another format."""
    try:
        text = path.read_text(encoding="utf-8")
        format_number = _Format.model_validate_json(text).format
        if format_number == 1:
            return read_format_1(path.parent, text)
        if format_number not in range(2, FORMAT + 1):
            raise UserError(
                f"corpus {path.parent} has format {format_number}, this timbrel reads formats 1 to {FORMAT}; "
                "build the corpus again"
            )
        manifest = Manifest.model_validate_json(text)
        return manifest, Table.open(path.parent / manifest.table, manifest.format)
    except (ValidationError, UnicodeDecodeError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        reason = "not text" if isinstance(error, UnicodeDecodeError) else reason
        raise UserError(f"{path} is damaged ({reason}); build the corpus again") from error


class _Format(BaseModel):
    format: int
