"""Data for the grain family: windows of samples, and their synthesis as sound."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....host.arrays import Array, Integers
from ....host.errors import UserError
from ....host.signal import overlap_add, window
from ...corpus.clip_table import Clips, ColumnFile, Split
from ...corpus.store import Corpus
from ...frames import SILENT
from ...preview import SECONDS
from ...sampling import evenly_spaced
from ..family import Family
from .network import GrainAutoencoder
from .recipe import GrainFrames, GrainRecipe

FEWEST = 50  # windows side by side: a network cannot generalise from fewer
PLACE = 4  # an aligned window has its largest sample at 1/PLACE of its length


class WindowPlaces(NamedTuple):
    """Clip indices, first samples, and signs to multiply by, [windows] each."""

    clip: Integers
    starts: Integers
    signs: Array


@dataclass(frozen=True)
class Windows:
    """Windows, in memory proportional to their runs.

    Run ``r`` has windows ``ends[r - 1]`` to ``ends[r] - 1`` of ``clips[clip[r]]``, ``step`` samples apart from
    ``starts[r]``, with one sign.
    """

    clips: Clips
    clip: Integers
    starts: Integers
    signs: npt.NDArray[np.int8]
    ends: Integers
    step: int

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def places(self, indices: Integers | None = None) -> WindowPlaces:
        window_indices = np.arange(len(self)) if indices is None else indices
        runs = np.searchsorted(self.ends, window_indices, side="right")
        run_firsts = np.where(runs > 0, self.ends[runs - 1], 0)
        starts = self.starts[runs] + self.step * (window_indices - run_firsts)
        return WindowPlaces(self.clip[runs], starts, self.signs[runs].astype(np.float32))

    def take_grains(self, corpus: Corpus, indices: Integers, length: int) -> Array:
        places = self.places(indices)
        waveforms = np.empty((len(indices), length), np.float32)
        clip_starts = zip(places.clip.tolist(), places.starts.tolist(), strict=True)
        # A list asks the disk once.
        excerpts = [corpus.samples(self.clips[clip], start, start + length) for clip, start in clip_starts]
        for waveform, excerpt in zip(waveforms, excerpts, strict=True):
            waveform[:] = excerpt
        return waveforms * places.signs[:, None]


@dataclass
class GrainData:
    """Batches of (windows [batch, length],).

    Training windows have random signs unless ``upright``, and attenuation uniform up to ``softer_db``.
    """

    corpus: Corpus
    length: int
    upright: bool
    softer_db: float
    train: Windows
    val: Windows

    def __len__(self) -> int:
        return len(self.train)

    def batch(self, frames: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        waveforms = self.train.take_grains(self.corpus, frames, self.length)
        if not self.upright:
            waveforms *= rng.choice(np.array([-1, 1], np.float32), (len(frames), 1))
        if self.softer_db:
            waveforms *= (10 ** (-self.softer_db * rng.random((len(frames), 1)) / 20)).astype(np.float32)
        return (torch.from_numpy(waveforms),)

    def validation(self, limit: int) -> Iterator[tuple[Tensor, ...]]:
        indices = evenly_spaced(len(self.val), limit)
        batches = (indices[first : first + 512] for first in range(0, len(indices), 512))
        return ((torch.from_numpy(self.val.take_grains(self.corpus, batch, self.length)),) for batch in batches)

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return (
            torch.from_numpy(self.train.take_grains(self.corpus, evenly_spaced(len(self.train), limit), self.length)),
        )


def windows(corpus: Corpus, split: Split, settings: GrainFrames, held_out: bool = False) -> Windows:
    """Return audible windows before each training clip's held-out end, or inside it."""
    step = 0 if settings.align else settings.hop_length
    with contextlib.ExitStack() as files:
        columns = [files.enter_context(ColumnFile(None, kind)) for kind in ("<i8", "<i8", "i1", "<i8")]
        for number, starts, signs in _windows(corpus, split, settings, held_out):
            runs: list[npt.NDArray[Any]] = [*_runs(starts, signs, step)]
            for column, values in zip(columns, [np.full(len(runs[0]), number), *runs], strict=True):
                column.append(values)
        clip, first, sign, count = (np.array(column.mapped()) for column in columns)
    return Windows(corpus.clips(split), clip, first, sign, np.cumsum(count), step)


def _windows(
    corpus: Corpus, split: Split, settings: GrainFrames, held_out: bool = False
) -> Iterator[tuple[int, Integers, Array]]:
    length, hop = settings.frame_length, settings.hop_length
    for number, clip in enumerate(corpus.clips(split)):
        samples = corpus.samples(clip)
        edge = round(len(samples) * (1 - settings.held_out)) if split == "train" else len(samples)
        begin, end = (edge, len(samples)) if held_out else (0, edge)
        starts = np.arange(begin, end - length + 1, hop)
        if not len(starts):
            continue
        energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
        starts = starts[energy[starts + length] - energy[starts] > length * SILENT**2]
        if not len(starts):
            continue
        signs = np.ones(len(starts), np.float32)
        if settings.align:
            starts, signs = _aligned(samples, starts, length, begin, end)
        yield number, starts, signs


def _runs(starts: Integers, signs: Array, step: int) -> tuple[Integers, npt.NDArray[np.int8], Integers]:
    firsts = np.flatnonzero(np.concatenate([[True], np.diff(starts) != step]))
    return starts[firsts], signs[firsts].astype(np.int8), np.diff(firsts, append=len(starts))


def _aligned(samples: Array, starts: Integers, length: int, begin: int, end: int) -> tuple[Integers, Array]:
    """The largest sample moves to a quarter."""
    levels = np.lib.stride_tricks.sliding_window_view(np.abs(samples), length)
    while True:
        peaks = np.array([start + int(levels[start].argmax()) for start in starts])
        aligned_starts = np.clip(peaks - length // PLACE, begin, end - length)
        if np.array_equal(aligned_starts, starts):
            return starts, np.sign(samples[peaks]).astype(np.float32)
        starts = aligned_starts


def grains(frames: Array, recipe: GrainRecipe, rng: np.random.Generator) -> Array:
    """Return unwindowed samples [frames, frame_length], with new noise."""
    length, domain = recipe.frames.frame_length, recipe.network.domain
    if domain == "samples":
        return frames
    bins = length // 2 + 1
    magnitudes, phases_or_envelopes = frames[:, :bins], frames[:, bins:]
    if domain == "magnitude_phase":
        waves: Array = np.fft.irfft(magnitudes * np.exp(1j * phases_or_envelopes), length).astype(np.float32)
        return waves
    gaussian = rng.standard_normal((2, *magnitudes.shape))
    noise = np.fft.irfft(magnitudes * (gaussian[0] + 1j * gaussian[1]) / np.sqrt(2), length)
    points = np.linspace(0, length - 1, phases_or_envelopes.shape[1])
    envelopes = np.stack([np.interp(np.arange(length), points, envelope) for envelope in phases_or_envelopes])
    filtered: Array = (noise * envelopes).astype(np.float32)
    return filtered


def overlapped(sounds: Array, hop: int, shape: str, strangers: bool = True) -> Array:
    """Overlap-add grains under a window, ``hop`` samples apart, at the level of one: [samples].

    Powers add up for ``strangers``, uncorrelated grains; amplitudes for others.
    """
    length = sounds.shape[1]
    weights = window(shape, length)
    total = overlap_add(sounds * weights, hop)
    cover = float(np.sqrt(np.square(weights).sum() / hop) if strangers else weights.sum() / hop)
    return total * np.float32(1 / max(1.0, cover))


class GrainFamily(Family[GrainRecipe, GrainAutoencoder]):
    network = GrainAutoencoder
    bfloat16 = True

    def check(self, corpus: Corpus, recipe: GrainRecipe) -> None:
        length = recipe.frames.frame_length
        clips = corpus.clips("train")
        shortest = clips[int(clips.lengths.argmin())]
        if shortest.length < length:
            raise UserError(
                f"frames.frame_length {length} is longer than clip {shortest.name!r} of {shortest.length} samples; "
                "set it lower, or build the corpus without that clip"
            )
        side_by_side = int(((clips.lengths * (1 - recipe.frames.held_out)).astype(np.int64) // length).sum())
        if side_by_side < FEWEST:
            raise UserError(
                f"corpus {corpus.folder} has {corpus.seconds('train'):.1f} s to train on, {side_by_side} windows of "
                f"frames.frame_length {length} side by side, and {FEWEST} are the least; add sounds, or set it lower"
            )
        if next(_windows(corpus, "train", recipe.frames), None) is None:
            raise UserError(f"corpus {corpus.folder} has no training window that sounds; add louder sounds")

    def data(self, corpus: Corpus, recipe: GrainRecipe, folder: Path, tonal: bool) -> GrainData:
        """Held-out ends of training clips replace missing validation clips."""
        settings = recipe.frames
        train = windows(corpus, "train", settings)
        val = windows(corpus, "val", settings)
        if not len(val):
            val = windows(corpus, "train", settings, held_out=True)
        return GrainData(
            corpus, settings.frame_length, settings.align, settings.softer_db, train, val if len(val) else train
        )

    def preview(self, network: GrainAutoencoder, recipe: GrainRecipe, batch: list[torch.Tensor]) -> list[Array]:
        length, rng = recipe.frames.frame_length, np.random.default_rng(0)
        count = max(1, int(SECONDS * recipe.frames.sample_rate / (length // 4)))
        frames = network.decode(network.encode(*batch)).cpu().numpy()
        return [overlapped(grains(np.repeat(f[None], count, 0), recipe, rng), length // 4, "blackman") for f in frames]
