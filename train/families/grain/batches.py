"""Batches for the grain family: windows of samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....host.errors import UserError
from ...batches.frames import SILENT
from ...corpus.clip_table import Clips, Split
from ...corpus.store import Corpus
from ...sampling import evenly_spaced
from .recipe import GrainFrames, GrainRecipe

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

FEWEST = 50  # windows side by side: a network cannot generalise from fewer
PLACE = 4  # an aligned window has its largest sample at 1/PLACE of its length


@dataclass(frozen=True)
class Windows:
    """Windows: index into ``clips``, first sample, and sign to multiply by, [windows] each."""

    clips: Clips
    clip: Ints
    starts: Ints
    signs: Array

    def __len__(self) -> int:
        return len(self.starts)

    def take_grains(self, corpus: Corpus, chosen: Ints, length: int) -> Array:
        taken = np.empty((len(chosen), length), np.float32)
        for row, index in zip(taken, chosen, strict=True):
            start = self.starts[index]
            row[:] = corpus.samples(self.clips[self.clip[index]])[start : start + length]
        return taken * self.signs[chosen, None]


@dataclass
class GrainData:
    """Batches of (windows [batch, length],).

    Training windows have random signs unless ``upright``, and attenuation uniform up to ``softer_db``.
    """

    corpus: Corpus
    length: int
    upright: bool
    softer_db: float
    train: Windows
    val: Windows

    def __len__(self) -> int:
        return len(self.train)

    def batch(self, frames: Ints, rng: np.random.Generator) -> tuple[Tensor, ...]:
        taken = self.train.take_grains(self.corpus, frames, self.length)
        if not self.upright:
            taken *= rng.choice(np.array([-1, 1], np.float32), (len(frames), 1))
        if self.softer_db:
            taken *= (10 ** (-self.softer_db * rng.random((len(frames), 1)) / 20)).astype(np.float32)
        return (torch.from_numpy(taken),)

    def validation(self, limit: int) -> Iterator[tuple[Tensor, ...]]:
        chosen = evenly_spaced(len(self.val), limit)
        parts = (chosen[first : first + 512] for first in range(0, len(chosen), 512))
        return ((torch.from_numpy(self.val.take_grains(self.corpus, part, self.length)),) for part in parts)

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return (
            torch.from_numpy(self.train.take_grains(self.corpus, evenly_spaced(len(self.train), limit), self.length)),
        )


def grain_data(corpus: Corpus, recipe: GrainRecipe, folder: Path, tonal: bool) -> GrainData:
    """Return a corpus's windows; held-out ends of training clips replace missing validation clips."""
    settings = recipe.frames
    train = windows(corpus, "train", settings)
    val = windows(corpus, "val", settings)
    if not len(val):
        val = windows(corpus, "train", settings, held_out=True)
    return GrainData(
        corpus, settings.frame_length, settings.align, settings.softer_db, train, val if len(val) else train
    )


def windows(corpus: Corpus, split: Split, settings: GrainFrames, held_out: bool = False) -> Windows:
    """Return a split's audible windows before each training clip's held-out end, or inside it."""
    clips = corpus.clips(split)
    length, hop = settings.frame_length, settings.hop_length
    found: list[tuple[int, Ints, Array]] = []
    for number, clip in enumerate(clips):
        samples = corpus.samples(clip)
        edge = round(len(samples) * (1 - settings.held_out)) if split == "train" else len(samples)
        begin, end = (edge, len(samples)) if held_out else (0, edge)
        starts = np.arange(begin, end - length + 1, hop)
        if not len(starts):
            continue
        energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
        starts = starts[energy[starts + length] - energy[starts] > length * SILENT**2]
        signs = np.ones(len(starts), np.float32)
        if settings.align and len(starts):
            starts, signs = _aligned(samples, starts, length, begin, end)
        found.append((number, starts, signs))
    if not found:
        return Windows(clips, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
    numbers = np.concatenate([np.full(len(starts), number) for number, starts, _ in found])
    return Windows(clips, numbers, np.concatenate([s for _, s, _ in found]), np.concatenate([s for *_, s in found]))


def _aligned(samples: Array, starts: Ints, length: int, begin: int, end: int) -> tuple[Ints, Array]:
    """Move windows until their largest sample is at a quarter."""
    levels = np.lib.stride_tricks.sliding_window_view(np.abs(samples), length)
    while True:
        peaks = np.array([start + int(levels[start].argmax()) for start in starts])
        moved = np.clip(peaks - length // PLACE, begin, end - length)
        if np.array_equal(moved, starts):
            return starts, np.sign(samples[peaks]).astype(np.float32)
        starts = moved


def check_grains(corpus: Corpus, recipe: GrainRecipe) -> None:
    length = recipe.frames.frame_length
    clips = corpus.clips("train")
    shortest = min(clips, key=lambda clip: clip.length)
    if shortest.length < length:
        raise UserError(
            f"frames.frame_length {length} is longer than clip {shortest.name!r} of {shortest.length} samples; "
            "set it lower, or build the corpus without that clip"
        )
    side_by_side = sum(int(clip.length * (1 - recipe.frames.held_out)) // length for clip in clips)
    if side_by_side < FEWEST:
        raise UserError(
            f"corpus {corpus.folder} has {corpus.seconds('train'):.1f} s to train on, {side_by_side} windows of "
            f"frames.frame_length {length} side by side, and {FEWEST} are the least; add sounds, or set it lower"
        )
    if not len(windows(corpus, "train", recipe.frames)):
        raise UserError(f"corpus {corpus.folder} has no training window that sounds; add louder sounds")
