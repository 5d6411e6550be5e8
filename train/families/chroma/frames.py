"""Training frames of the chroma family: spectra cut from a corpus and transposed.

The first bins of a transform of ``frame_length * ratio`` samples are the spectrum of ``frame_length`` samples played
``ratio`` times as fast: transposition keeps lobe widths, to the cent.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ....host.arrays import Array
from ....host.errors import Failure
from ....host.stft import chroma, window
from ....host.units import semitones_to_ratio
from ...batches.frames import IN_MEMORY_BYTES, RELEASE_BYTES, FrameOrigin, FrameOrigins, is_tonal, spread_sources
from ...column_file import release
from ...corpus.clip_table import Clip, Split
from ...corpus.store import Corpus
from .recipe import ChromaFrames

TAKE = 128  # mapped rows read before pages are released: the kernel maps up to 2 MB around each


class FrameStore:
    """Magnitudes ``rows``, [frames, views, bins], maximum 1, with ``pitch_classes``, [frames, views]."""

    def __init__(
        self, rows: npt.NDArray[np.float16], pitch_classes: npt.NDArray[np.int8], sources: FrameOrigins
    ) -> None:
        self.rows, self.pitch_classes, self.sources = rows, pitch_classes, sources

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def views(self) -> int:
        return int(self.pitch_classes.shape[1])

    def take_frames(
        self, frames: npt.NDArray[np.int64], views: npt.NDArray[np.int64]
    ) -> tuple[Array, npt.NDArray[np.int64]]:
        """Return spectra [rows, bins] and pitch classes [rows]."""
        taken = np.empty((len(frames), self.rows.shape[2]), np.float32)
        for first in range(0, len(frames), TAKE):
            part = slice(first, first + TAKE)
            torch.from_numpy(taken[part]).copy_(torch.from_numpy(self.rows[frames[part], views[part]]))
            release(self.rows)
        return taken, self.pitch_classes[frames, views].astype(np.int64)


def build(corpus: Corpus, split: Split, settings: ChromaFrames, folder: Path, seed: int) -> FrameStore:
    """Cut, transpose and normalise a split's frames, in a file in ``folder`` if large.

    With ``settings.fold`` and a tonal corpus, each pitched frame moves to ``settings.views`` keys of that octave, its
    own first. Otherwise frames stay, with the pitch class of the strongest chroma bin (Colonel & Keene, 2020, section
    III-B). Above ``settings.rows`` frames × views, only every n-th frame is kept.

    Raises:
        Failure: no disk space.
    """
    fold = settings.fold is not None and is_tonal(corpus)
    views = settings.views if fold else 1
    found = spread_sources(corpus, split, settings, fold, max(1, settings.rows // views), folder)
    bins = settings.frame_length // 2 + 1
    rng = np.random.default_rng([seed, len(split)])
    shape = (len(found), views, bins)
    rows = np.zeros(shape, np.float16) if 2 * np.prod(shape) <= IN_MEMORY_BYTES else _mapped(folder, shape)
    pitch_classes = np.zeros((len(found), views), np.int8)
    often = max(1, RELEASE_BYTES // (views * (2 * bins + 4 * settings.frame_length)))
    clip: Clip | None = None
    samples = np.zeros(0, np.float32)
    for index, source in enumerate(found):
        if source.clip is not clip:
            clip, samples = source.clip, corpus.samples(source.clip)
        if index % often == 0:
            release(rows, samples)
            found.release()
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
    found.release()
    return FrameStore(rows, pitch_classes, found)


def _halved(frame: Array) -> npt.NDArray[np.float16]:
    """As numpy rounds, which takes thirty times as long where values underflow."""
    halved: npt.NDArray[np.float16] = torch.from_numpy(frame).half().numpy()
    return halved


def _mapped(folder: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.float16]:
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
