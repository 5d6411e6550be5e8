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

    def __init__(self, clips: Clips, clip_indices: Integers, starts: Integers, notes: Array) -> None:
        self._clips, self._clip_indices, self._starts, self._notes = clips, clip_indices, starts, notes
        self._last: tuple[int, Clip] | None = None  # frames in order are of one clip many times

    def __len__(self) -> int:
        return len(self._starts)

    def release(self) -> None:
        release(self._clip_indices, self._starts, self._notes)

    @overload
    def __getitem__(self, index: int, /) -> FrameOrigin: ...
    @overload
    def __getitem__(self, index: slice, /) -> "FrameOrigins": ...
    def __getitem__(self, index: int | slice, /) -> "FrameOrigin | FrameOrigins":
        if isinstance(index, slice):
            return FrameOrigins(self._clips, self._clip_indices[index], self._starts[index], self._notes[index])
        clip_index = int(self._clip_indices[index])
        if self._last is None or self._last[0] != clip_index:
            self._last = clip_index, self._clips[clip_index]
        return FrameOrigin(self._last[1], int(self._starts[index]), float(self._notes[index]))


def is_tonal(corpus: Corpus) -> bool:
    """Return whether at least half of the training pitch tracks is pitched."""
    pitched_count, total_count = pitched_frames(corpus)
    return pitched_count >= total_count / 2


def pitched_frames(corpus: Corpus) -> tuple[int, int]:
    """Count pitched and all values in training clips' pitch tracks."""
    pitched_count, total_count = 0, 0
    for clip in corpus.clips("train"):
        track = corpus.pitch(clip)
        pitched_count, total_count = pitched_count + int(np.isfinite(track).sum()), total_count + len(track)
    return pitched_count, total_count


def sources(corpus: Corpus, split: Split, settings: Frames, tonal: bool) -> Iterator[FrameOrigin]:
    """Yield a split's audible frames; with ``tonal``, only pitched ones: all of a single-note clip."""
    clips = corpus.clips(split)
    for clip_index, frame_starts, notes in _audible(corpus, clips, settings, tonal):
        clip = clips[clip_index]
        for frame_start, note in zip(frame_starts, notes, strict=True):
            yield FrameOrigin(clip, int(frame_start), float(note))


Audible = tuple[int, Integers, Array]  # a clip's index, first samples and notes of its frames


def _audible(corpus: Corpus, clips: Clips, settings: Frames, tonal: bool) -> Iterator[Audible]:
    """Yield the loud frames of each clip; with ``tonal``, those with a note."""
    for clip_index, clip in enumerate(clips):
        samples, track = corpus.samples(clip), corpus.pitch(clip)
        frame_starts = np.arange(0, len(samples) - settings.frame_length + 1, settings.hop_length)
        if not len(frame_starts):
            continue
        frame_rms = _levels(samples, settings)
        is_loud = frame_rms > max(SILENT, QUIET * float(frame_rms.max()))
        centre_indices = np.minimum((frame_starts + settings.frame_length // 2) // HOP, len(track) - 1)
        notes = track[centre_indices]
        if tonal and (note := single_note(track)) is not None:
            notes = np.where(np.isfinite(notes), notes, np.float32(note))
        is_kept = is_loud & np.isfinite(notes) if tonal else is_loud
        yield clip_index, frame_starts[is_kept], notes[is_kept]


def spread_sources(
    corpus: Corpus, split: Split, settings: Frames, tonal: bool, most_frames: int, folder: Path | None = None
) -> FrameOrigins:
    """Return every n-th frame of `sources`, at most ``most_frames``; files in ``folder`` list all.

    Raises:
        Failure: no disk space.
    """
    clips = corpus.clips(split)
    with (
        ColumnFile(folder, "<i4") as clip_column,
        ColumnFile(folder, "<i8") as start_column,
        ColumnFile(folder, "<f4") as note_column,
    ):
        for clip_index, frame_starts, notes in _audible(corpus, clips, settings, tonal):
            clip_column.append(np.full(len(frame_starts), clip_index))
            start_column.append(frame_starts)
            note_column.append(notes)
        origins = FrameOrigins(clips, clip_column.mapped(), start_column.mapped(), note_column.mapped())
    return origins[:: max(1, -(-len(origins) // most_frames))]


def check_audible(corpus: Corpus, settings: Frames, tonal: bool) -> None:
    """Raise UserError if no training frame sounds."""
    if next(sources(corpus, "train", settings, tonal), None) is None:
        raise UserError(f"corpus {corpus.folder} has no training frame that sounds; add longer or louder sounds")


def _levels(samples: Array, settings: Frames) -> npt.NDArray[np.float64]:
    """Return the RMS of each frame."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, settings.frame_length)[:: settings.hop_length]
    mean_squares = np.empty(len(frames))
    for first_frame in range(0, len(frames), PIECE):
        mean_squares[first_frame : first_frame + PIECE] = [
            np.mean(np.square(frame)) for frame in frames[first_frame : first_frame + PIECE]
        ]
        release(samples)
    return np.sqrt(mean_squares)
