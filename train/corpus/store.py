"""Stores and opens a corpus: a folder of two memory-mapped arrays and a JSON manifest.

Both arrays are little-endian float32: ``audio.f32`` holds all clips end to end, mono; ``pitch.f32`` one MIDI note for
every 1024 samples of each clip.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...host.errors import UserError
from ...host.files import building_folder, replacing
from .pitch import HOP, Sliceable, frame_count
from .report import CorpusReport

FORMAT: Literal[1] = 1
Samples = npt.NDArray[np.float32]
Split = Literal["train", "val", "test"]

_MANIFEST, _AUDIO, _PITCH = "corpus.json", "audio.f32", "pitch.f32"
_FLOAT = np.dtype("<f4")
_PIECE = 1 << 20  # samples copied at once: 4 MB, however long the clip


class Clip(BaseModel):
    """A clip's range in samples and its metadata.

    ``group`` is its source recording, ``key`` and ``velocity`` are labels, ``program`` is General MIDI's, from 0, and
    ``tempo_bpm`` is that of a loop's source. A note cut from a melody has ``onset_seconds`` after its
    first sound; ``slurred`` ones have no attack of their own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

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


def recording_of(clip: Clip) -> str:
    return clip.name if clip.onset_seconds is None else clip.name.rpartition("#")[0]


class LoopGrid(BaseModel):
    """The common grid of a corpus's loops, in steps of ``step_length`` samples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step_length: int = Field(gt=0)
    steps_per_beat: int = Field(default=4, gt=0)
    beats_per_bar: int = Field(default=4, gt=0)

    def tempo_bpm(self, rate: int) -> float:
        return 60 * rate / (self.step_length * self.steps_per_beat)


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = FORMAT
    name: str
    rate: int = Field(gt=0)
    hop: int = Field(default=HOP, ge=HOP, le=HOP)
    licence: str | None = None
    clips: list[Clip] = Field(min_length=1)
    report: CorpusReport
    files: dict[str, str] = {}
    loops: LoopGrid | None = None

    @model_validator(mode="after")
    def _clips_lie_end_to_end(self) -> Self:
        starts = accumulate((clip.length for clip in self.clips), initial=0)
        if any(clip.start != start for clip, start in zip(self.clips, starts, strict=False)):
            raise ValueError("its clips do not lie end to end")
        return self


class Corpus:
    def __init__(self, folder: Path, manifest: _Manifest) -> None:
        self.folder, self._manifest = folder, manifest
        self.name = manifest.name
        self.rate = manifest.rate
        self.licence = manifest.licence
        self.report = manifest.report
        self.files = manifest.files  # SHA-256 of its source sound files, by name; empty for other sources
        self.loops = manifest.loops  # None where clips are not loops
        self._clips = manifest.clips
        lengths = [clip.length for clip in manifest.clips]
        frames = [frame_count(length) for length in lengths]
        self._audio = _mapped(folder / _AUDIO, sum(lengths))
        self._pitch = _mapped(folder / _PITCH, sum(frames))
        self._first_frame = {
            clip.name: first for clip, first in zip(manifest.clips, accumulate(frames, initial=0), strict=False)
        }

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Map the corpus in ``folder``.

        Raises:
            UserError: it is missing, no corpus, damaged, or of another format.
        """
        if not folder.exists():
            raise UserError(f"corpus {folder} does not exist; build one with: timbrel corpus build SOUNDS -o {folder}")
        path = folder / _MANIFEST
        if not path.is_file():
            raise UserError(f"{folder} is no corpus: it has no {_MANIFEST}; build one with: timbrel corpus build")
        return cls(folder, _read_manifest(path))

    def whole(self) -> "Corpus":
        """Return the corpus with all clips under train; files stay unchanged."""
        return Corpus(self.folder, self._dealt(dict.fromkeys((clip.name for clip in self._clips), "train")))

    def deal(self, splits: Mapping[str, Split]) -> "Corpus":
        """Assign a split to every clip by name, also in ``corpus.json``; raises as `host.files.replacing`."""
        manifest = self._dealt(splits)
        report = manifest.report.model_copy(update={"split_clips": {}, "split_seconds": {}})
        for clip in manifest.clips:
            report.count_split(clip.split, clip.length / self.rate)
        manifest = manifest.model_copy(update={"report": report})
        with replacing(self.folder / _MANIFEST, overwrite=True) as file:
            file.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        return Corpus(self.folder, manifest)

    def _dealt(self, splits: Mapping[str, Split]) -> _Manifest:
        clips = [clip.model_copy(update={"split": splits[clip.name]}) for clip in self._clips]
        return self._manifest.model_copy(update={"clips": clips})

    def clips(self, split: Split | None = None) -> list[Clip]:
        return [clip for clip in self._clips if split in (None, clip.split)]

    def samples(self, clip: Clip) -> Samples:
        """Return a clip's sound: float32 [length], a view of the file."""
        return self._audio[clip.start : clip.start + clip.length]

    def pitch(self, clip: Clip) -> Samples:
        """Return a clip's MIDI notes: float32 [ceil(length / 1024)], NaN where unpitched, a view of the file."""
        first = self._first_frame[clip.name]
        return self._pitch[first : first + frame_count(clip.length)]

    def seconds(self, split: Split | None = None) -> float:
        return sum(clip.length for clip in self.clips(split)) / self.rate


class Writer:
    def __init__(self, folder: Path, rate: int) -> None:
        self.rate = rate
        self.clips: list[Clip] = []
        self._first_frame: dict[str, int] = {}  # of each clip's notes, in their file
        self._next_frame = 0
        self.report = CorpusReport()
        self._manifest = folder / _MANIFEST
        self._audio = (folder / _AUDIO).open("wb")
        self._pitch = (folder / _PITCH).open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._audio.close()
        self._pitch.close()

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
    ) -> None:
        """Add a clip: mono samples [length] and its pitch track [ceil(length / 1024)]."""
        assert len(track) == frame_count(len(samples))
        start = self.clips[-1].start + self.clips[-1].length if self.clips else 0
        for first in range(0, len(samples), _PIECE):
            self._audio.write(samples[first : min(first + _PIECE, len(samples))].astype(_FLOAT).tobytes())
        self._pitch.write(track.astype(_FLOAT).tobytes())
        self.report.count_clip(len(samples), track, self.rate)
        self._first_frame[name], self._next_frame = self._next_frame, self._next_frame + len(track)
        self.clips.append(
            Clip(
                name=name,
                start=start,
                length=len(samples),
                group=group,
                label=label,
                key=key,
                program=program,
                velocity=velocity,
                tempo_bpm=tempo_bpm,
                beats=beats,
                onset_seconds=onset_seconds,
                slurred=slurred,
            )
        )

    def samples(self, clip: Clip) -> Samples:
        self._audio.flush()
        offset = clip.start * _FLOAT.itemsize
        return np.fromfile(self._audio.name, _FLOAT, clip.length, offset=offset)

    def pitch(self, clip: Clip) -> Samples:
        self._pitch.flush()
        return np.fromfile(self._pitch.name, _FLOAT, frame_count(clip.length), offset=self._place(clip))

    def retune(self, clip: Clip, semitones: float) -> None:
        self.set_pitch(clip, self.pitch(clip) + np.float32(semitones))

    def set_pitch(self, clip: Clip, track: Samples) -> None:
        """Replace a clip's pitch track, and count it in the report."""
        self.report.count_pitch(self.pitch(clip), clip.length, self.rate, -1)
        self.report.count_pitch(track, clip.length, self.rate)
        self._pitch.seek(self._place(clip))
        self._pitch.write(track.astype(_FLOAT).tobytes())
        self._pitch.seek(0, os.SEEK_END)

    def _place(self, clip: Clip) -> int:
        return _FLOAT.itemsize * self._first_frame[clip.name]

    def finish(
        self,
        splits: dict[str, Split],
        *,
        name: str,
        licence: str | None = None,
        files: dict[str, str] | None = None,
        loops: LoopGrid | None = None,
    ) -> CorpusReport:
        """Write ``corpus.json``; ``files`` are SHA-256 of source files by name."""
        clips = [clip.model_copy(update={"split": splits[clip.name]}) for clip in self.clips]
        for clip in clips:
            self.report.count_split(clip.split, clip.length / self.rate)
        self.report.grid_bpm = loops.tempo_bpm(self.rate) if loops else None
        manifest = _Manifest(
            name=name,
            rate=self.rate,
            clips=clips,
            licence=licence,
            report=self.report,
            files=files or {},
            loops=loops,
        )
        self._manifest.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        return self.report


@contextlib.contextmanager
def writing(destination: Path, rate: int) -> Iterator[Writer]:
    """Yield a `Writer`; its corpus moves to ``destination`` on success and is deleted on an error.

    Raises as `host.files.building_folder`.
    """
    with building_folder(destination) as folder, Writer(folder, rate) as writer:
        yield writer


def _read_manifest(path: Path) -> _Manifest:
    try:
        text = path.read_text(encoding="utf-8")
        found = _Format.model_validate_json(text).format
        if found != FORMAT:
            raise UserError(
                f"corpus {path.parent} has format {found}, this timbrel reads format {FORMAT}; build the corpus again"
            )
        return _Manifest.model_validate_json(text)
    except (ValidationError, UnicodeDecodeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "not text"
        raise UserError(f"{path} is damaged ({reason}); build the corpus again") from error


class _Format(BaseModel):
    format: int


def _mapped(path: Path, length: int) -> Samples:
    found = path.stat().st_size if path.is_file() else 0
    if found != length * _FLOAT.itemsize:
        raise UserError(
            f"{path} has {found} bytes where its corpus.json expects {length * _FLOAT.itemsize}; build the corpus again"
        )
    return np.memmap(path, _FLOAT, mode="r")
