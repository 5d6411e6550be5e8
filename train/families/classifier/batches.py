"""Batches of labelled clips: whole recordings of one length, with the numbers of their labels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....host.errors import UserError
from ...corpus.store import Clip, Corpus, Split
from .recipe import ClassifierRecipe

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BATCH = 64  # validation clips at a time
FEWEST = 2  # labels: of one, there is nothing to tell


@dataclass
class LabelledData:
    """Batches of the classifier family: (audio [batch, clip_length], numbers of labels [batch]).

    Attributes:
        words: the labels, by their numbers.
        length: samples of each clip: silence follows what is shorter, and what is longer is cut.
        later: samples by which a training clip begins later at the most, by chance.
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
        """See `Data.batch`: clips that begin later by chance. Gain is left, as the network does not see it."""
        clips = [self.train[i] for i in frames]
        starts = rng.integers(0, self.later + 1, len(frames))
        return torch.from_numpy(clips_of(self.corpus, clips, self.length, starts)), self._labels(clips)

    def validation(self, limit: int) -> list[tuple[Tensor, ...]]:
        """See `Data.validation`: clips as they are."""
        chosen = _evenly(self.val, limit)
        return [self._as_they_are(chosen[first : first + BATCH]) for first in range(0, len(chosen), BATCH)]

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        """See `Data.spread`."""
        return self._as_they_are(_evenly(self.train, limit))

    def _as_they_are(self, clips: list[Clip]) -> tuple[Tensor, ...]:
        return torch.from_numpy(clips_of(self.corpus, clips, self.length)), self._labels(clips)

    def _labels(self, clips: list[Clip]) -> Tensor:
        return torch.tensor([self.words.index(clip.label) for clip in clips])


def labelled_data(corpus: Corpus, recipe: ClassifierRecipe, folder: Path, tonal: bool) -> LabelledData:
    """The labelled clips of a corpus; where it has none for validation, those of training stand in for them.

    Nothing is kept in ``folder``, and pitch does not matter.
    """
    frames, words = recipe.frames, recipe.network.words
    train, val = (labelled(corpus, split, words) for split in ("train", "val"))
    later = round(frames.later_seconds * frames.sample_rate)
    return LabelledData(corpus, words, frames.clip_length, later, train, val or train)


def labelled(corpus: Corpus, split: Split, words: list[str]) -> list[Clip]:
    """Return the clips of a split that have one of these labels."""
    return [clip for clip in corpus.clips(split) if clip.label in words]


def clips_of(corpus: Corpus, clips: list[Clip], length: int, starts: Ints | None = None) -> Array:
    """Return the samples of clips, [clips, length]: silence follows what is shorter, and what is longer is cut.

    Args:
        corpus: whose clips these are.
        clips: some of them.
        length: in samples.
        starts: silence before each, in samples, [clips]; none by default.
    """
    found = np.zeros((len(clips), length), np.float32)
    for row, clip, start in zip(found, clips, np.zeros(len(clips), int) if starts is None else starts, strict=True):
        samples = corpus.samples(clip)[: max(0, length - start)]
        row[start : start + len(samples)] = samples
    return found


def check_labelled(corpus: Corpus, recipe: ClassifierRecipe) -> None:
    """Refuse a corpus that has fewer than two labels to tell apart."""
    words = words_of(corpus)
    if len(words) < FEWEST:
        found = ", ".join(map(repr, words)) or "none"
        raise UserError(
            f"recipe {recipe.name} tells labels apart, and the training clips of corpus {corpus.folder} have {found}; "
            "build it with --label folder or --label REGEX"
        )


def words_of(corpus: Corpus) -> list[str]:
    """Return the labels that the training clips have, each once, in order."""
    return sorted({clip.label for clip in corpus.clips("train")} - {""})


def named(recipe: ClassifierRecipe, corpus: Corpus) -> ClassifierRecipe:
    """Return a recipe with the labels of the corpus, unless it has some."""
    if recipe.network.words:
        return recipe
    return recipe.model_copy(update={"network": recipe.network.model_copy(update={"words": words_of(corpus)})})


def _evenly(clips: list[Clip], limit: int) -> list[Clip]:
    return [clips[i] for i in np.linspace(0, len(clips) - 1, min(limit, len(clips))).astype(np.int64)]
