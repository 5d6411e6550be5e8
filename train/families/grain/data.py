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
from ...data import Data
from ...frames import SILENT
from ...preview import SECONDS
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
        """Return the places of windows by index, or of all."""
        window_indices = np.arange(len(self)) if indices is None else indices
        run_indices = np.searchsorted(self.ends, window_indices, side="right")
        run_first_windows = np.where(run_indices > 0, self.ends[run_indices - 1], 0)
        first_samples = self.starts[run_indices] + self.step * (window_indices - run_first_windows)
        return WindowPlaces(self.clip[run_indices], first_samples, self.signs[run_indices].astype(np.float32))

    def take_grains(self, corpus: Corpus, indices: Integers, length: int) -> Array:
        """Return samples of windows, with their signs, [windows, length]."""
        window_places = self.places(indices)
        waveforms = np.empty((len(indices), length), np.float32)
        clip_starts = zip(window_places.clip.tolist(), window_places.starts.tolist(), strict=True)
        # A list asks the disk once.
        excerpts = [
            corpus.samples(self.clips[clip_index], start_sample, start_sample + length)
            for clip_index, start_sample in clip_starts
        ]
        for waveform, excerpt in zip(waveforms, excerpts, strict=True):
            waveform[:] = excerpt
        return waveforms * window_places.signs[:, None]


@dataclass
class GrainData(Data[Windows]):
    """Batches of (windows [batch, length],).

    Training windows have random signs unless ``upright``, and attenuation uniform up to ``softer_db``.
    """

    corpus: Corpus
    length: int
    upright: bool
    softer_db: float

    def batch(self, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        waveforms = self.train.take_grains(self.corpus, indices, self.length)
        if not self.upright:
            waveforms *= rng.choice(np.array([-1, 1], np.float32), (len(indices), 1))
        if self.softer_db:
            waveforms *= (10 ** (-self.softer_db * rng.random((len(indices), 1)) / 20)).astype(np.float32)
        return (torch.from_numpy(waveforms),)

    def examples(self, source: Windows, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return (torch.from_numpy(source.take_grains(self.corpus, indices, self.length)),)


def windows(corpus: Corpus, split: Split, settings: GrainFrames, held_out: bool = False) -> Windows:
    """Return audible windows before each training clip's held-out end, or inside it."""
    step = 0 if settings.align else settings.hop_length
    with contextlib.ExitStack() as column_files:
        run_columns = [column_files.enter_context(ColumnFile(None, dtype)) for dtype in ("<i8", "<i8", "i1", "<i8")]
        for clip_index, first_samples, signs in _windows(corpus, split, settings, held_out):
            run_arrays: list[npt.NDArray[Any]] = [*_runs(first_samples, signs, step)]
            for column, column_values in zip(
                run_columns, [np.full(len(run_arrays[0]), clip_index), *run_arrays], strict=True
            ):
                column.append(column_values)
        clip_indices, run_starts, run_signs, window_counts = (np.array(column.mapped()) for column in run_columns)
    return Windows(corpus.clips(split), clip_indices, run_starts, run_signs, np.cumsum(window_counts), step)


def _windows(
    corpus: Corpus, split: Split, settings: GrainFrames, held_out: bool = False
) -> Iterator[tuple[int, Integers, Array]]:
    """Yield indices of clips, with first samples and signs of their audible windows."""
    window_length, hop = settings.frame_length, settings.hop_length
    for clip_index, clip in enumerate(corpus.clips(split)):
        samples = corpus.samples(clip)
        held_out_start = round(len(samples) * (1 - settings.held_out)) if split == "train" else len(samples)
        begin_sample, end_sample = (held_out_start, len(samples)) if held_out else (0, held_out_start)
        first_samples = np.arange(begin_sample, end_sample - window_length + 1, hop)
        if not len(first_samples):
            continue
        cumulative_energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
        first_samples = first_samples[
            cumulative_energy[first_samples + window_length] - cumulative_energy[first_samples]
            > window_length * SILENT**2
        ]
        if not len(first_samples):
            continue
        signs = np.ones(len(first_samples), np.float32)
        if settings.align:
            first_samples, signs = _aligned(samples, first_samples, window_length, begin_sample, end_sample)
        yield clip_index, first_samples, signs


def _runs(starts: Integers, signs: Array, step: int) -> tuple[Integers, npt.NDArray[np.int8], Integers]:
    """Return first samples, signs and window counts of runs of windows ``step`` samples apart."""
    first_windows = np.flatnonzero(np.concatenate([[True], np.diff(starts) != step]))
    return starts[first_windows], signs[first_windows].astype(np.int8), np.diff(first_windows, append=len(starts))


def _aligned(samples: Array, starts: Integers, length: int, begin: int, end: int) -> tuple[Integers, Array]:
    """Return first samples and signs of windows, moved until the largest sample is at a quarter."""
    magnitude_windows = np.lib.stride_tricks.sliding_window_view(np.abs(samples), length)
    while True:
        peak_samples = np.array([start + int(magnitude_windows[start].argmax()) for start in starts])
        aligned_starts = np.clip(peak_samples - length // PLACE, begin, end - length)
        if np.array_equal(aligned_starts, starts):
            return starts, np.sign(samples[peak_samples]).astype(np.float32)
        starts = aligned_starts


def grains(frames: Array, grain_length: int, domain: str, rng: np.random.Generator) -> Array:
    """Return unwindowed samples [frames, frame_length], with new noise."""
    if domain == "samples":
        return frames
    bin_count = grain_length // 2 + 1
    magnitudes, phases_or_envelopes = frames[:, :bin_count], frames[:, bin_count:]
    if domain == "magnitude_phase":
        return np.fft.irfft(magnitudes * np.exp(1j * phases_or_envelopes), grain_length).astype(np.float32)
    gaussian_noise = rng.standard_normal((2, *magnitudes.shape))
    noise_grains = np.fft.irfft(magnitudes * (gaussian_noise[0] + 1j * gaussian_noise[1]) / np.sqrt(2), grain_length)
    point_samples = np.linspace(0, grain_length - 1, phases_or_envelopes.shape[1])
    envelopes = np.stack(
        [np.interp(np.arange(grain_length), point_samples, envelope) for envelope in phases_or_envelopes]
    )
    shaped_grains: Array = (noise_grains * envelopes).astype(np.float32)
    return shaped_grains


def overlapped(sounds: Array, hop: int, shape: str, strangers: bool = True) -> Array:
    """Overlap-add grains under a window, ``hop`` samples apart, at the level of one: [samples].

    Powers add up for ``strangers``, uncorrelated grains; amplitudes for others.
    """
    length = sounds.shape[1]
    window_weights = window(shape, length)
    summed_sound = overlap_add(sounds * window_weights, hop)
    overlap_gain = float(np.sqrt(np.square(window_weights).sum() / hop) if strangers else window_weights.sum() / hop)
    return summed_sound * np.float32(1 / max(1.0, overlap_gain))


class GrainFamily(Family[GrainRecipe, GrainAutoencoder]):
    network = GrainAutoencoder
    bfloat16 = True

    def check(self, corpus: Corpus, recipe: GrainRecipe) -> None:
        length = recipe.frames.frame_length
        clips = corpus.clips("train")
        shortest_clip = clips[int(clips.lengths.argmin())]
        if shortest_clip.length < length:
            raise UserError(
                f"frames.frame_length {length} is longer than clip {shortest_clip.name!r} of "
                f"{shortest_clip.length} samples; set it lower, or build the corpus without that clip"
            )
        window_count = int(((clips.lengths * (1 - recipe.frames.held_out)).astype(np.int64) // length).sum())
        if window_count < FEWEST:
            raise UserError(
                f"corpus {corpus.folder} has {corpus.seconds('train'):.1f} s to train on, {window_count} windows of "
                f"frames.frame_length {length} side by side, and {FEWEST} are the least; add sounds, or set it lower"
            )
        if next(_windows(corpus, "train", recipe.frames), None) is None:
            raise UserError(f"corpus {corpus.folder} has no training window that sounds; add louder sounds")

    def data(self, corpus: Corpus, recipe: GrainRecipe, folder: Path) -> GrainData:
        """Held-out ends of training clips replace missing validation clips."""
        settings = recipe.frames
        train = windows(corpus, "train", settings)
        val = windows(corpus, "val", settings)
        if not len(val):
            val = windows(corpus, "train", settings, held_out=True)
        return GrainData(train, val, corpus, settings.frame_length, settings.align, settings.softer_db)

    def preview(self, network: GrainAutoencoder, recipe: GrainRecipe, batch: list[torch.Tensor]) -> list[Array]:
        length, rng = recipe.frames.frame_length, np.random.default_rng(0)
        grain_count = max(1, int(SECONDS * recipe.frames.sample_rate / (length // 4)))
        frames = network.decode(network.encode(*batch)).cpu().numpy()
        return [
            overlapped(
                grains(np.repeat(f[None], grain_count, 0), length, recipe.network.domain, rng), length // 4, "blackman"
            )
            for f in frames
        ]
