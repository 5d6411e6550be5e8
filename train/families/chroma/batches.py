"""Batches for the chroma family: spectra paired across keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....host.units import octave_of
from ...batches.frames import check_audible, is_tonal
from ...corpus.store import Corpus
from ...sampling import evenly_spaced, thinned
from .frames import FrameStore, build
from .recipe import ChromaRecipe

LOW = 0.05  # quantile of pitches that counts as the corpus's lowest note
HEARD = 20_000  # clips, at most, for it
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
        chosen = evenly_spaced(len(store), limit)
        rng = np.random.default_rng(0)
        return (_pairs(store, chosen[i : i + 512], rng) for i in range(0, len(chosen), 512))

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        chosen = evenly_spaced(len(self.train), limit)
        frames, pitch_classes = self.train.take_frames(chosen, np.zeros_like(chosen))
        return torch.from_numpy(frames), torch.nn.functional.one_hot(torch.from_numpy(pitch_classes), 12).float()


def _pairs(store: FrameStore, frames: npt.NDArray[np.int64], rng: np.random.Generator) -> tuple[Tensor, ...]:
    views = rng.integers(store.views, size=len(frames))
    others = (views + rng.integers(1, store.views, size=len(frames))) % store.views if store.views > 1 else views
    inputs, pitch_classes = store.take_frames(frames, views)
    chroma = torch.nn.functional.one_hot(torch.from_numpy(pitch_classes), 12).float()
    if store.views == 1:
        same = torch.from_numpy(inputs)
        return same, chroma, same, chroma
    targets, target_classes = store.take_frames(frames, others)
    target_chroma = torch.nn.functional.one_hot(torch.from_numpy(target_classes), 12).float()
    return torch.from_numpy(inputs), chroma, torch.from_numpy(targets), target_chroma


def chroma_data(corpus: Corpus, recipe: ChromaRecipe, folder: Path, tonal: bool) -> ChromaData:
    seed, frames = recipe.training.seed, recipe.frames
    train = build(corpus, "train", frames, folder, seed)
    rows = min(frames.rows, VALIDATION_FRAMES * frames.views)
    val = build(corpus, "val", frames.model_copy(update={"rows": rows}), folder, seed)
    return ChromaData(train, val, tonal)


def in_octave(recipe: ChromaRecipe, corpus: Corpus) -> ChromaRecipe:
    """Replace ``octave = "lowest"`` by the octave of the corpus's 5% quantile of notes, 3 to 5.

    Lower octaves leave no room for noise between harmonics.
    """
    if recipe.frames.octave != "lowest":
        return recipe
    tracks = [corpus.pitch(clip) for clip in thinned(corpus.clips("train"), HEARD)]
    notes = np.concatenate([track[np.isfinite(track)] for track in tracks]) if tracks else np.zeros(0)
    octave = octave_of(round(float(np.quantile(notes, LOW)))) if len(notes) else OCTAVES[0]
    frames = recipe.frames.model_copy(update={"octave": int(np.clip(octave, *OCTAVES))})
    return recipe.model_copy(update={"frames": frames})


def check_spectra(corpus: Corpus, recipe: ChromaRecipe) -> None:
    check_audible(corpus, recipe.frames, tonal=recipe.frames.octave is not None and is_tonal(corpus))
