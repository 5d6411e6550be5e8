"""Batches of labelled clips of one length."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....host.errors import UserError
from ...batches.clip_selection import clips_of, words_of
from ...corpus.store import Clip, Corpus, Split
from ...sampling import thinned
from .recipe import ClassifierRecipe

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BATCH = 64  # validation clips at a time
FEWEST = 2  # labels


@dataclass
class LabelledData:
    """Batches of (audio [batch, clip_length], label indices [batch]).

    Training clips have random delays of up to ``later`` samples. The network ignores gain.
    """

    corpus: Corpus
    words: list[str]
    length: int
    later: int
    train: list[Clip]
    val: list[Clip]

    def __len__(self) -> int:
        return len(self.train)

    def batch(self, frames: Ints, rng: np.random.Generator) -> tuple[Tensor, ...]:
        clips = [self.train[i] for i in frames]
        starts = rng.integers(0, self.later + 1, len(frames))
        return torch.from_numpy(clips_of(self.corpus, clips, self.length, starts)), self._labels(clips)

    def validation(self, limit: int) -> list[tuple[Tensor, ...]]:
        chosen = thinned(self.val, limit)
        return [self._as_they_are(chosen[first : first + BATCH]) for first in range(0, len(chosen), BATCH)]

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return self._as_they_are(thinned(self.train, limit))

    def _as_they_are(self, clips: list[Clip]) -> tuple[Tensor, ...]:
        return torch.from_numpy(clips_of(self.corpus, clips, self.length)), self._labels(clips)

    def _labels(self, clips: list[Clip]) -> Tensor:
        return torch.tensor([self.words.index(clip.label) for clip in clips])


def labelled_data(corpus: Corpus, recipe: ClassifierRecipe, folder: Path, tonal: bool) -> LabelledData:
    frames, words = recipe.frames, recipe.network.words
    train, val = (labelled(corpus, split, words) for split in ("train", "val"))
    later = round(frames.later_seconds * frames.sample_rate)
    return LabelledData(corpus, words, frames.clip_length, later, train, val or train)


def labelled(corpus: Corpus, split: Split, words: list[str]) -> list[Clip]:
    return [clip for clip in corpus.clips(split) if clip.label in words]


def check_labelled(corpus: Corpus, recipe: ClassifierRecipe) -> None:
    words = words_of(corpus)
    if len(words) < FEWEST:
        found = ", ".join(map(repr, words)) or "none"
        raise UserError(
            f"recipe {recipe.name} tells labels apart, and the training clips of corpus {corpus.folder} have {found}; "
            "build it with --label folder or --label REGEX"
        )
