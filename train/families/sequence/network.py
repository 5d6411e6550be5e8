"""Recurrent networks that continue sound frame by frame, with a learned code for each sequence; their batches.

"Deep Learning and Sound ~ 02: Generating Audio" (2015) stacks LSTM layers between linear layers, after GRUV (Nayebi and
Vitelli, "Algorithmic Music Generation using Recurrent Neural Networks", 2015). The code, an input of every step, is an
addition.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ....host.arrays import Array, Integers
from ....host.errors import UserError
from ...corpus.clip_table import Clip, Clips, Split
from ...corpus.store import Corpus
from ...data import Data, are, audible, counted, left_out
from ...network import SHARED, Adam, Network
from ...sampling import evenly_spaced
from ...shared_random import rand_examples, randn_examples
from .recipe import SequenceFrames, SequenceRecipe

LARGEST_NORM = 1.0  # of gradients: single steps through a long memory reach a hundred times the usual norm
LEAST = 1e-3  # of the deviation of all positions: avoids amplifying nearly constant ones
HEARD = 3.0  # initial gain of codes: two inputs among two thousand would have no effect at first
UNKNOWN = -1  # index of a sequence without a code: uses the mean code


class Standard(nn.Module):
    """Standardises frames position by position, [..., frame_length] → [..., width]."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, settings: SequenceFrames) -> None:
        super().__init__()
        self.length, self.transformed = settings.frame_length, settings.domain == "real_imag"
        self.width = 2 * (self.length // 2 + 1) if self.transformed else self.length
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("deviation", torch.ones(self.width))

    def forward(self, frames: Tensor) -> Tensor:
        return (self.seen(frames) - self.mean) / self.deviation

    def seen(self, frames: Tensor) -> Tensor:
        """Return samples, or real then imaginary parts."""
        if not self.transformed:
            return frames
        return torch.view_as_real(torch.fft.rfft(frames)).transpose(-1, -2).flatten(-2)

    def back(self, frames: Tensor, *, restored: bool = True) -> Tensor:
        """Return samples; unless ``restored``, one deviation serves all positions."""
        given = frames * self.deviation + self.mean if restored else frames * self.deviation.square().mean().sqrt()
        if not self.transformed:
            return given
        real, imaginary = given.chunk(2, -1)
        sound: Tensor = torch.fft.irfft(torch.complex(real, imaginary), n=self.length)
        return sound

    @torch.no_grad()
    def measure(self, data: Data) -> None:
        sums, count = torch.zeros(2, self.width, dtype=torch.float64), 0
        for number in range(len(data)):
            frames, *_ = data.batch(np.array([number]), np.random.default_rng(0))
            seen = self.seen(frames[0]).double()
            sums += torch.stack([seen.sum(0), seen.square().sum(0)])
            count += len(seen)
        mean, squares = sums / count
        variance = (squares - mean.square()).clamp_min(0)
        self.mean.copy_(mean)
        self.deviation.copy_(variance.sqrt().clamp_min(LEAST * float(variance.mean().sqrt())))


class RecurrentNetwork(Network):
    """An LSTM between linear layers, and a code for each sequence.

    Shapes: frames [batch, frames, width], standard; codes [batch, latents]; sounds [batch, frames, frame_length].
    """

    optimisers = {SHARED: Adam(largest_norm=LARGEST_NORM)}  # noqa: RUF012
    steps: Tensor

    def __init__(self, recipe: SequenceRecipe) -> None:
        super().__init__()
        self.settings, self.weights = recipe.network, recipe.loss
        self.standard = Standard(recipe.frames)
        width, size, latents = self.standard.width, self.settings.size, self.settings.latents
        self.table = nn.Parameter(torch.randn(self.settings.clips, latents))
        self.into = nn.Linear(width + latents, size)
        reach = HEARD / latents**0.5
        nn.init.uniform_(self.into.weight[:, width:], -reach, reach)
        self.memory = nn.LSTM(size, size, self.settings.layers, batch_first=True)
        self.out = nn.Linear(size, width)
        self.register_buffer("steps", torch.zeros(()))

    def initialise(self, data: Data) -> None:
        self.standard.measure(data)

    def moved(self) -> None:
        self.steps += 1

    def codes(self, numbers: Tensor) -> Tensor:
        """Return codes [batch, latents] of sequence indices [batch]; mean 0 is the code of `UNKNOWN`."""
        return F.pad(self.table - self.table.mean(0), (0, 0, 0, 1))[numbers]

    def reconstruction(
        self, sounds: Tensor, counts: Tensor, numbers: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the loss terms; first frames, which GRUV omits, depend on the code alone and are learned late."""
        frames, codes = self.standard(sounds), self.codes(numbers)
        fed = delayed(frames)
        if self.training:
            fed = self._disturbed(fed, codes, generator)
        error = (self.predict(fed, codes)[0] - frames).square().mean(2)
        return {
            "mean_square": error[following(error, counts)].mean(),
            "first": error[:, 0].mean(),
            "code": codes.square().mean(),
        }

    def predict(
        self, fed: Tensor, codes: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the next frames and the final LSTM state, initially zero.

        Gradients go back ``reach`` frames.
        """
        told = self.into(torch.cat([fed, codes[:, None].expand(-1, fed.shape[1], -1)], 2))
        given = []
        for part in told.split(self.settings.reach, 1):
            after, (h, c) = self.memory(part, state)
            state = h.detach(), c.detach()
            given.append(after)
        assert state is not None
        return self.out(torch.cat(given, 1)), state

    @torch.no_grad()
    def continued(self, seed: Tensor, codes: Tensor, count: int) -> Tensor:
        """Return ``count`` frames: a seed [batch, frames, width], possibly empty, and its continuation."""
        predicted, (h, c) = self.predict(F.pad(seed, (0, 0, 1, 0)), codes)
        frames, layers = [*seed.unbind(1), predicted[:, -1]], list(zip(h, c, strict=True))
        while len(frames) < count:
            value = self.into(torch.cat([frames[-1], codes], 1))
            # Cell by cell: torch's LSTM lays out its weights again at every call.
            for layer, weights in enumerate(self.memory.all_weights):
                layers[layer] = torch.lstm_cell(value, layers[layer], *weights)
                value = layers[layer][0]
            frames.append(self.out(value))
        return torch.stack(frames[:count], 1)

    def _disturbed(self, fed: Tensor, codes: Tensor, generator: torch.Generator) -> Tensor:
        """Parallel scheduled sampling (Bengio et al., NeurIPS 2015; Duckworth et al., 2019), with noise."""
        settings = self.settings
        share = settings.own_share * min(1.0, float(self.steps) / settings.own_steps)
        if share:
            with torch.no_grad():
                own = delayed(self.predict(fed, codes)[0])
            chosen = rand_examples(*fed.shape[:2], 1, generator=generator).to(fed) < share
            fed = torch.where(chosen, own, fed)
        if settings.noise:
            noise = settings.noise * randn_examples(*fed.shape, generator=generator).to(fed)
            fed = torch.cat([fed[:, :1], (fed + noise)[:, 1:]], 1)
        return fed


def following(errors: Tensor, counts: Tensor) -> Tensor:
    """Mask unpadded frames after the first, [batch, frames]."""
    places = torch.arange(errors.shape[1], device=errors.device)
    return (places > 0) & (places < counts.to(errors.device)[:, None])


def delayed(frames: Tensor) -> Tensor:
    """Delay frames [batch, frames, width] by one, zero first."""
    return F.pad(frames, (0, 0, 1, 0))[:, :-1]


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
        longest, wholes = settings.longest, -(-clips.lengths // settings.hop_length)
        counts = wholes // longest + (wholes % longest >= FEWEST)  # a rest of one frame has no successor
        kept = counts > 0
        self._clips, self._wholes, self._ends = clips.take(kept), wholes[kept], np.cumsum(counts[kept])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @functools.cached_property
    def frame_counts(self) -> Integers:
        counts = np.full(len(self), self._settings.longest)
        rests = self._wholes - (np.diff(self._ends, prepend=0) - 1) * self._settings.longest
        ends = rests <= self._settings.longest  # else one frame is left, and left out
        counts[self._ends - 1] = np.where(ends, rests + self._settings.silence, self._settings.longest)
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
        row = int(np.searchsorted(self._ends, index, side="right"))
        number = index - (int(self._ends[row - 1]) if row else 0)
        clip, whole, longest = self._clips[row], int(self._wholes[row]), self._settings.longest
        first = number * longest
        frames = min(longest, whole - first)
        silence = self._settings.silence if first + frames == whole else 0
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
    whole = np.zeros(end - begin, np.float32)
    whole[max(0, -begin) :][: len(samples)] = samples
    return np.lib.stride_tricks.sliding_window_view(whole, length)[::hop].copy()


def joined(frames: Array, hop: int) -> Array:
    """Overlap-add frames [frames, frame_length] to sound [frames * hop]: the inverse of `cut`.

    Crossfades are linear.
    """
    length = frames.shape[1]
    overlap = length - hop
    rise = (np.arange(overlap, dtype=np.float32) + 0.5) / max(1, overlap)
    shape = np.ones(length, np.float32)
    shape[:overlap] *= rise
    shape[hop:] *= rise[::-1]
    whole = np.zeros(overlap + len(frames) * hop, np.float32)
    for number, frame in enumerate(frames):
        whole[number * hop : number * hop + length] += shape * frame
    if overlap:
        whole[-overlap:] = frames[-1, hop:]  # nothing follows it
    return whole[overlap:]


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
        return self._taken(frames)

    def validation(self, limit: int) -> Iterator[tuple[Tensor, ...]]:
        most = max(1, limit // int(self.train.frame_counts.max()))
        chosen = evenly_spaced(len(self.train), most)
        return (self._taken(chosen[first : first + BATCH]) for first in range(0, len(chosen), BATCH))

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return next(self.validation(limit))

    def _taken(self, chosen: Integers) -> tuple[Tensor, ...]:
        return (
            *padded(self.corpus, [self.train[number] for number in chosen], self.settings),
            torch.from_numpy(chosen),
        )


def padded(corpus: Corpus, chosen: Sequence[Piece], settings: SequenceFrames) -> tuple[Tensor, Tensor]:
    """Return frames, [sequences, most frames, frame_length], and their counts."""
    counts = [piece.frames for piece in chosen]
    found = np.zeros((len(chosen), max(counts), settings.frame_length), np.float32)
    for row, piece in zip(found, chosen, strict=True):
        row[: piece.frames] = cut(corpus, piece, settings)
    return torch.from_numpy(found), torch.tensor(counts)


def sequence_data(corpus: Corpus, recipe: SequenceRecipe, folder: Path, tonal: bool) -> SequenceData:
    return SequenceData(corpus, recipe.frames, pieces(corpus, "train", recipe.frames))


def check_sequences(corpus: Corpus, recipe: SequenceRecipe) -> None:
    if not pieces(corpus, "train", recipe.frames):
        seconds = (recipe.frames.hop_length + 1) / recipe.frames.sample_rate
        raise UserError(
            f"corpus {corpus.folder} has no training clip that sounds and has {FEWEST} frames, "
            f"and of one nothing follows; add sounds of more than {seconds:.3f} s, or set a smaller frames.frame_length"
        )


def with_clips(recipe: SequenceRecipe, corpus: Corpus) -> SequenceRecipe:
    network = recipe.network.model_copy(update={"clips": len(pieces(corpus, "train", recipe.frames))})
    return recipe.model_copy(update={"network": network})


def describe_sequences(corpus: Corpus, recipe: SequenceRecipe) -> str:
    settings = recipe.frames
    found = pieces(corpus, "train", settings)
    sounding = audible(corpus, "train")
    short = sounding.take(sounding.lengths <= (FEWEST - 1) * settings.hop_length)
    counts = np.sort(found.frame_counts)
    told = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    parts = [f"{counted(len(found), 'training sequence')} of {told} frames of {settings.frame_length} samples"]
    if counts[0] < counts[-1]:
        parts.append("shorter ones are padded, and the padding does not count")
    if len(found) > len(sounding) - len(short):
        parts.append(f"recordings of more than {settings.longest} frames are cut into several")
    if len(short):
        left = counted(len(short), "short clip")
        parts.append(f"{left}, of less than {FEWEST} frames, {are(len(short))} left out ({short[0].name!r})")
    return "; ".join(parts + left_out(corpus, sounding, sounding))


def held_sequences(network: RecurrentNetwork, recipe: SequenceRecipe, batch: list[torch.Tensor]) -> list[Array]:
    sounds, counts, numbers = batch
    frames = network.standard(sounds)
    made = network.continued(frames[:, :1], network.codes(numbers), frames.shape[1])
    heard = zip(sounds, network.standard.back(made), counts.tolist(), strict=True)
    pairs = ((part[:count].cpu().numpy() for part in parts) for *parts, count in heard)
    return [joined(part, recipe.frames.hop_length) for pair in pairs for part in pair]
