"""Training data of all families, and the choice of audible clips with the recipe's words."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from torch import Tensor

from ..host.arrays import Array, Integers
from ..host.errors import UserError
from .corpus.clip_table import Clip, Clips, Split
from .corpus.store import Corpus
from .frames import SILENT
from .recipe import Recipe
from .sampling import evenly_spaced

ExamplesT = TypeVar("ExamplesT", bound=Sized)
RecipeT = TypeVar("RecipeT", bound=Recipe)


@dataclass
class Data(ABC, Generic[ExamplesT]):
    """Examples of training and of validation; those of training replace missing ones of validation."""

    train: ExamplesT
    val: ExamplesT
    together: ClassVar[int] = 512  # examples of a batch of validation, which limit its memory

    def __post_init__(self) -> None:
        if not len(self.val):
            self.val = self.train

    def __len__(self) -> int:
        return len(self.train)

    @abstractmethod
    def examples(self, source: ExamplesT, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return examples as validation needs them, without the random variation of training."""

    def batch(self, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return training examples."""
        return self.examples(self.train, indices, rng)

    def validated(self, limit: int) -> Integers:
        """Return the indices of up to ``limit`` validation examples, evenly spaced."""
        return evenly_spaced(len(self.val), limit)

    def validation(self, limit: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield batches of up to ``limit`` validation examples, equal at every call."""
        indices, rng = self.validated(limit), np.random.default_rng(0)
        for first in range(0, len(indices), self.together):
            yield self.examples(self.val, indices[first : first + self.together], rng)

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        """Return inputs of `Network.varies`: training examples, evenly spaced."""
        return self.examples(self.train, evenly_spaced(len(self), limit), np.random.default_rng(0))


def audible_clips(corpus: Corpus, split: Split, words: list[str]) -> tuple[Clips, Integers]:
    """Return a split's audible clips, with one of ``words`` if given, and their label indices."""
    clips = audible(corpus, split)
    label_indices = clips.label_numbers(words) if words else np.zeros(len(clips), np.int64)
    return clips.take(label_indices >= 0), label_indices[label_indices >= 0]


def audible(corpus: Corpus, split: Split) -> Clips:
    """Return a split's clips whose peak is not silent."""
    clips, peaks = corpus.clips(split), corpus.clips(split).peaks
    for clip_index in np.flatnonzero(np.isnan(peaks)).tolist():  # not measured when the corpus was built
        samples = corpus.samples(clips[clip_index])
        peaks[clip_index] = max(samples.max(), -samples.min())
    return clips.take(peaks > SILENT)


def clips_of(corpus: Corpus, clips: Sequence[Clip], length: int, starts: Integers | None = None) -> Array:
    """Return samples [clips, length], cut or padded, after ``starts`` [clips] samples of silence."""
    batch = np.zeros((len(clips), length), np.float32)
    silence_lengths = [0] * len(clips) if starts is None else starts.tolist()
    clip_samples = [
        corpus.samples(clip, 0, max(0, length - silence_length))
        for clip, silence_length in zip(clips, silence_lengths, strict=True)
    ]
    # The disk was asked for all at once.
    for batch_row, samples, silence_length in zip(batch, clip_samples, silence_lengths, strict=True):
        batch_row[silence_length : silence_length + len(samples)] = samples
    return batch


def words_of(corpus: Corpus) -> list[str]:
    """Return the sorted labels of the training clips."""
    return sorted({*corpus.clips("train").labels} - {""})


def words_in(recipe: Recipe) -> list[str]:
    """Return the labels in a recipe; none for networks without."""
    return getattr(getattr(recipe, "network", None), "words", [])


def check_words(corpus: Corpus, recipe: Recipe) -> None:
    """Raise UserError if a conditional recipe finds fewer than two labels, or the recipe's words are missing."""
    labels = words_of(corpus)
    if getattr(getattr(recipe, "network", None), "labels", False) and len(labels) < 2:
        label_text = ", ".join(map(repr, labels)) or "none"
        raise UserError(
            f"network.labels wants a corpus with two labels at least, and {corpus.folder} has {label_text}; "
            "build it with --label folder or --label REGEX, or set network.labels = false"
        )
    if unknown_words := sorted(set(words_in(recipe)) - set(labels)):
        raise UserError(
            f"network.words has {unknown_words[0]!r}, and no training clip of corpus {corpus.folder} is labelled so; "
            f"its labels are {', '.join(map(repr, labels))}"
        )


def with_words(recipe: RecipeT, corpus: Corpus) -> RecipeT:
    """Fill in the labels of a recipe whose network has ``words``."""
    network_settings: Any = getattr(recipe, "network", None)
    # Classifiers always need labels.
    if getattr(network_settings, "words", True) or not getattr(network_settings, "labels", True):
        return recipe
    network_settings = network_settings.model_copy(update={"words": words_of(corpus)})
    return recipe.model_copy(update={"network": network_settings})


def left_out(corpus: Corpus, audible: Clips, used: Clips) -> list[str]:
    """Describe the training clips that are not used: silent ones, and those without a label."""
    remarks = []
    if len(silent_clips := corpus.clips("train").excluding(audible)):
        remarks.append(without(silent_clips, "silent clip"))
    if len(unlabelled_clips := audible.excluding(used)):
        remarks.append(without(unlabelled_clips, "unlabelled clip"))
    return remarks


def without(clips: Sequence[Clip], noun: str, kind: str = "") -> str:
    """Return the remark that clips of a ``kind`` are left out, with the name of the first."""
    return f"{counted(len(clips), noun)}{kind} {are(len(clips))} left out ({clips[0].name!r})"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is 1."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def are(count: int) -> str:
    return "is" if count == 1 else "are"
