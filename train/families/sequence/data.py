"""Training data of the sequence family: recordings cut into frames."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from ....host.arrays import Array, Integers
from ....host.errors import UserError
from ....host.signal import overlap_add
from ...corpus.clip_table import Clip, Clips, Split
from ...corpus.store import Corpus
from ...data import Data, audible, counted, left_out, without
from ..family import Family
from .network import RecurrentNetwork
from .recipe import SequenceFrames, SequenceRecipe

FEWEST = 2  # frames: a single one has no successor
BATCH = 16  # sequences at a time


class Piece(NamedTuple):
    """A sequence: first sample in its clip, and number of frames, with silence."""

    clip: Clip
    start: int
    frames: int
    name: str


class Pieces(Sequence[Piece]):
    """Sequences of frames, made when they are read."""

    def __init__(self, clips: Clips, settings: SequenceFrames) -> None:
        self._settings = settings
        longest_frames, recording_frame_counts = settings.longest, -(-clips.lengths // settings.hop_length)
        # A rest of one frame has no successor.
        piece_counts = recording_frame_counts // longest_frames + (recording_frame_counts % longest_frames >= FEWEST)
        is_long_enough = piece_counts > 0
        self._clips, self._recording_frames, self._ends = (
            clips.take(is_long_enough),
            recording_frame_counts[is_long_enough],
            np.cumsum(piece_counts[is_long_enough]),
        )

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @functools.cached_property
    def frame_counts(self) -> Integers:
        counts = np.full(len(self), self._settings.longest)
        last_frame_counts = self._recording_frames - (np.diff(self._ends, prepend=0) - 1) * self._settings.longest
        ends_recording = last_frame_counts <= self._settings.longest  # else one frame is left, and left out
        counts[self._ends - 1] = np.where(
            ends_recording, last_frame_counts + self._settings.silence, self._settings.longest
        )
        return counts

    @overload
    def __getitem__(self, index: int, /) -> Piece: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[Piece]: ...
    def __getitem__(self, index: int | slice, /) -> "Piece | list[Piece]":
        """Return a sequence; its name counts those of a recording."""
        if isinstance(index, slice):
            return [self[piece_index] for piece_index in range(*index.indices(len(self)))]
        index += len(self) if index < 0 else 0
        if not 0 <= index < len(self):
            raise IndexError(index)
        recording_index = int(np.searchsorted(self._ends, index, side="right"))
        piece_number = index - (int(self._ends[recording_index - 1]) if recording_index else 0)
        clip, recording_frame_count, longest_frames = (
            self._clips[recording_index],
            int(self._recording_frames[recording_index]),
            self._settings.longest,
        )
        first_frame = piece_number * longest_frames
        sound_frame_count = min(longest_frames, recording_frame_count - first_frame)
        silent_frame_count = self._settings.silence if first_frame + sound_frame_count == recording_frame_count else 0
        name = clip.name if not piece_number else f"{clip.name} {piece_number + 1}"
        return Piece(clip, first_frame * self._settings.hop_length, sound_frame_count + silent_frame_count, name)


def pieces(corpus: Corpus, split: Split, settings: SequenceFrames) -> Pieces:
    """Return audible sequences of two frames or more; recordings above ``settings.longest`` are split."""
    return Pieces(audible(corpus, split), settings)


def cut(corpus: Corpus, piece: Piece, settings: SequenceFrames) -> Array:
    """Return frames, [frames, frame_length].

    Frame ``k`` covers the samples ``k * hop_length - overlap`` to ``(k + 1) * hop_length``, zero-padded.
    """
    length, hop = settings.frame_length, settings.hop_length
    overlap_samples = length - hop
    begin_sample, end_sample = piece.start - overlap_samples, piece.start + piece.frames * hop
    samples = corpus.samples(piece.clip, max(0, begin_sample), end_sample)
    zero_padded = np.zeros(end_sample - begin_sample, np.float32)
    zero_padded[max(0, -begin_sample) :][: len(samples)] = samples
    return np.lib.stride_tricks.sliding_window_view(zero_padded, length)[::hop].copy()


def joined(frames: Array, hop: int) -> Array:
    """Overlap-add frames [frames, frame_length] to sound [frames * hop]: the inverse of `cut`.

    Crossfades are linear.
    """
    length = frames.shape[1]
    overlap_samples = length - hop
    fade_in = (np.arange(overlap_samples, dtype=np.float32) + 0.5) / max(1, overlap_samples)
    crossfade_gains = np.ones(length, np.float32)
    crossfade_gains[:overlap_samples] *= fade_in
    crossfade_gains[hop:] *= fade_in[::-1]
    sound = overlap_add(crossfade_gains * frames, hop)
    if overlap_samples:
        sound[-overlap_samples:] = frames[-1, hop:]  # nothing follows it
    return sound[overlap_samples:]


@dataclass
class SequenceData(Data[Pieces]):
    """Batches of (frames [batch, frames, frame_length], frame counts without padding [batch], indices [batch]).

    Validation uses training sequences: others have no code.
    """

    corpus: Corpus
    settings: SequenceFrames
    together: ClassVar[int] = BATCH

    def examples(self, source: Pieces, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        sequences = [source[sequence_index] for sequence_index in indices]
        return *padded(self.corpus, sequences, self.settings), torch.from_numpy(indices)

    def validated(self, limit: int) -> Integers:
        """Return sequences of ``limit`` frames about."""
        return super().validated(max(1, limit // int(self.val.frame_counts.max())))

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return next(self.validation(limit))


def padded(corpus: Corpus, sequences: Sequence[Piece], settings: SequenceFrames) -> tuple[Tensor, Tensor]:
    """Return frames, [sequences, most frames, frame_length], and their counts."""
    frame_counts = [piece.frames for piece in sequences]
    padded_frames = np.zeros((len(sequences), max(frame_counts), settings.frame_length), np.float32)
    for sequence_frames, piece in zip(padded_frames, sequences, strict=True):
        sequence_frames[: piece.frames] = cut(corpus, piece, settings)
    return torch.from_numpy(padded_frames), torch.tensor(frame_counts)


class SequenceFamily(Family[SequenceRecipe, RecurrentNetwork]):
    network = RecurrentNetwork
    pictured = True

    def check(self, corpus: Corpus, recipe: SequenceRecipe) -> None:
        if not pieces(corpus, "train", recipe.frames):
            shortest_seconds = (recipe.frames.hop_length + 1) / recipe.frames.sample_rate
            raise UserError(
                f"corpus {corpus.folder} has no training clip that sounds and has {FEWEST} frames, "
                f"and of one nothing follows; add sounds of more than {shortest_seconds:.3f} s, or set a smaller "
                "frames.frame_length"
            )

    def data(self, corpus: Corpus, recipe: SequenceRecipe, folder: Path) -> SequenceData:
        sequences = pieces(corpus, "train", recipe.frames)
        return SequenceData(sequences, sequences, corpus, recipe.frames)

    def complete(self, recipe: SequenceRecipe, corpus: Corpus) -> SequenceRecipe:
        """Fill in the number of training sequences."""
        network_settings = recipe.network.model_copy(update={"clips": len(pieces(corpus, "train", recipe.frames))})
        return recipe.model_copy(update={"network": network_settings})

    def describe(self, corpus: Corpus, recipe: SequenceRecipe) -> str:
        settings = recipe.frames
        sequences = pieces(corpus, "train", settings)
        audible_clips = audible(corpus, "train")
        short_clips = audible_clips.take(audible_clips.lengths <= (FEWEST - 1) * settings.hop_length)
        frame_counts = np.sort(sequences.frame_counts)
        count_text = (
            f"{frame_counts[0]}" if frame_counts[0] == frame_counts[-1] else f"{frame_counts[0]} to {frame_counts[-1]}"
        )
        phrases = [
            f"{counted(len(sequences), 'training sequence')} of {count_text} frames of {settings.frame_length} samples"
        ]
        if frame_counts[0] < frame_counts[-1]:
            phrases.append("shorter ones are padded, and the padding does not count")
        if len(sequences) > len(audible_clips) - len(short_clips):
            phrases.append(f"recordings of more than {settings.longest} frames are cut into several")
        if len(short_clips):
            phrases.append(without(short_clips, "short clip", f", of less than {FEWEST} frames,"))
        return "; ".join(phrases + left_out(corpus, audible_clips, audible_clips))

    def preview(self, network: RecurrentNetwork, recipe: SequenceRecipe, batch: list[torch.Tensor]) -> list[Array]:
        recorded_frames, frame_counts, sequence_indices = batch
        standard_frames = network.standard(recorded_frames)
        continued_frames = network.continued(
            standard_frames[:, :1], network.codes(sequence_indices), standard_frames.shape[1]
        )
        padded_pairs = zip(
            recorded_frames, network.standard.to_samples(continued_frames), frame_counts.tolist(), strict=True
        )
        frame_pairs = (
            (padded_frames[:frame_count].cpu().numpy() for padded_frames in padded_pair)
            for *padded_pair, frame_count in padded_pairs
        )
        return [
            joined(sequence_frames, recipe.frames.hop_length)
            for frame_pair in frame_pairs
            for sequence_frames in frame_pair
        ]
