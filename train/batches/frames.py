"""Training frames: spectra cut from a corpus and transposed.

The transform of ``frame_length * ratio`` samples has in its first bins the spectrum of ``frame_length`` samples played
``ratio`` times as fast. So transposition keeps lobe widths and is accurate to the cent.
"""

import mmap
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ...host.errors import Failure, UserError
from ...host.stft import chroma, window
from ...host.units import semitones_to_ratio
from ..corpus.clip_table import Clip, Split
from ..corpus.pitch import HOP, single_note
from ..corpus.store import Corpus
from ..families.chroma.recipe import ChromaFrames
from ..recipes.base import Frames

Array = npt.NDArray[np.float32]

QUIET = 10 ** (-50 / 20)  # of the clip's loudest frame: quieter frames are tail and noise
SILENT = 10 ** (-80 / 20)  # of full scale: clips with a smaller peak and frames with a smaller RMS are silent
IN_MEMORY_BYTES = 1 << 30  # larger arrays are mapped from disk
RELEASE_BYTES = 128 << 20  # mapped pages are released after this much cutting: memory stays small for any corpus
TAKE = 128  # mapped rows read before pages are released: the kernel maps up to 2 MB around each
PIECE = 4096  # frames measured at once: 17 MB of sound at the publication's hop


@dataclass(frozen=True, slots=True)  # slots: ten hours have a million and a half
class FrameOrigin:
    """Source of a frame: clip, first sample, and MIDI note (NaN: unpitched)."""

    clip: Clip
    start: int
    note: float


class FrameStore:
    """Magnitudes ``rows``, [frames, views, bins], maximum 1, with ``pitch_classes``, [frames, views]."""

    def __init__(
        self, rows: npt.NDArray[np.float16], pitch_classes: npt.NDArray[np.int64], sources: list[FrameOrigin]
    ) -> None:
        self.rows, self.pitch_classes, self.sources = rows, pitch_classes, sources

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def views(self) -> int:
        """Pitch classes per frame; 1 if unmoved."""
        return int(self.pitch_classes.shape[1])

    def take_frames(
        self, frames: npt.NDArray[np.int64], views: npt.NDArray[np.int64]
    ) -> tuple[Array, npt.NDArray[np.int64]]:
        """Return spectra [rows, bins] and pitch classes [rows]."""
        taken = np.empty((len(frames), self.rows.shape[2]), np.float32)
        for first in range(0, len(frames), TAKE):
            part = slice(first, first + TAKE)
            torch.from_numpy(taken[part]).copy_(torch.from_numpy(self.rows[frames[part], views[part]]))
            _release(self.rows)
        return taken, self.pitch_classes[frames, views]


def is_tonal(corpus: Corpus) -> bool:
    """Return whether at least half of the training pitch tracks is pitched."""
    pitched, total = pitched_frames(corpus)
    return pitched >= total / 2


def pitched_frames(corpus: Corpus) -> tuple[int, int]:
    """Return the counts of pitched and of all values in training clips' pitch tracks."""
    tracks = [corpus.pitch(clip) for clip in corpus.clips("train")]
    return sum(int(np.isfinite(track).sum()) for track in tracks), sum(map(len, tracks))


def sources(corpus: Corpus, split: Split, settings: Frames, tonal: bool) -> Iterator[FrameOrigin]:
    """Yield the audible frames of a split; with ``tonal``, only pitched ones.

    A single-note clip has its pitch throughout, including breath and room.
    """
    for clip, starts, notes in _audible(corpus, split, settings, tonal):
        for start, note in zip(starts, notes, strict=True):
            yield FrameOrigin(clip, int(start), float(note))


Audible = tuple[Clip, npt.NDArray[np.int64], Array]  # of a clip: first samples and notes of its frames


def _audible(corpus: Corpus, split: Split, settings: Frames, tonal: bool) -> Iterator[Audible]:
    for clip in corpus.clips(split):
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
        yield clip, starts[keep], notes[keep]


def _spread(audible: list[Audible], most: int) -> list[FrameOrigin]:
    """Return every n-th frame, ``most`` at most. Objects of all frames of ten hours would take 200 MB."""
    total = sum(len(starts) for _, starts, _ in audible)
    step, before, found = max(1, -(-total // most)), 0, []
    for clip, starts, notes in audible:
        kept = slice(-before % step, None, step)
        found += [FrameOrigin(clip, int(s), float(n)) for s, n in zip(starts[kept], notes[kept], strict=True)]
        before += len(starts)
    return found


def check_audible(corpus: Corpus, settings: Frames, tonal: bool) -> None:
    if next(sources(corpus, "train", settings, tonal), None) is None:
        raise UserError(f"corpus {corpus.folder} has no training frame that sounds; add longer or louder sounds")


def _levels(samples: Array, settings: Frames) -> npt.NDArray[np.float64]:
    views = np.lib.stride_tricks.sliding_window_view(samples, settings.frame_length)[:: settings.hop_length]
    levels = np.empty(len(views))
    for first in range(0, len(views), PIECE):
        levels[first : first + PIECE] = [np.mean(np.square(view)) for view in views[first : first + PIECE]]
        _release(samples)
    return np.sqrt(levels)


def build(corpus: Corpus, split: Split, settings: ChromaFrames, folder: Path, seed: int) -> FrameStore:
    """Cut, transpose and normalise the frames of a split, mapped from a file in ``folder`` if large.

    With ``settings.fold`` and a tonal corpus, each pitched frame is moved to ``settings.views`` keys of that octave,
    its own first. Otherwise frames stay, with the pitch class of the strongest chroma bin (Colonel & Keene, 2020,
    section III-B). Above ``settings.rows`` frames × views, only every n-th frame is kept.

    Raises:
        Failure: no disk space.
    """
    fold = settings.fold is not None and is_tonal(corpus)
    views = settings.views if fold else 1
    found = _spread(list(_audible(corpus, split, settings, tonal=fold)), max(1, settings.rows // views))
    bins = settings.frame_length // 2 + 1
    rng = np.random.default_rng([seed, len(split)])
    shape = (len(found), views, bins)
    rows = np.zeros(shape, np.float16) if 2 * np.prod(shape) <= IN_MEMORY_BYTES else _mapped(folder, shape)
    pitch_classes = np.zeros((len(found), views), np.int64)
    often = max(1, RELEASE_BYTES // (views * (2 * bins + 4 * settings.frame_length)))
    for index, source in enumerate(found):
        samples = corpus.samples(source.clip)
        if index % often == 0:
            _release(rows)
            _release(samples)
        if fold:
            assert settings.fold is not None
            keys = _keys(source.note, views, rng)
            pitch_classes[index] = keys
            lowest = 12 * (settings.fold + 1)
            for view, key in enumerate(keys):
                rows[index, view] = _halved(moved_frame(samples, source, lowest + key, settings))
        else:
            frame = moved_frame(samples, source, source.note, settings)
            rows[index, 0] = _halved(frame)
            pitch_classes[index, 0] = int(chroma(frame, settings.sample_rate, settings.frame_length).argmax())
    return FrameStore(rows, pitch_classes, found)


def _halved(frame: Array) -> npt.NDArray[np.float16]:
    """Round as numpy does, which takes thirty times as long where values underflow."""
    halved: npt.NDArray[np.float16] = torch.from_numpy(frame).half().numpy()
    return halved


def _mapped(folder: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.float16]:
    """Return zeros in an unnamed file, which disappears however the process ends."""
    length = 2 * int(np.prod(shape, dtype=np.int64))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # reports a full disk here, instead of a crash later
                os.posix_fallocate(file.fileno(), 0, length)
            return np.memmap(file, np.float16, "w+", shape=shape)
    except OSError as error:
        raise Failure(
            f"cannot keep {length / 1e9:.1f} GB of frames in {folder}: {error.strerror or error}; "
            "make room there, or set frames.rows lower"
        ) from error


def _release(array: npt.NDArray[np.generic]) -> None:
    """Release mapped pages; access reads them again."""
    if isinstance(array, np.memmap):
        array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def moved_frame(samples: Array, source: FrameOrigin, note: float, settings: ChromaFrames) -> Array:
    """Return the spectrum of a frame transposed to ``note``, [bins], with maximum 1.

    Partials above half the sampling rate are dropped.
    """
    moves = np.isfinite(source.note) and note != source.note
    length = round(settings.frame_length * semitones_to_ratio(note - source.note)) if moves else settings.frame_length
    centre = source.start + settings.frame_length // 2
    first = min(max(0, centre - length // 2), max(0, len(samples) - length))
    piece = samples[first : first + length]
    if len(piece) < length:  # clips shorter than the window are zero-padded
        piece = np.pad(piece, (0, length - len(piece)))
    spectrum = np.abs(np.fft.rfft(piece * window("hann", length)))
    bins = settings.frame_length // 2 + 1
    frame = np.zeros(bins, np.float32)
    frame[: min(bins, len(spectrum))] = spectrum[:bins]
    return frame / max(float(frame.max()), 1e-12)


def _keys(note: float, views: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    own = round(note) % 12
    others = rng.permutation(np.delete(np.arange(12), own))[: views - 1]
    return np.concatenate([[own], others]).astype(np.int64)
