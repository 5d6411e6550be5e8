"""Data for the clip family: beginnings of recordings, and previews of their reconstructions."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....host.arrays import Array, Integers
from ....host.engines.clip.synthesis import SpectraSound
from ....host.errors import UserError
from ...corpus.clip_table import Clips, Split
from ...corpus.content import dying_seconds
from ...corpus.store import Corpus
from ...data import Data, are, audible_clips, check_words, clips_of, counted, left_out, words_of
from ...frames import IN_MEMORY_BYTES
from ...sampling import evenly_spaced
from ..family import Family, side_by_side
from .features import ClipFeatures
from .network import ClipAutoencoder
from .recipe import UNIT, ClipRecipe, HitFrames

FEWEST = 2  # clips: one alone has no variation to learn
SLOWEST = 0.2  # nepers a second: inaudible below
DEAD = 60 / 20 * math.log(10)  # nepers below the peak: a clip has decayed
SLOWER = 0.5  # largest fraction of DEAD by which a lengthened clip decays less
NEARLY_ALL = 0.95  # of clips decay within the model's length
SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 2.0  # of a model's clip: longer sounds are not hits and train slowly
FADE_ROOM = 1.04  # times that length: makes room for the fade-out
BATCH = 64  # clips at a time
MOST_VALIDATED = 1024  # validation clips
VARIATION_SEED = 17  # second seed of the random variation


@dataclass(frozen=True)
class Hits:
    clips: Clips
    labels: Integers

    def __len__(self) -> int:
        return len(self.clips)

    def take_clips(self, corpus: Corpus, indices: Integers, length: int) -> Array:
        """Return samples [indices, length], zero-padded."""
        return clips_of(corpus, self.clips.take(indices), length)


class HitData(Data[Hits]):
    """Batches of (features, mel band levels, label indices [batch]), with shapes as in `ClipFeatures`.

    Features of random variations, if clips are few, are computed once in half precision; above `IN_MEMORY_BYTES`, for
    each batch.
    """

    together: ClassVar[int] = BATCH

    def __init__(self, corpus: Corpus, recipe: ClipRecipe, train: Hits, val: Hits) -> None:
        super().__init__(train, val)
        self._corpus, self._settings = corpus, recipe.frames
        self._features = ClipFeatures(recipe.frames.sample_rate, recipe.frames.frame_length)
        variation_count = max(1, math.ceil(recipe.frames.enough / len(train)))
        rng = np.random.default_rng([recipe.training.seed, VARIATION_SEED]) if variation_count > 1 else None
        example_features = self._load_features(train, np.zeros(1, np.int64))
        example_bytes = sum(column.nbytes for column in example_features)
        large = variation_count == 1 and len(train) * example_bytes > IN_MEMORY_BYTES
        self._train = (
            None if large else self._load_features(train, np.tile(np.arange(len(train)), variation_count), rng)
        )
        self._validated = evenly_spaced(len(self.val), MOST_VALIDATED)
        self._val = None if large else self._load_features(self.val, self._validated)

    def __len__(self) -> int:
        return len(self.train) if self._train is None else len(self._train[0])

    def batch(self, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        if self._train is None:
            return self._load_features(self.train, indices)
        return tuple(column[torch.from_numpy(indices)] for column in self._train)

    def validated(self, limit: int) -> Integers:
        return evenly_spaced(len(self._validated), limit)

    def examples(self, source: Hits, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return validation clips."""
        if self._val is None:
            return self._load_features(source, self._validated[indices])
        return tuple(column[torch.from_numpy(indices)] for column in self._val)

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return self.batch(evenly_spaced(len(self), limit), np.random.default_rng(0))

    @torch.no_grad()
    def _load_features(
        self, source: Hits, indices: Integers, rng: np.random.Generator | None = None
    ) -> tuple[Tensor, ...]:
        """Return a batch in half precision, of clips that ``rng`` varies if given."""
        feature_batches, mel_batches = [], []
        for batch_start in range(0, len(indices), BATCH):
            clips = source.take_clips(
                self._corpus, indices[batch_start : batch_start + BATCH], self._settings.frame_length
            )
            if rng is not None:
                clips = varied(clips, self._settings, rng)
            batch_features = self._features(torch.from_numpy(clips))
            feature_batches.append(batch_features[0].half())
            mel_batches.append(batch_features[1].half())
        return torch.cat(feature_batches), torch.cat(mel_batches), torch.from_numpy(source.labels[indices])


def hits(corpus: Corpus, split: Split, words: list[str]) -> Hits:
    """Return a split's audible clips, those with ``words`` if given."""
    return Hits(*audible_clips(corpus, split, words))


def varied(clips: Array, settings: HitFrames, rng: np.random.Generator) -> Array:
    """Vary clips in pitch and damping, [clips, length]."""
    clip_count, sample_count = clips.shape
    is_transposed = rng.random(clip_count) < 0.7
    speed_ratios = 2.0 ** (rng.uniform(-settings.semitones, settings.semitones, clip_count) * is_transposed / 12)
    is_damped = (rng.random(clip_count) < 0.6) & (settings.damping > 0)
    fastest_damping = max(settings.damping, SLOWEST)
    damping_rates = is_damped * SLOWEST * np.power(fastest_damping / SLOWEST, rng.random(clip_count))
    lengthening_shares = np.where(is_damped | (rng.random(clip_count) < 0.5), 0.0, rng.random(clip_count))
    sample_indices = np.arange(sample_count)
    varied_clips = np.stack(
        [
            np.interp(sample_indices * speed_ratio, sample_indices, clip, right=0.0)
            for clip, speed_ratio in zip(clips, speed_ratios, strict=True)
        ]
    )
    decay_ends = np.array([_decay_end(varied_clip) for varied_clip in varied_clips])[:, None]
    rise_nepers = SLOWER * DEAD * lengthening_shares[:, None] * np.minimum(sample_indices / decay_ends, 1.0)
    varied_clips *= np.exp(rise_nepers - damping_rates[:, None] * sample_indices / settings.sample_rate)
    return varied_clips.astype(np.float32)


def _decay_end(clip: npt.NDArray[np.float64]) -> int:
    """Return the last sample at less than `DEAD` below the peak, or 1."""
    loud_samples = np.flatnonzero(np.abs(clip) > np.abs(clip).max() * np.exp(-DEAD))
    return max(1, int(loud_samples[-1]) if len(loud_samples) else 1)


def hit_changes(corpus: Corpus) -> list[str]:
    """Return ``key=value`` changes: rate, a length in which 95 % of clips decay, labels if several."""
    rate = corpus.rate
    clip_seconds = min(max(dying_seconds(corpus, NEARLY_ALL), SHORTEST_SECONDS), LONGEST_SECONDS)
    frame_length = math.ceil(clip_seconds * FADE_ROOM * rate / UNIT) * UNIT
    changes = [f"frames.{name}={value}" for name, value in (("sample_rate", rate), ("frame_length", frame_length))]
    changes.append(f"frames.hop_length={frame_length}")
    return [*changes, "network.labels=true"] if len(words_of(corpus)) > 1 else changes


class ClipFamily(Family[ClipRecipe, ClipAutoencoder]):
    network = ClipAutoencoder

    def check(self, corpus: Corpus, recipe: ClipRecipe) -> None:
        check_words(corpus, recipe)
        clip_count = len(hits(corpus, "train", words_of(corpus) if recipe.network.labels else []))
        if clip_count < FEWEST:
            raise UserError(
                f"corpus {corpus.folder} has {counted(clip_count, 'training clip')} that "
                f"{'sounds' if clip_count == 1 else 'sound'}, and {FEWEST} are the least; add sounds"
            )

    def data(self, corpus: Corpus, recipe: ClipRecipe, folder: Path) -> HitData:
        train, val = (hits(corpus, split, recipe.network.words) for split in ("train", "val"))
        return HitData(corpus, recipe, train, val)

    def describe(self, corpus: Corpus, recipe: ClipRecipe) -> str:
        settings = recipe.frames
        sounding_clips, training_clips = (hits(corpus, "train", words).clips for words in ([], recipe.network.words))
        clip_seconds = settings.frame_length / settings.sample_rate
        phrases = [
            f"clips of {settings.frame_length} samples ({clip_seconds:.2g} s): "
            f"{counted(len(training_clips), 'recording')}"
        ]
        if longer_count := int((training_clips.lengths > settings.frame_length).sum()):
            phrases.append(f"{longer_count} {are(longer_count)} longer, and cut with a fade")
        if len(training_clips) < settings.enough:
            phrases.append("with so few, each is varied in pitch and decay")
        return "; ".join(phrases + left_out(corpus, sounding_clips, training_clips))

    def preview(self, network: ClipAutoencoder, recipe: ClipRecipe, batch: list[torch.Tensor]) -> list[Array]:
        features, _, label_indices = batch
        features, word_count = features.float(), len(network.settings.words)
        label_weights = torch.nn.functional.one_hot(label_indices, word_count).to(features) if word_count else None
        clip_features = network.features
        resynthesise = SpectraSound(
            clip_features.length, clip_features.transform, clip_features.hop, clip_features.points
        )
        decoded_frames = network.decode(network.encode(features), label_weights)
        both_frames = (clip_features.frames(features), decoded_frames)
        return side_by_side(*(resynthesise(frames.cpu().numpy()) for frames in both_frames))
