"""Data for the chroma family: spectra cut from a corpus, transposed, and paired across keys.

The first bins of a transform of ``frame_length * ratio`` samples are the spectrum of ``frame_length`` samples played
``ratio`` times as fast: transposition keeps lobe widths, to the cent.
"""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....host.arrays import Array
from ....host.engines.spectrum.phase_retrieval import CausalPhase
from ....host.errors import Failure
from ....host.signal import chroma, overlap_add, window
from ....host.units import octave_of, semitones_to_ratio
from ...corpus.clip_table import Clip, Split, release
from ...corpus.store import Corpus
from ...frames import IN_MEMORY_BYTES, RELEASE_BYTES, FrameOrigin, FrameOrigins, check_audible, is_tonal, spread_sources
from ...preview import SECONDS
from ...sampling import evenly_spaced, thinned
from ..family import Family
from .network import ChromaAutoencoder
from .recipe import ChromaFrames, ChromaRecipe

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
        spectra = np.empty((len(frames), self.rows.shape[2]), np.float32)
        for first in range(0, len(frames), TAKE):
            batch = slice(first, first + TAKE)
            torch.from_numpy(spectra[batch]).copy_(torch.from_numpy(self.rows[frames[batch], views[batch]]))
            release(self.rows)
        return spectra, self.pitch_classes[frames, views].astype(np.int64)


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
    origins = spread_sources(corpus, split, settings, fold, max(1, settings.rows // views), folder)
    bins = settings.frame_length // 2 + 1
    rng = np.random.default_rng([seed, len(split)])
    shape = (len(origins), views, bins)
    rows = np.zeros(shape, np.float16) if 2 * np.prod(shape) <= IN_MEMORY_BYTES else _mapped(folder, shape)
    pitch_classes = np.zeros((len(origins), views), np.int8)
    release_interval = max(1, RELEASE_BYTES // (views * (2 * bins + 4 * settings.frame_length)))
    clip: Clip | None = None
    samples = np.zeros(0, np.float32)
    for index, origin in enumerate(origins):
        if origin.clip is not clip:
            clip, samples = origin.clip, corpus.samples(origin.clip)
        if index % release_interval == 0:
            release(rows, samples)
            origins.release()
        if fold:
            assert settings.fold is not None
            keys = _keys(origin.note, views, rng)
            pitch_classes[index] = keys
            lowest = 12 * (settings.fold + 1)
            for view, key in enumerate(keys):
                rows[index, view] = _halved(moved_frame(samples, origin, lowest + key, settings))
        else:
            frame = moved_frame(samples, origin, origin.note, settings)
            rows[index, 0] = _halved(frame)
            pitch_classes[index, 0] = int(chroma(frame, settings.sample_rate, settings.frame_length).argmax())
    origins.release()
    return FrameStore(rows, pitch_classes, origins)


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
    transposes = np.isfinite(source.note) and note != source.note
    length = (
        round(settings.frame_length * semitones_to_ratio(note - source.note)) if transposes else settings.frame_length
    )
    centre = source.start + settings.frame_length // 2
    first = min(max(0, centre - length // 2), max(0, len(samples) - length))
    excerpt = samples[first : first + length]
    if len(excerpt) < length:  # clips shorter than the window are zero-padded
        excerpt = np.pad(excerpt, (0, length - len(excerpt)))
    spectrum = np.abs(np.fft.rfft(excerpt * window("hann", length)))
    bins = settings.frame_length // 2 + 1
    frame = np.zeros(bins, np.float32)
    frame[: min(bins, len(spectrum))] = spectrum[:bins]
    return frame / max(float(frame.max()), 1e-12)


def _keys(note: float, views: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    pitch_class = round(note) % 12
    other_classes = rng.permutation(np.delete(np.arange(12), pitch_class))[: views - 1]
    return np.concatenate([[pitch_class], other_classes]).astype(np.int64)


LOWEST_NOTE_QUANTILE = 0.05  # of pitches: counts as the corpus's lowest note
PITCH_CLIPS = 20_000  # clips, at most, for it
OCTAVES = 3, 5  # range of octaves chosen from the corpus
VALIDATION_FRAMES = 4096  # evenly spaced: 0.2 s to evaluate, with little variance


@dataclass
class ChromaData:
    """Batches of (frames, chroma, targets, target chroma)."""

    train: FrameStore
    val: FrameStore
    tonal: bool

    def __len__(self) -> int:
        return len(self.train)

    def batch(self, frames: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, ...]:
        return _pairs(self.train, frames, rng)

    def validation(self, limit: int) -> Iterator[tuple[Tensor, ...]]:
        store = self.val if len(self.val) else self.train
        indices = evenly_spaced(len(store), limit)
        rng = np.random.default_rng(0)
        return (_pairs(store, indices[i : i + 512], rng) for i in range(0, len(indices), 512))

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        indices = evenly_spaced(len(self.train), limit)
        frames, pitch_classes = self.train.take_frames(indices, np.zeros_like(indices))
        return torch.from_numpy(frames), torch.nn.functional.one_hot(torch.from_numpy(pitch_classes), 12).float()


def _pairs(store: FrameStore, frames: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, ...]:
    views = rng.integers(store.views, size=len(frames))
    target_views = (views + rng.integers(1, store.views, size=len(frames))) % store.views if store.views > 1 else views
    inputs, pitch_classes = store.take_frames(frames, views)
    chroma = torch.nn.functional.one_hot(torch.from_numpy(pitch_classes), 12).float()
    if store.views == 1:
        spectra = torch.from_numpy(inputs)
        return spectra, chroma, spectra, chroma
    targets, target_classes = store.take_frames(frames, target_views)
    target_chroma = torch.nn.functional.one_hot(torch.from_numpy(target_classes), 12).float()
    return torch.from_numpy(inputs), chroma, torch.from_numpy(targets), target_chroma


class ChromaFamily(Family[ChromaRecipe, ChromaAutoencoder]):
    network = ChromaAutoencoder
    bfloat16 = True

    def check(self, corpus: Corpus, recipe: ChromaRecipe) -> None:
        check_audible(corpus, recipe.frames, tonal=recipe.frames.octave is not None and is_tonal(corpus))

    def data(self, corpus: Corpus, recipe: ChromaRecipe, folder: Path, tonal: bool) -> ChromaData:
        seed, frames = recipe.training.seed, recipe.frames
        train = build(corpus, "train", frames, folder, seed)
        rows = min(frames.rows, VALIDATION_FRAMES * frames.views)
        val = build(corpus, "val", frames.model_copy(update={"rows": rows}), folder, seed)
        return ChromaData(train, val, tonal)

    def complete(self, recipe: ChromaRecipe, corpus: Corpus) -> ChromaRecipe:
        """Replace ``octave = "lowest"`` by the octave of the corpus's 5% quantile of notes, 3 to 5.

        Lower octaves leave no room for noise between harmonics.
        """
        if recipe.frames.octave != "lowest":
            return recipe
        tracks = [corpus.pitch(clip) for clip in thinned(corpus.clips("train"), PITCH_CLIPS)]
        notes = np.concatenate([track[np.isfinite(track)] for track in tracks]) if tracks else np.zeros(0)
        octave = octave_of(round(float(np.quantile(notes, LOWEST_NOTE_QUANTILE)))) if len(notes) else OCTAVES[0]
        frames = recipe.frames.model_copy(update={"octave": int(np.clip(octave, *OCTAVES))})
        return recipe.model_copy(update={"frames": frames})

    def preview(self, network: ChromaAutoencoder, recipe: ChromaRecipe, batch: list[torch.Tensor]) -> list[Array]:
        frames, chroma, *_ = batch
        length, hop = recipe.frames.frame_length, recipe.frames.hop_length
        phase = CausalPhase(length, hop)
        sounds = []
        for frame in network.decode(network.encode(frames, chroma), chroma).cpu().numpy():
            count = int(SECONDS * recipe.frames.sample_rate / hop)
            spectra = phase.apply(np.repeat(frame[None], count, 0), [phase.start_state()] * count)
            sounds.append(overlap_add(np.fft.irfft(spectra) * window("hann", length), hop))
        return sounds
