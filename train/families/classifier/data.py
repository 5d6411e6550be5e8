"""Training data of the classifier family: labelled clips."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ....host.arrays import Integers
from ....host.errors import UserError
from ...corpus.clip_table import Clips, Split
from ...corpus.store import Corpus
from ...data import Data, clips_of, words_of
from ..family import Family
from .network import Classifier
from .recipe import ClassifierRecipe

FEWEST = 2  # labels


@dataclass
class LabelledData(Data[Clips]):
    """Batches of (audio [batch, clip_length], label indices [batch]).

    Training clips have random delays of up to ``max_delay`` samples.
    """

    corpus: Corpus
    words: list[str]
    length: int
    max_delay: int
    together: ClassVar[int] = 64

    def batch(self, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        clips = self.train.take(indices)
        delay_samples = rng.integers(0, self.max_delay + 1, len(indices))
        return torch.from_numpy(clips_of(self.corpus, clips, self.length, delay_samples)), self._labels(clips)

    def examples(self, source: Clips, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return clips without delay, and their label indices."""
        clips = source.take(indices)
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
    exported = False

    def check(self, corpus: Corpus, recipe: ClassifierRecipe) -> None:
        words = words_of(corpus)
        if len(words) < FEWEST:
            label_text = ", ".join(map(repr, words)) or "none"
            raise UserError(
                f"recipe {recipe.name} tells labels apart, and the training clips of corpus {corpus.folder} "
                f"have {label_text}; build it with --label folder or --label REGEX"
            )

    def data(self, corpus: Corpus, recipe: ClassifierRecipe, folder: Path) -> LabelledData:
        frame_settings, words = recipe.frames, recipe.network.words
        train, val = (labelled(corpus, split, words) for split in ("train", "val"))
        max_delay_samples = round(frame_settings.later_seconds * frame_settings.sample_rate)
        return LabelledData(train, val, corpus, words, frame_settings.clip_length, max_delay_samples)
