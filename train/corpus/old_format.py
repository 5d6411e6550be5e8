"""Reads corpora of format 1: one shard, and a manifest that lists clips and source files."""

from itertools import accumulate
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .clip_table import Clip, ClipTable, Split
from .manifest import FLOAT, LoopGrid, Manifest, Shard, SourceFile, Table, check_size
from .pitch import HOP
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
        starts = accumulate((clip.length for clip in self.clips), initial=0)
        if any(clip.start != start for clip, start in zip(self.clips, starts, strict=False)):
            raise ValueError("its clips do not lie end to end")
        return self


def read_format_1(folder: Path, text: str) -> tuple[Manifest, Table]:
    old = _Manifest1.model_validate_json(text)
    clips = ClipTable.of([Clip(row=row, **clip.model_dump()) for row, clip in enumerate(old.clips)])
    check_size(folder / "pitch.f32", clips.frame_count)
    pitch = np.memmap(folder / "pitch.f32", FLOAT, mode="r")
    manifest = Manifest(
        name=old.name,
        rate=old.rate,
        licence=old.licence,
        shards=[Shard(file="audio.f32", length=sum(clip.length for clip in old.clips))],
        table="",
        report=old.report,
        loops=old.loops,
    )
    return manifest, Table.of(clips, pitch, [SourceFile(name, digest) for name, digest in old.files.items()])
