"""Selects clips for training: audible ones, with one of the recipe's words."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...host.errors import UserError
from ..corpus.store import Clip, Corpus, Split
from ..families.gan.recipe import GANRecipe
from ..recipes.base import Recipe
from .frames import SILENT

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


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


def words_of(corpus: Corpus) -> list[str]:
    """Return the sorted labels of the training clips."""
    return sorted({clip.label for clip in corpus.clips("train")} - {""})


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


def left_out(corpus: Corpus, audible: Sequence[Clip], used: Sequence[Clip]) -> list[str]:
    parts = []
    kept, known = {clip.name for clip in audible}, {clip.name for clip in used}
    if silent := [clip.name for clip in corpus.clips("train") if clip.name not in kept]:
        parts.append(f"{counted(len(silent), 'silent clip')} {are(len(silent))} left out ({silent[0]!r})")
    if bare := [clip.name for clip in audible if clip.name not in known]:
        parts.append(f"{counted(len(bare), 'unlabelled clip')} {are(len(bare))} left out ({bare[0]!r})")
    return parts


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def are(count: int) -> str:
    return "is" if count == 1 else "are"
