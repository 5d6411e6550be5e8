"""Batches for the clip family: recordings from their beginnings on, varied where they are few."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...host.errors import UserError
from ..corpus.heard import dying_seconds
from ..corpus.store import Clip, Corpus, Split
from ..recipes.clip import UNIT, HitFrames, HitRecipe
from .clips import are, check_words, counted, left_out, words_of

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SILENT = 10 ** (-80 / 20)  # of full scale: a recording whose largest sample is smaller is no sound
FEWEST = 2  # clips: of one alone, no knob can be learned
SLOWEST = 0.2  # nepers a second: less is not heard
NEARLY_ALL = 0.95  # of clips, that have died away within the length of the model's
SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 2.0  # of a model's clip: what is longer is no hit, and takes long to learn
FADED = 1.04  # of that: the last part of a clip is faded out
BATCH = 64  # validation clips at a time


@dataclass(frozen=True)
class Hits:
    """The clips of a split that sound: where they lie in the corpus, and the numbers of their labels, [clips]."""

    clips: list[Clip]
    labels: Ints

    def take(self, corpus: Corpus, chosen: Ints, length: int) -> Array:
        """Return their first ``length`` samples, [chosen, length]; silence follows what is shorter."""
        taken = np.zeros((len(chosen), length), np.float32)
        for row, index in zip(taken, chosen, strict=True):
            samples = corpus.samples(self.clips[index])[:length]
            row[: len(samples)] = samples
        return taken


@dataclass
class HitData:
    """Batches of clips: (clips [batch, frame_length], the numbers of their labels [batch])."""

    corpus: Corpus
    settings: HitFrames
    train: Hits
    val: Hits

    def __len__(self) -> int:
        """Training frames; each few clips are taken several times, varied each time."""
        return len(self.train.clips) * self._times

    @property
    def _times(self) -> int:
        """How often each training clip is taken."""
        return max(1, math.ceil(self.settings.enough / len(self.train.clips)))

    def batch(self, frames: Ints, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """See `Data.batch`."""
        chosen = frames % len(self.train.clips)
        taken = self.train.take(self.corpus, chosen, self.settings.frame_length)
        if self._times > 1:
            taken = varied(taken, self.settings, rng)
        return torch.from_numpy(taken), torch.from_numpy(self.train.labels[chosen])

    def validation(self, limit: int) -> list[tuple[Tensor, ...]]:
        """See `Data.validation`."""
        chosen = _evenly(self.val, limit)
        return [self._taken(self.val, chosen[first : first + BATCH]) for first in range(0, len(chosen), BATCH)]

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        """See `Data.spread`."""
        return self._taken(self.train, _evenly(self.train, limit))

    def _taken(self, hits: Hits, chosen: Ints) -> tuple[Tensor, ...]:
        taken = hits.take(self.corpus, chosen, self.settings.frame_length)
        return torch.from_numpy(taken), torch.from_numpy(hits.labels[chosen])


def hit_data(corpus: Corpus, recipe: HitRecipe, folder: Path, tonal: bool) -> HitData:
    """The clips of a corpus; where it has none for validation, those of training stand in for them.

    Nothing is kept in ``folder``, and pitch does not matter.
    """
    train, val = (hits(corpus, split, recipe.network.words) for split in ("train", "val"))
    return HitData(corpus, recipe.frames, train, val if val.clips else train)


def hits(corpus: Corpus, split: Split, words: list[str]) -> Hits:
    """Return the clips of a split that sound; with ``words``, those that have one for a label."""
    numbers = {word: number for number, word in enumerate(words)}
    clips = [clip for clip in corpus.clips(split) if sounds(corpus, clip) and (not words or clip.label in numbers)]
    return Hits(clips, np.array([numbers.get(clip.label, 0) for clip in clips], np.int64))


def sounds(corpus: Corpus, clip: Clip) -> bool:
    """Return whether a clip sounds."""
    samples = corpus.samples(clip)
    return bool(max(samples.max(), -samples.min()) > SILENT)


def varied(clips: Array, settings: HitFrames, rng: np.random.Generator) -> Array:
    """Return clips of which most are moved in pitch and damped, each by chance, [clips, length]; some stay."""
    count, length = clips.shape
    moved = rng.random(count) < 0.7
    ratios = 2.0 ** (rng.uniform(-settings.semitones, settings.semitones, count) * moved / 12)
    damped = rng.random(count) < 0.6
    rates = np.exp(rng.uniform(math.log(SLOWEST), math.log(max(settings.damping, SLOWEST)), count)) * damped
    time = np.arange(length)
    rows = [
        np.interp(time * ratio, time, clip, right=0.0) * np.exp(-rate * time / settings.sample_rate)
        for clip, ratio, rate in zip(clips, ratios, rates, strict=True)
    ]
    return np.stack(rows).astype(np.float32)


def hit_changes(corpus: Corpus) -> list[str]:
    """Return what a recipe needs to fit a corpus, as ``key=value``: its rate, a length, and labels if it has them.

    Nearly all clips have died away within the length; what is longer is cut, with a fade.
    """
    rate = corpus.rate
    seconds = min(max(dying_seconds(corpus, NEARLY_ALL), SHORTEST_SECONDS), LONGEST_SECONDS)
    length = math.ceil(seconds * FADED * rate / UNIT) * UNIT
    changes = [f"frames.{name}={value}" for name, value in (("sample_rate", rate), ("frame_length", length))]
    changes.append(f"frames.hop_length={length}")
    labels = {clip.label for clip in corpus.clips("train")} - {""}
    return [*changes, "network.labels=true"] if len(labels) > 1 else changes


def _evenly(of: Hits, limit: int) -> Ints:
    return np.linspace(0, len(of.clips) - 1, min(limit, len(of.clips))).astype(np.int64)


def check_hits(corpus: Corpus, recipe: HitRecipe) -> None:
    """Refuse a corpus with fewer than two training clips that sound, or with too few labels where they are wanted."""
    check_words(corpus, recipe)
    found = len(hits(corpus, "train", words_of(corpus) if recipe.network.labels else []).clips)
    if found < FEWEST:
        raise UserError(
            f"corpus {corpus.folder} has {counted(found, 'training clip')} that {'sounds' if found == 1 else 'sound'}, "
            f"and {FEWEST} are the least; add sounds"
        )


def describe_hits(corpus: Corpus, recipe: HitRecipe) -> str:
    """Return in a line what becomes of a corpus's training clips: cut, varied, left out."""
    frames = recipe.frames
    sounding, used = (hits(corpus, "train", words).clips for words in ([], recipe.network.words))
    seconds = frames.frame_length / frames.sample_rate
    parts = [f"clips of {frames.frame_length} samples ({seconds:.2g} s): {counted(len(used), 'recording')}"]
    if longer := sum(clip.length > frames.frame_length for clip in used):
        parts.append(f"{longer} {are(longer)} longer, and cut with a fade")
    if len(used) < frames.enough:
        parts.append("with so few, each is varied in pitch and decay")
    return "; ".join(parts + left_out(corpus, sounding, used))
