"""Frames of a corpus: origins of those that sound, and their pitches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from ..host.arrays import Array, Integers
from ..host.errors import UserError
from .corpus.clip_table import Clip, Clips, ColumnFile, Split, release
from .corpus.pitch import HOP, single_note
from .corpus.store import Corpus
from .recipe import Frames

QUIET = 10 ** (-50 / 20)  # of the clip's loudest frame: quieter frames are tail and noise
SILENT = 10 ** (-80 / 20)  # of full scale: clips with a smaller peak and frames with a smaller RMS are silent
IN_MEMORY_BYTES = 1 << 30  # larger arrays are mapped from disk
RELEASE_BYTES = 128 << 20  # mapped pages are released after this much cutting: memory stays small for any corpus
PIECE = 4096  # frames measured at once: 17 MB of sound at the publication's hop


@dataclass(frozen=True, slots=True)  # slots: ten hours have a million and a half
class FrameOrigin:
    """Source of a frame: clip, first sample, and MIDI note (NaN: unpitched)."""

    clip: Clip
    start: int
    note: float


class FrameOrigins(Sequence[FrameOrigin]):
    """Frames by columns: index into ``clips``, first sample and note, [frames] each."""

    def __init__(self, clips: Clips, clip: Integers, starts: Integers, notes: Array) -> None:
        self._clips, self._clip, self._starts, self._notes = clips, clip, starts, notes
        self._last: tuple[int, Clip] | None = None  # frames in order are of one clip many times

    def __len__(self) -> int:
        return len(self._starts)

    def release(self) -> None:
        release(self._clip, self._starts, self._notes)

    @overload
    def __getitem__(self, index: int, /) -> FrameOrigin: ...
    @overload
    def __getitem__(self, index: slice, /) -> "FrameOrigins": ...
    def __getitem__(self, index: int | slice, /) -> "FrameOrigin | FrameOrigins":
        if isinstance(index, slice):
            return FrameOrigins(self._clips, self._clip[index], self._starts[index], self._notes[index])
        number = int(self._clip[index])
        if self._last is None or self._last[0] != number:
            self._last = number, self._clips[number]
        return FrameOrigin(self._last[1], int(self._starts[index]), float(self._notes[index]))


def is_tonal(corpus: Corpus) -> bool:
    """Return whether at least half of the training pitch tracks is pitched."""
    pitched, total = pitched_frames(corpus)
    return pitched >= total / 2


def pitched_frames(corpus: Corpus) -> tuple[int, int]:
    """Count pitched and all values in training clips' pitch tracks."""
    pitched, total = 0, 0
    for clip in corpus.clips("train"):
        track = corpus.pitch(clip)
        pitched, total = pitched + int(np.isfinite(track).sum()), total + len(track)
    return pitched, total


def sources(corpus: Corpus, split: Split, settings: Frames, tonal: bool) -> Iterator[FrameOrigin]:
    """Yield a split's audible frames; with ``tonal``, only pitched ones: all of a single-note clip."""
    clips = corpus.clips(split)
    for number, starts, notes in _audible(corpus, clips, settings, tonal):
        clip = clips[number]
        for start, note in zip(starts, notes, strict=True):
            yield FrameOrigin(clip, int(start), float(note))


Audible = tuple[int, Integers, Array]  # a clip's index, first samples and notes of its frames


def _audible(corpus: Corpus, clips: Clips, settings: Frames, tonal: bool) -> Iterator[Audible]:
    for number, clip in enumerate(clips):
        samples, pitch = corpus.samples(clip), corpus.pitch(clip)
        starts = np.arange(0, len(samples) - settings.frame_length + 1, settings.hop_length)
        if not len(starts):
            continue
        rms = _levels(samples, settings)
        loud = rms > max(SILENT, QUIET * float(rms.max()))
        centres = np.minimum((starts + settings.frame_length // 2) // HOP, len(pitch) - 1)
        notes = pitch[centres]
        if tonal and (note := single_note(pitch)) is not None:
            notes = np.where(np.isfinite(notes), notes, np.float32(note))
        keep = loud & np.isfinite(notes) if tonal else loud
        yield number, starts[keep], notes[keep]


def spread_sources(
    corpus: Corpus, split: Split, settings: Frames, tonal: bool, most_frames: int, folder: Path | None = None
) -> FrameOrigins:
    """Return every n-th frame of `sources`, at most ``most_frames``; files in ``folder`` list all.

    Raises:
        Failure: no disk space.
    """
    clips = corpus.clips(split)
    with ColumnFile(folder, "<i4") as clip, ColumnFile(folder, "<i8") as first, ColumnFile(folder, "<f4") as note:
        for number, starts, notes in _audible(corpus, clips, settings, tonal):
            clip.append(np.full(len(starts), number))
            first.append(starts)
            note.append(notes)
        origins = FrameOrigins(clips, clip.mapped(), first.mapped(), note.mapped())
    return origins[:: max(1, -(-len(origins) // most_frames))]


def check_audible(corpus: Corpus, settings: Frames, tonal: bool) -> None:
    if next(sources(corpus, "train", settings, tonal), None) is None:
        raise UserError(f"corpus {corpus.folder} has no training frame that sounds; add longer or louder sounds")


def _levels(samples: Array, settings: Frames) -> npt.NDArray[np.float64]:
    views = np.lib.stride_tricks.sliding_window_view(samples, settings.frame_length)[:: settings.hop_length]
    levels = np.empty(len(views))
    for first in range(0, len(views), PIECE):
        levels[first : first + PIECE] = [np.mean(np.square(view)) for view in views[first : first + PIECE]]
        release(samples)
    return np.sqrt(levels)
