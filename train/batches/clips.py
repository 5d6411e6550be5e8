"""Batches of clips: pieces of recordings of one length, cut on demand."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...host.errors import UserError
from ..corpus.store import Clip, Corpus, Split
from ..families.gan.recipe import ClipFrames, GANRecipe
from ..recipes.base import Recipe
from ..sampling import evenly_spaced
from .frames import SILENT

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

FEW = 10  # clips: a network cannot generalise from fewer
BATCH = 64  # validation clips at a time: limits the memory of gradients


@dataclass(frozen=True)
class Places:
    """Positions of a split's pieces, in memory proportional to its recordings.

    Recording ``clips[r]`` has the label index ``labels[r]`` and pieces ``firsts[r]`` to ``firsts[r + 1] - 1``: about
    one per hop of possible starts, at least one.
    """

    clips: list[Clip]
    firsts: Ints
    labels: Ints
    length: int

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def of(self, pieces: Ints) -> Ints:
        """Return recording indices, [pieces]."""
        return np.searchsorted(self.firsts, pieces, side="right") - 1

    def take_clips(
        self, corpus: Corpus, pieces: Ints, normalised: bool, rng: np.random.Generator | None = None
    ) -> Array:
        """Return samples, [pieces, length], zero-padded; ``normalised`` scales each piece to a peak of 1.

        Starts are random within each piece's range, the earliest if ``rng`` is None.
        """
        found = np.zeros((len(pieces), self.length), np.float32)
        chance = np.zeros(len(pieces)) if rng is None else rng.random(len(pieces))
        for row, piece, recording, share in zip(found, pieces, self.of(pieces), chance, strict=True):
            clip = self.clips[recording]
            starts = max(0, clip.length - self.length) + 1  # possible starts; each piece has an equal share
            parts = int(self.firsts[recording + 1] - self.firsts[recording])
            start = int((piece - self.firsts[recording] + share) * starts / parts)
            samples = corpus.samples(clip)[start : start + self.length]
            row[: len(samples)] = samples
        if normalised:
            found /= np.maximum(np.abs(found).max(1, keepdims=True), SILENT)
        return found


def places(corpus: Corpus, split: Split, settings: ClipFrames, words: list[str]) -> Places:
    clips, labels = audible_clips(corpus, split, words)
    lengths = np.array([clip.length for clip in clips], np.int64)
    starts = np.maximum(0, lengths - settings.frame_length) + 1
    firsts = np.concatenate([[0], np.cumsum(np.maximum(1, np.rint(starts / settings.hop_length)))]).astype(np.int64)
    return Places(clips, firsts, labels, settings.frame_length)


def audible_clips(corpus: Corpus, split: Split, words: list[str]) -> tuple[list[Clip], Ints]:
    """Return a split's audible clips and their label indices; with ``words``, only clips with one of these labels."""
    numbers = {word: number for number, word in enumerate(words)}
    clips = [clip for clip in corpus.clips(split) if is_audible(corpus, clip) and (not words or clip.label in numbers)]
    return clips, np.array([numbers.get(clip.label, 0) for clip in clips], np.int64)


def is_audible(corpus: Corpus, clip: Clip) -> bool:
    samples = corpus.samples(clip)
    return bool(max(samples.max(), -samples.min()) > SILENT)


def clips_of(corpus: Corpus, clips: list[Clip], length: int, starts: Ints | None = None) -> Array:
    """Return samples [clips, length], cut or zero-padded; ``starts`` is the silence before each, [clips]."""
    found = np.zeros((len(clips), length), np.float32)
    for row, clip, start in zip(found, clips, np.zeros(len(clips), int) if starts is None else starts, strict=True):
        samples = corpus.samples(clip)[: max(0, length - start)]
        row[start : start + len(samples)] = samples
    return found


@dataclass
class ClipData:
    """Batches of (clips [batch, frame_length], label indices [batch])."""

    corpus: Corpus
    normalised: bool
    train: Places
    val: Places

    def __len__(self) -> int:
        return len(self.train)

    def batch(self, frames: Ints, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return self._taken(self.train, frames, rng)

    def validation(self, limit: int) -> list[tuple[Tensor, ...]]:
        chosen = evenly_spaced(len(self.val), limit)
        return [self._taken(self.val, chosen[first : first + BATCH]) for first in range(0, len(chosen), BATCH)]

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return self._taken(self.train, evenly_spaced(len(self.train), limit))

    def _taken(self, of: Places, pieces: Ints, rng: np.random.Generator | None = None) -> tuple[Tensor, ...]:
        labels = of.labels[of.of(pieces)]
        return torch.from_numpy(of.take_clips(self.corpus, pieces, self.normalised, rng)), torch.from_numpy(labels)


def clip_data(corpus: Corpus, recipe: Recipe, folder: Path, tonal: bool) -> ClipData:
    assert isinstance(recipe.frames, ClipFrames)
    words: list[str] = getattr(getattr(recipe, "network", None), "words", [])
    train, val = (places(corpus, split, recipe.frames, words) for split in ("train", "val"))
    return ClipData(corpus, recipe.frames.normalised, train, val if len(val) else train)


def words_of(corpus: Corpus) -> list[str]:
    """Return the sorted labels of the training clips."""
    return sorted({clip.label for clip in corpus.clips("train")} - {""})


def check_clips(corpus: Corpus, recipe: Recipe) -> None:
    assert isinstance(recipe.frames, ClipFrames)
    check_words(corpus, recipe)
    if not len(places(corpus, "train", recipe.frames, [])):
        raise UserError(f"corpus {corpus.folder} has no training clip that sounds; add louder sounds")


def check_words(corpus: Corpus, recipe: Recipe) -> None:
    """Raise UserError if the corpus lacks two labels for a conditional recipe, or one of the recipe's words."""
    network, known = getattr(recipe, "network", None), words_of(corpus)
    if getattr(network, "labels", False) and len(known) < 2:
        found = ", ".join(map(repr, known)) or "none"
        raise UserError(
            f"network.labels wants a corpus with two labels at least, and {corpus.folder} has {found}; "
            "build it with --label folder or --label REGEX, or set network.labels = false"
        )
    if strange := sorted(set(getattr(network, "words", [])) - set(known)):
        raise UserError(
            f"network.words has {strange[0]!r}, and no training clip of corpus {corpus.folder} is labelled so; "
            f"its labels are {', '.join(map(repr, known))}"
        )


def with_words(recipe: GANRecipe, corpus: Corpus) -> GANRecipe:
    if not getattr(recipe.network, "labels", True) or recipe.network.words:  # classifiers always need labels
        return recipe
    network = recipe.network.model_copy(update={"words": words_of(corpus)})
    return recipe.model_copy(update={"network": network})


def describe(corpus: Corpus, recipe: Recipe) -> str:
    frames, words = recipe.frames, getattr(getattr(recipe, "network", None), "words", [])
    assert isinstance(frames, ClipFrames)
    audible = places(corpus, "train", frames, [])
    used = places(corpus, "train", frames, words)
    lengths = np.array([clip.length for clip in used.clips])
    seconds = frames.frame_length / frames.sample_rate
    parts = [f"clips of {frames.frame_length} samples ({seconds:.2f} s): {counted(len(lengths), 'recording')}"]
    if shorter := int((lengths < frames.frame_length).sum()):
        parts.append(f"{shorter} {are(shorter)} shorter, and followed by silence")
    if longer := int((lengths > frames.frame_length).sum()):
        gives = "gives" if longer == 1 else "give"
        parts.append(f"{longer} {are(longer)} longer, and {gives} pieces from anywhere in {_it(longer)}")
    parts += left_out(corpus, audible.clips, used.clips)
    if len(used) < FEW:
        parts.append("with so few, it learns these by heart")
    return "; ".join(parts)


def left_out(corpus: Corpus, audible: Sequence[Clip], used: Sequence[Clip]) -> list[str]:
    parts = []
    kept, known = {clip.name for clip in audible}, {clip.name for clip in used}
    if silent := [clip.name for clip in corpus.clips("train") if clip.name not in kept]:
        parts.append(f"{counted(len(silent), 'silent clip')} {are(len(silent))} left out ({silent[0]!r})")
    if bare := [clip.name for clip in audible if clip.name not in known]:
        parts.append(f"{counted(len(bare), 'unlabelled clip')} {are(len(bare))} left out ({bare[0]!r})")
    return parts


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def are(count: int) -> str:
    return "is" if count == 1 else "are"


def _it(count: int) -> str:
    return "it" if count == 1 else "them"
