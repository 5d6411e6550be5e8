"""Training data of the classifier family: labelled clips."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ....host.arrays import Integers
from ....host.errors import UserError
from ...corpus.clip_table import Clips, Split
from ...corpus.store import Corpus
from ...data import clips_of, with_words, words_of
from ...sampling import evenly_spaced
from ..family import Family
from .network import Classifier
from .recipe import ClassifierRecipe

BATCH = 64  # validation clips at a time


FEWEST = 2  # labels


@dataclass
class LabelledData:
    """Batches of (audio [batch, clip_length], label indices [batch]).

    Training clips have random delays of up to ``max_delay`` samples.
    """

    corpus: Corpus
    words: list[str]
    length: int
    max_delay: int
    train: Clips
    val: Clips

    def __len__(self) -> int:
        return len(self.train)

    def batch(self, frames: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        clips = self.train.take(frames)
        delay_samples = rng.integers(0, self.max_delay + 1, len(frames))
        return torch.from_numpy(clips_of(self.corpus, clips, self.length, delay_samples)), self._labels(clips)

    def validation(self, limit: int) -> Iterator[tuple[Tensor, ...]]:
        clips = self.val.take(evenly_spaced(len(self.val), limit))
        return (
            self._as_they_are(clips[batch_start : batch_start + BATCH]) for batch_start in range(0, len(clips), BATCH)
        )

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return self._as_they_are(self.train.take(evenly_spaced(len(self.train), limit)))

    def _as_they_are(self, clips: Clips) -> tuple[Tensor, ...]:
        """Return clips without delay, and their label indices."""
        return torch.from_numpy(clips_of(self.corpus, clips, self.length)), self._labels(clips)

    def _labels(self, clips: Clips) -> Tensor:
        return torch.from_numpy(clips.label_numbers(self.words))


def labelled(corpus: Corpus, split: Split, words: list[str]) -> Clips:
    """Return a split's clips with one of ``words``."""
    clips = corpus.clips(split)
    return clips.take(clips.label_numbers(words) >= 0)


class ClassifierFamily(Family[ClassifierRecipe, Classifier]):
    network = Classifier
    previewed = False

    def check(self, corpus: Corpus, recipe: ClassifierRecipe) -> None:
        words = words_of(corpus)
        if len(words) < FEWEST:
            label_text = ", ".join(map(repr, words)) or "none"
            raise UserError(
                f"recipe {recipe.name} tells labels apart, and the training clips of corpus {corpus.folder} "
                f"have {label_text}; build it with --label folder or --label REGEX"
            )

    def data(self, corpus: Corpus, recipe: ClassifierRecipe, folder: Path, tonal: bool) -> LabelledData:
        frame_settings, words = recipe.frames, recipe.network.words
        train, val = (labelled(corpus, split, words) for split in ("train", "val"))
        max_delay_samples = round(frame_settings.later_seconds * frame_settings.sample_rate)
        return LabelledData(
            corpus, words, frame_settings.clip_length, max_delay_samples, train, val if len(val) else train
        )

    def complete(self, recipe: ClassifierRecipe, corpus: Corpus) -> ClassifierRecipe:
        return with_words(recipe, corpus)
