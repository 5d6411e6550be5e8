"""The families gan, logistic-gan, dcgan and halves, and their training data: pieces of recordings of one length."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ....host.arrays import Array, Integers
from ....host.errors import UserError
from ...corpus.clip_table import Clips, Split
from ...corpus.store import Corpus
from ...data import Data, are, audible_clips, check_words, counted, left_out, with_words
from ...frames import SILENT
from ...sampling import evenly_spaced
from ..family import Family, NetworkT, RecipeT
from .dcgan import DCGAN, Halves
from .generator import ClipGenerator
from .health import health_line, measure_health
from .recipe import ClipFrames, DCGANRecipe, HalvesRecipe, LogisticGANRecipe, WaveGANRecipe
from .wavegan import LogisticGAN, WaveGAN

GeneratorT = TypeVar("GeneratorT", bound=ClipGenerator)

FEW = 10  # clips: a network cannot generalise from fewer
BATCH = 64  # validation clips at a time: limits the memory of gradients


@dataclass(frozen=True)
class Places:
    """Positions of pieces, in memory proportional to recordings.

    Recording ``clips[r]`` has the label index ``labels[r]`` and pieces ``firsts[r]`` to ``firsts[r + 1] - 1``: at least
    one, about one per hop.
    """

    clips: Clips
    firsts: Integers
    labels: Integers
    length: int

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def recordings_of(self, pieces: Integers) -> Integers:
        """Return recording indices, [pieces]."""
        return np.searchsorted(self.firsts, pieces, side="right") - 1

    def take_clips(
        self, corpus: Corpus, pieces: Integers, normalised: bool, rng: np.random.Generator | None = None
    ) -> Array:
        """Return samples, [pieces, length], zero-padded; ``normalised`` scales each piece to a peak of 1.

        Starts are random within each piece's range, the earliest if ``rng`` is None.
        """
        waveforms = np.zeros((len(pieces), self.length), np.float32)
        fractions = np.zeros(len(pieces)) if rng is None else rng.random(len(pieces))
        excerpts = []
        for piece, recording, fraction in zip(pieces, self.recordings_of(pieces).tolist(), fractions, strict=True):
            clip = self.clips[recording]
            starts = max(0, clip.length - self.length) + 1  # possible starts; each piece has an equal share
            piece_count = int(self.firsts[recording + 1] - self.firsts[recording])
            start = int((piece - self.firsts[recording] + fraction) * starts / piece_count)
            excerpts.append(corpus.samples(clip, start, start + self.length))  # the disk is asked for all at once
        for waveform, samples in zip(waveforms, excerpts, strict=True):
            waveform[: len(samples)] = samples
        if normalised:
            waveforms /= np.maximum(np.abs(waveforms).max(1, keepdims=True), SILENT)
        return waveforms


def places(corpus: Corpus, split: Split, settings: ClipFrames, words: list[str]) -> Places:
    clips, labels = audible_clips(corpus, split, words)
    starts = np.maximum(0, clips.lengths - settings.frame_length) + 1
    firsts = np.concatenate([[0], np.cumsum(np.maximum(1, np.rint(starts / settings.hop_length)))]).astype(np.int64)
    return Places(clips, firsts, labels, settings.frame_length)


@dataclass
class ClipData:
    """Batches of (clips [batch, frame_length], label indices [batch])."""

    corpus: Corpus
    normalised: bool
    train: Places
    val: Places

    def __len__(self) -> int:
        return len(self.train)

    def batch(self, frames: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return self._load_batch(self.train, frames, rng)

    def validation(self, limit: int) -> Iterator[tuple[Tensor, ...]]:
        pieces = evenly_spaced(len(self.val), limit)
        return (self._load_batch(self.val, pieces[first : first + BATCH]) for first in range(0, len(pieces), BATCH))

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return self._load_batch(self.train, evenly_spaced(len(self.train), limit))

    def _load_batch(
        self, source: Places, pieces: Integers, rng: np.random.Generator | None = None
    ) -> tuple[Tensor, ...]:
        labels = source.labels[source.recordings_of(pieces)]
        return torch.from_numpy(source.take_clips(self.corpus, pieces, self.normalised, rng)), torch.from_numpy(labels)


def _pronoun(count: int) -> str:
    return "it" if count == 1 else "them"


CLIPS = 12  # of an adversarial network, from fixed codes


class PieceFamily(Family[RecipeT, NetworkT]):
    """Families that train on pieces of recordings, of one length."""

    pictured = True

    def check(self, corpus: Corpus, recipe: RecipeT) -> None:
        assert isinstance(recipe.frames, ClipFrames)
        check_words(corpus, recipe)
        if not len(places(corpus, "train", recipe.frames, [])):
            raise UserError(f"corpus {corpus.folder} has no training clip that sounds; add louder sounds")

    def data(self, corpus: Corpus, recipe: RecipeT, folder: Path, tonal: bool) -> ClipData:
        assert isinstance(recipe.frames, ClipFrames)
        words: list[str] = getattr(getattr(recipe, "network", None), "words", [])
        train, val = (places(corpus, split, recipe.frames, words) for split in ("train", "val"))
        return ClipData(corpus, recipe.frames.normalised, train, val if len(val) else train)

    def describe(self, corpus: Corpus, recipe: RecipeT) -> str:
        frames, words = recipe.frames, getattr(getattr(recipe, "network", None), "words", [])
        assert isinstance(frames, ClipFrames)
        audible_pieces = places(corpus, "train", frames, [])
        training_pieces = places(corpus, "train", frames, words)
        lengths = training_pieces.clips.lengths
        seconds = frames.frame_length / frames.sample_rate
        parts = [f"clips of {frames.frame_length} samples ({seconds:.2f} s): {counted(len(lengths), 'recording')}"]
        if shorter := int((lengths < frames.frame_length).sum()):
            parts.append(f"{shorter} {are(shorter)} shorter, and followed by silence")
        if longer := int((lengths > frames.frame_length).sum()):
            gives = "gives" if longer == 1 else "give"
            parts.append(f"{longer} {are(longer)} longer, and {gives} pieces from anywhere in {_pronoun(longer)}")
        parts += left_out(corpus, audible_pieces.clips, training_pieces.clips)
        if len(training_pieces) < FEW:
            parts.append("with so few, it learns these by heart")
        return "; ".join(parts)


class GeneratorFamily(PieceFamily[RecipeT, GeneratorT]):
    """Families of generators that compete with a judge."""

    def health(self, network: GeneratorT, data: Data, sample_rate: int) -> dict[str, float]:
        return measure_health(network, data, sample_rate)

    def health_line(self, figures: dict[str, float]) -> str:
        return health_line(figures)

    def preview(self, network: GeneratorT, recipe: RecipeT, batch: list[torch.Tensor]) -> list[Array]:
        codes = network.draw(CLIPS, torch.Generator().manual_seed(0)).to(batch[0])
        label = network.rows(torch.arange(CLIPS, device=codes.device) % max(1, network.words))
        return list(network.decode(codes, label).cpu().numpy())


class WaveGANFamily(GeneratorFamily[WaveGANRecipe, WaveGAN]):
    network = WaveGAN

    def complete(self, recipe: WaveGANRecipe, corpus: Corpus) -> WaveGANRecipe:
        return with_words(recipe, corpus)


class LogisticGANFamily(GeneratorFamily[LogisticGANRecipe, LogisticGAN]):
    network = LogisticGAN

    def complete(self, recipe: LogisticGANRecipe, corpus: Corpus) -> LogisticGANRecipe:
        return with_words(recipe, corpus)


class DCGANFamily(GeneratorFamily[DCGANRecipe, DCGAN]):
    network = DCGAN


class HalvesFamily(PieceFamily[HalvesRecipe, Halves]):
    network = Halves

    def preview(self, network: Halves, recipe: HalvesRecipe, batch: list[torch.Tensor]) -> list[Array]:
        reconstructed = network.decode(network.encode(batch[0])).cpu().numpy()
        return [sound for pair in zip(batch[0].cpu().numpy(), reconstructed, strict=True) for sound in pair]
