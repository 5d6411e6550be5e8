"""Training data of the sequence family: recordings cut into frames."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from ....host.arrays import Array, Integers
from ....host.errors import UserError
from ...corpus.clip_table import Clip, Clips, Split
from ...corpus.store import Corpus
from ...data import are, audible, counted, left_out
from ...sampling import evenly_spaced
from ..family import Family
from .network import RecurrentNetwork
from .recipe import SequenceFrames, SequenceRecipe

FEWEST = 2  # frames: a single one has no successor


BATCH = 16  # validation sequences at a time


class Piece(NamedTuple):
    clip: Clip
    start: int
    frames: int
    name: str


class Pieces(Sequence[Piece]):
    def __init__(self, clips: Clips, settings: SequenceFrames) -> None:
        self._settings = settings
        longest, recording_frames = settings.longest, -(-clips.lengths // settings.hop_length)
        # A rest of one frame has no successor.
        counts = recording_frames // longest + (recording_frames % longest >= FEWEST)
        long_enough = counts > 0
        self._clips, self._recording_frames, self._ends = (
            clips.take(long_enough),
            recording_frames[long_enough],
            np.cumsum(counts[long_enough]),
        )

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @functools.cached_property
    def frame_counts(self) -> Integers:
        counts = np.full(len(self), self._settings.longest)
        last_counts = self._recording_frames - (np.diff(self._ends, prepend=0) - 1) * self._settings.longest
        ends_recording = last_counts <= self._settings.longest  # else one frame is left, and left out
        counts[self._ends - 1] = np.where(ends_recording, last_counts + self._settings.silence, self._settings.longest)
        return counts

    @overload
    def __getitem__(self, index: int, /) -> Piece: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Piece]: ...
    def __getitem__(self, index: int | slice, /) -> "Piece | list[Piece]":
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        index += len(self) if index < 0 else 0
        if not 0 <= index < len(self):
            raise IndexError(index)
        recording = int(np.searchsorted(self._ends, index, side="right"))
        number = index - (int(self._ends[recording - 1]) if recording else 0)
        clip, recording_frames, longest = (
            self._clips[recording],
            int(self._recording_frames[recording]),
            self._settings.longest,
        )
        first = number * longest
        frames = min(longest, recording_frames - first)
        silence = self._settings.silence if first + frames == recording_frames else 0
        name = clip.name if not number else f"{clip.name} {number + 1}"
        return Piece(clip, first * self._settings.hop_length, frames + silence, name)


def pieces(corpus: Corpus, split: Split, settings: SequenceFrames) -> Pieces:
    """Return audible sequences of two frames or more; recordings above ``settings.longest`` are split."""
    return Pieces(audible(corpus, split), settings)


def cut(corpus: Corpus, piece: Piece, settings: SequenceFrames) -> Array:
    """Return frames, [frames, frame_length].

    Frame ``k`` covers the samples ``k * hop_length - overlap`` to ``(k + 1) * hop_length``, zero-padded.
    """
    length, hop = settings.frame_length, settings.hop_length
    overlap = length - hop
    begin, end = piece.start - overlap, piece.start + piece.frames * hop
    samples = corpus.samples(piece.clip, max(0, begin), end)
    zero_padded = np.zeros(end - begin, np.float32)
    zero_padded[max(0, -begin) :][: len(samples)] = samples
    return np.lib.stride_tricks.sliding_window_view(zero_padded, length)[::hop].copy()


def joined(frames: Array, hop: int) -> Array:
    """Overlap-add frames [frames, frame_length] to sound [frames * hop]: the inverse of `cut`.

    Crossfades are linear.
    """
    length = frames.shape[1]
    overlap = length - hop
    rise = (np.arange(overlap, dtype=np.float32) + 0.5) / max(1, overlap)
    crossfade = np.ones(length, np.float32)
    crossfade[:overlap] *= rise
    crossfade[hop:] *= rise[::-1]
    sound = np.zeros(overlap + len(frames) * hop, np.float32)
    for number, frame in enumerate(frames):
        sound[number * hop : number * hop + length] += crossfade * frame
    if overlap:
        sound[-overlap:] = frames[-1, hop:]  # nothing follows it
    return sound[overlap:]


@dataclass
class SequenceData:
    """Batches of (frames [batch, frames, frame_length], frame counts without padding [batch], indices [batch]).

    Validation uses training sequences: others have no code.
    """

    corpus: Corpus
    settings: SequenceFrames
    train: Pieces

    def __len__(self) -> int:
        return len(self.train)

    def batch(self, frames: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return self._load_batch(frames)

    def validation(self, limit: int) -> Iterator[tuple[Tensor, ...]]:
        sequence_count = max(1, limit // int(self.train.frame_counts.max()))
        indices = evenly_spaced(len(self.train), sequence_count)
        return (self._load_batch(indices[first : first + BATCH]) for first in range(0, len(indices), BATCH))

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return next(self.validation(limit))

    def _load_batch(self, indices: Integers) -> tuple[Tensor, ...]:
        return (
            *padded(self.corpus, [self.train[number] for number in indices], self.settings),
            torch.from_numpy(indices),
        )


def padded(corpus: Corpus, sequences: Sequence[Piece], settings: SequenceFrames) -> tuple[Tensor, Tensor]:
    """Return frames, [sequences, most frames, frame_length], and their counts."""
    counts = [piece.frames for piece in sequences]
    batch = np.zeros((len(sequences), max(counts), settings.frame_length), np.float32)
    for row, piece in zip(batch, sequences, strict=True):
        row[: piece.frames] = cut(corpus, piece, settings)
    return torch.from_numpy(batch), torch.tensor(counts)


class SequenceFamily(Family[SequenceRecipe, RecurrentNetwork]):
    network = RecurrentNetwork
    pictured = True

    def check(self, corpus: Corpus, recipe: SequenceRecipe) -> None:
        if not pieces(corpus, "train", recipe.frames):
            seconds = (recipe.frames.hop_length + 1) / recipe.frames.sample_rate
            raise UserError(
                f"corpus {corpus.folder} has no training clip that sounds and has {FEWEST} frames, "
                f"and of one nothing follows; add sounds of more than {seconds:.3f} s, or set a smaller "
                "frames.frame_length"
            )

    def data(self, corpus: Corpus, recipe: SequenceRecipe, folder: Path, tonal: bool) -> SequenceData:
        return SequenceData(corpus, recipe.frames, pieces(corpus, "train", recipe.frames))

    def complete(self, recipe: SequenceRecipe, corpus: Corpus) -> SequenceRecipe:
        network = recipe.network.model_copy(update={"clips": len(pieces(corpus, "train", recipe.frames))})
        return recipe.model_copy(update={"network": network})

    def describe(self, corpus: Corpus, recipe: SequenceRecipe) -> str:
        settings = recipe.frames
        sequences = pieces(corpus, "train", settings)
        sounding = audible(corpus, "train")
        short = sounding.take(sounding.lengths <= (FEWEST - 1) * settings.hop_length)
        counts = np.sort(sequences.frame_counts)
        count_range = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
        parts = [
            f"{counted(len(sequences), 'training sequence')} of {count_range} frames of {settings.frame_length} samples"
        ]
        if counts[0] < counts[-1]:
            parts.append("shorter ones are padded, and the padding does not count")
        if len(sequences) > len(sounding) - len(short):
            parts.append(f"recordings of more than {settings.longest} frames are cut into several")
        if len(short):
            short_clips = counted(len(short), "short clip")
            parts.append(f"{short_clips}, of less than {FEWEST} frames, {are(len(short))} left out ({short[0].name!r})")
        return "; ".join(parts + left_out(corpus, sounding, sounding))

    def preview(self, network: RecurrentNetwork, recipe: SequenceRecipe, batch: list[torch.Tensor]) -> list[Array]:
        sounds, counts, numbers = batch
        frames = network.standard(sounds)
        continuation = network.continued(frames[:, :1], network.codes(numbers), frames.shape[1])
        triples = zip(sounds, network.standard.to_samples(continuation), counts.tolist(), strict=True)
        pairs = ((part[:count].cpu().numpy() for part in parts) for *parts, count in triples)
        return [joined(part, recipe.frames.hop_length) for pair in pairs for part in pair]
