"""The families gan, logistic-gan, dcgan and halves, and their training data: pieces of recordings of one length."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from ....host.arrays import Array, Integers
from ....host.errors import UserError
from ...corpus.clip_table import Clips, Split
from ...corpus.store import Corpus
from ...data import Data, are, audible_clips, check_words, counted, left_out, words_in
from ...frames import SILENT
from ..family import Family, NetworkT, RecipeT, side_by_side
from .dcgan import DCGAN, Halves
from .generator import ClipGenerator
from .health import health_line, measure_health
from .published import read_generator
from .recipe import ClipFrames, DCGANRecipe, GANRecipe, HalvesRecipe, LogisticGANRecipe, WaveGANRecipe
from .wavegan import LogisticGAN, WaveGAN

GeneratorT = TypeVar("GeneratorT", bound=ClipGenerator)

FEW = 10  # clips: a network cannot generalise from fewer


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
        start_fractions = np.zeros(len(pieces)) if rng is None else rng.random(len(pieces))
        excerpts = []
        for piece_index, recording_index, start_fraction in zip(
            pieces, self.recordings_of(pieces).tolist(), start_fractions, strict=True
        ):
            clip = self.clips[recording_index]
            start_count = max(0, clip.length - self.length) + 1  # possible starts; each piece has an equal share
            piece_count = int(self.firsts[recording_index + 1] - self.firsts[recording_index])
            start = int((piece_index - self.firsts[recording_index] + start_fraction) * start_count / piece_count)
            excerpts.append(corpus.samples(clip, start, start + self.length))  # the disk is asked for all at once
        for waveform, samples in zip(waveforms, excerpts, strict=True):
            waveform[: len(samples)] = samples
        if normalised:
            waveforms /= np.maximum(np.abs(waveforms).max(1, keepdims=True), SILENT)
        return waveforms


def places(corpus: Corpus, split: Split, settings: ClipFrames, words: list[str]) -> Places:
    """Return the pieces of a split's audible recordings, of those with ``words`` if given."""
    clips, label_indices = audible_clips(corpus, split, words)
    start_counts = np.maximum(0, clips.lengths - settings.frame_length) + 1
    first_pieces = np.concatenate([[0], np.cumsum(np.maximum(1, np.rint(start_counts / settings.hop_length)))]).astype(
        np.int64
    )
    return Places(clips, first_pieces, label_indices, settings.frame_length)


@dataclass
class ClipData(Data[Places]):
    """Batches of (clips [batch, frame_length], label indices [batch]); validation has the earliest clips of pieces."""

    corpus: Corpus
    normalised: bool
    together: ClassVar[int] = 64  # limits the memory of gradients

    def batch(self, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return self._load_batch(self.train, indices, rng)

    def examples(self, source: Places, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return self._load_batch(source, indices, None)

    def _load_batch(self, source: Places, pieces: Integers, rng: np.random.Generator | None) -> tuple[Tensor, ...]:
        label_indices = source.labels[source.recordings_of(pieces)]
        waveforms = source.take_clips(self.corpus, pieces, self.normalised, rng)
        return torch.from_numpy(waveforms), torch.from_numpy(label_indices)


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

    def data(self, corpus: Corpus, recipe: RecipeT, folder: Path) -> ClipData:
        assert isinstance(recipe.frames, ClipFrames)
        train, val = (places(corpus, split, recipe.frames, words_in(recipe)) for split in ("train", "val"))
        return ClipData(train, val, corpus, recipe.frames.normalised)

    def describe(self, corpus: Corpus, recipe: RecipeT) -> str:
        settings = recipe.frames
        assert isinstance(settings, ClipFrames)
        audible_pieces = places(corpus, "train", settings, [])
        training_pieces = places(corpus, "train", settings, words_in(recipe))
        lengths = training_pieces.clips.lengths
        clip_seconds = settings.frame_length / settings.sample_rate
        phrases = [
            f"clips of {settings.frame_length} samples ({clip_seconds:.2f} s): {counted(len(lengths), 'recording')}"
        ]
        if shorter_count := int((lengths < settings.frame_length).sum()):
            phrases.append(f"{shorter_count} {are(shorter_count)} shorter, and followed by silence")
        if longer_count := int((lengths > settings.frame_length).sum()):
            verb = "gives" if longer_count == 1 else "give"
            phrases.append(
                f"{longer_count} {are(longer_count)} longer, and {verb} pieces from anywhere in "
                f"{_pronoun(longer_count)}"
            )
        phrases += left_out(corpus, audible_pieces.clips, training_pieces.clips)
        if len(training_pieces) < FEW:
            phrases.append("with so few, it learns these by heart")
        return "; ".join(phrases)


class GeneratorFamily(PieceFamily[RecipeT, GeneratorT]):
    """Families of generators that compete with a judge."""

    health = staticmethod(measure_health)
    health_line = staticmethod(health_line)

    def preview(self, network: GeneratorT, recipe: RecipeT, batch: list[torch.Tensor]) -> list[Array]:
        codes = network.draw(CLIPS, torch.Generator().manual_seed(0)).to(batch[0])
        label_rows = network.rows(torch.arange(CLIPS, device=codes.device) % max(1, network.words))
        return list(network.decode(codes, label_rows).cpu().numpy())


WaveGANRecipeT = TypeVar("WaveGANRecipeT", bound=GANRecipe)
WaveGANT = TypeVar("WaveGANT", bound=WaveGAN)


class PublishedFamily(GeneratorFamily[WaveGANRecipeT, WaveGANT]):
    """Families of WaveGAN's generator."""

    def read_pretrained(self, path: Path, recipe: WaveGANRecipeT) -> tuple[WaveGANRecipeT, Callable[[WaveGANT], None]]:
        fitting_recipe, state = read_generator(path, recipe)
        return fitting_recipe, lambda network: network.load_generator(state)


class WaveGANFamily(PublishedFamily[WaveGANRecipe, WaveGAN]):
    network = WaveGAN
    repeats_steps = True


class LogisticGANFamily(PublishedFamily[LogisticGANRecipe, LogisticGAN]):
    network = LogisticGAN


class DCGANFamily(GeneratorFamily[DCGANRecipe, DCGAN]):
    network = DCGAN


class HalvesFamily(PieceFamily[HalvesRecipe, Halves]):
    network = Halves

    def preview(self, network: Halves, recipe: HalvesRecipe, batch: list[torch.Tensor]) -> list[Array]:
        return side_by_side(batch[0].cpu().numpy(), network.decode(network.encode(batch[0])).cpu().numpy())
