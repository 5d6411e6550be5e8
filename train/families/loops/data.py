"""Data for the loops family: sequences of slices from each bar on, and variants for steering codes."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....host.arrays import Array, Integers
from ....host.errors import UserError
from ...corpus.clip_table import Clips, Split
from ...corpus.store import Corpus
from ...data import Data, audible, counted, left_out, without
from ...metrics.rhythm import groove
from ..clip.features import ClipFeatures
from ..family import Family
from .network import MAX_OFFBEAT_DELAY, LoopNetwork, SliceFeatures, octaves
from .recipe import LoopRecipe

THIN = 1.0  # of a step: a full step's delay removes the off-beats
THINNER = 3.0  # removes the off-beat eighths too
OFFBEAT_DELAYS = (0.0, 0.15, 0.3, THIN, THINNER)  # off-beat delay of each variant, in steps
DELAY_TOLERANCE = 0.05  # of a step: loops within this tolerance of the wanted delay stay unchanged
ATTACK_SECONDS = 0.004  # a hit may begin this much before its grid position
FADE_SECONDS = 0.003  # fade-out at a cut
LEAST_POWER = 1e-12  # smallest divisor of powers
EXTENSION_FALL = 1e-2  # decay of an extension over one step
TILTS_DB = (-3.0, 2.0)  # an octave, range of tilts: drums have most of their energy at high frequencies


def retimed(sound: Array, rate: int, step: int, late: float) -> Array:
    """Set the delay of off-beats in steps, [samples].

    Beats and off-beats are cut, or extended by their decaying, time-reversed echo.
    """
    if late == THINNER:
        return retimed(retimed(sound, rate, step, THIN), rate, 2 * step, THIN)
    current_delay_steps = min(max(float(np.nan_to_num(groove(sound, rate, step, 2).swing)), 0.0), MAX_OFFBEAT_DELAY)
    if abs(current_delay_steps - late) < DELAY_TOLERANCE:
        return sound
    current_offbeat_sample, target_offbeat_sample = (
        round(step * (1 + delay_steps)) for delay_steps in (current_delay_steps, late)
    )
    attack_samples, fade_samples = round(ATTACK_SECONDS * rate), max(1, round(FADE_SECONDS * rate))
    rolled_sound = np.roll(sound, attack_samples)
    retimed_sound = rolled_sound.copy()
    for pair_start in range(0, len(sound) - 2 * step + 1, 2 * step):
        pair_samples = rolled_sound[pair_start : pair_start + 2 * step]
        retimed_sound[pair_start : pair_start + target_offbeat_sample] = _fit_length(
            pair_samples[:current_offbeat_sample], target_offbeat_sample, step, fade_samples
        )
        retimed_sound[pair_start + target_offbeat_sample : pair_start + 2 * step] = _fit_length(
            pair_samples[current_offbeat_sample:], 2 * step - target_offbeat_sample, step, fade_samples
        )
    return np.roll(retimed_sound, -attack_samples)


def _fit_length(sound: Array, length: int, step: int, longest_fade: int) -> Array:
    """Cut a sound, or extend it by its echo, to ``length`` samples, with a fade at the end."""
    if length == len(sound):
        return sound
    missing_samples = length - len(sound)
    fitted_sound = (
        sound[:length].copy() if missing_samples < 0 else np.concatenate([sound, _echo(sound, missing_samples, step)])
    )
    fade_samples = min(longest_fade, length)
    fitted_sound[length - fade_samples :] *= np.linspace(1, 0, fade_samples, dtype=np.float32)
    return fitted_sound


def _echo(sound: Array, count: int, step: int) -> Array:
    """Return ``count`` samples of a sound backwards and forwards in turn, decaying."""
    mirrored_sound = np.concatenate([sound[::-1], sound])
    decay_gains = EXTENSION_FALL ** (np.arange(count) / step)
    return np.asarray(np.resize(mirrored_sound, count) * decay_gains, np.float32)


def tilted(sound: Array, rate: int, db_per_octave: float) -> Array:
    """Tilt a spectrum at unchanged power, [samples]."""
    bin_gains = 10 ** (octaves(np.fft.rfftfreq(len(sound), 1 / rate)) * db_per_octave / 20)
    tilted_sound = np.fft.irfft(np.fft.rfft(sound) * bin_gains, len(sound))
    mean_powers = [float(np.mean(np.square(samples, dtype=np.float64))) for samples in (sound, tilted_sound)]
    return np.asarray(tilted_sound * np.sqrt(mean_powers[0] / max(mean_powers[1], LEAST_POWER)), np.float32)


MOST_VALIDATED = 128
FEATURE_BATCH = 256  # slices per feature computation
BUILD = "build it with: timbrel corpus build SOUNDS --loops"


@dataclass(frozen=True)
class Slices:
    """Features of a split's slices, [variants, slices, width] in half precision, loop after loop.

    Loop ``l`` has slices ``firsts[l]`` to ``firsts[l + 1] - 1``. Sequences begin at ``starts`` in ``loops``.
    ``density`` is in onsets a beat, [variants, loops].
    """

    raw: Tensor
    firsts: Integers
    starts: Integers
    loops: Integers
    density: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.starts)

    def take_slices(self, sequences: Integers, steps: int, variants: Integers) -> Tensor:
        """Return features [sequences, steps, width], wrapping at the loop's end."""
        loop_starts, loop_ends = (self.firsts[self.loops[sequences] + offset][:, None] for offset in (0, 1))
        slice_indices = loop_starts + (self.starts[sequences][:, None] - loop_starts + np.arange(steps)) % (
            loop_ends - loop_starts
        )
        return self.raw[torch.from_numpy(variants[:, None]), torch.from_numpy(slice_indices)]


@dataclass
class LoopData(Data[Slices]):
    """Batches of (target_raw, steering_raw, previous, tilts, late, density), as in `LoopNetwork.reconstruction`."""

    steps: int
    together: ClassVar[int] = 32

    def validated(self, limit: int) -> Integers:
        """Return sequences, each as often as there are variants."""
        return np.repeat(super().validated(min(limit, MOST_VALIDATED)), len(self.val.raw))

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return super().spread(min(limit, MOST_VALIDATED))

    def examples(self, source: Slices, indices: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Return sequences in random variants and tilts."""
        count = len(indices)
        variants, tilts_db = rng.integers(len(source.raw), size=(2, count)), rng.uniform(*TILTS_DB, size=(2, count))
        variant_delays = np.array(OFFBEAT_DELAYS)[variants[0]]
        straight_variants = np.where(variant_delays < THIN, OFFBEAT_DELAYS.index(0.0), variants[0])
        target_raw, steering_raw, previous = (
            source.take_slices(indices, self.steps, slice_variants) for slice_variants in (straight_variants, *variants)
        )
        timing_targets = np.where(variant_delays < THIN, variant_delays, np.nan)
        scalars = [tilts_db.T, timing_targets, source.density[variants[0], source.loops[indices]]]
        return target_raw, steering_raw, previous, *(torch.from_numpy(column.astype(np.float32)) for column in scalars)


def loops(corpus: Corpus, split: Split, recipe: LoopRecipe) -> Clips:
    """Return audible loops of at least a beat."""
    beat_samples = recipe.frames.hop_length * recipe.frames.steps_per_beat
    clips = audible(corpus, split)
    return clips.take(clips.lengths >= beat_samples)


def sliced(samples: Array, recipe: LoopRecipe) -> Array:
    """Return slices, [steps, frame_length]; the first overlaps the loop's end."""
    slice_length, step_samples = recipe.frames.frame_length, recipe.frames.hop_length
    step_count, overlap_samples = len(samples) // step_samples, slice_length - step_samples
    whole_steps = samples[: step_count * step_samples]
    overlapped_samples = (
        np.concatenate([whole_steps[-overlap_samples:], whole_steps]) if overlap_samples else whole_steps
    )
    return np.lib.stride_tricks.sliding_window_view(overlapped_samples, slice_length)[::step_samples].copy()


@torch.no_grad()
def extract_slices(corpus: Corpus, clips: Clips, recipe: LoopRecipe) -> Slices:
    """Return the slices of loops, with their features in all variants."""
    frame_settings, slice_features = recipe.frames, SliceFeatures(recipe.frames.sample_rate, recipe.frames.frame_length)
    loop_features, first_slices, loop_indices = list[Tensor](), [0], list[int]()
    sequence_starts, onset_densities = list[int](), list[list[float]]()
    for loop_index, clip in enumerate(clips):
        sound, step_samples = np.array(corpus.samples(clip)), frame_settings.hop_length
        variant_sounds = [retimed(sound, corpus.rate, step_samples, delay_steps) for delay_steps in lateness(recipe)]
        onset_densities.append(
            [
                groove(variant, corpus.rate, step_samples, frame_settings.steps_per_beat).density
                for variant in variant_sounds
            ]
        )
        variant_slices = [sliced(variant, recipe) for variant in variant_sounds]
        slice_count, slice_samples = len(variant_slices[0]), torch.from_numpy(np.concatenate(variant_slices))
        loop_features.append(
            torch.cat(
                [slice_features.raw(slice_batch).half() for slice_batch in torch.split(slice_samples, FEATURE_BATCH)]
            ).view(len(variant_slices), slice_count, -1)
        )
        bar_starts = range(first_slices[-1], first_slices[-1] + slice_count, frame_settings.bar)
        sequence_starts += bar_starts
        loop_indices += [loop_index] * len(bar_starts)
        first_slices.append(first_slices[-1] + slice_count)
    return Slices(
        torch.cat(loop_features, 1),
        np.array(first_slices),
        np.array(sequence_starts),
        np.array(loop_indices),
        np.array(onset_densities).T,
    )


def lateness(recipe: LoopRecipe) -> tuple[float, ...]:
    """Return off-beat delays in steps; odd ``steps_per_beat`` have none."""
    return OFFBEAT_DELAYS[:1] if recipe.frames.steps_per_beat % 2 else OFFBEAT_DELAYS


class LoopFamily(Family[LoopRecipe, LoopNetwork]):
    network = LoopNetwork
    measured = True
    previewed = False

    def check(self, corpus: Corpus, recipe: LoopRecipe) -> None:
        if corpus.loops is None:
            raise UserError(f"corpus {corpus.folder} is not of loops: its clips lie on no grid; {BUILD}")
        if not len(loops(corpus, "train", self.complete(recipe, corpus))):
            raise UserError(f"corpus {corpus.folder} has no training loop that sounds and has a beat; add loops")

    def data(self, corpus: Corpus, recipe: LoopRecipe, folder: Path) -> LoopData:
        train_loops, val_loops = (loops(corpus, split, recipe) for split in ("train", "val"))
        split_slices = [
            extract_slices(corpus, clips, recipe)
            for clips in (train_loops, val_loops if len(val_loops) else train_loops)
        ]
        return LoopData(split_slices[0], split_slices[1], recipe.network.bars * recipe.frames.bar)

    def complete(self, recipe: LoopRecipe, corpus: Corpus) -> LoopRecipe:
        """Fill in the corpus's grid, and limit prototypes to its training slices."""
        grid = corpus.loops
        assert grid is not None
        hop = ClipFeatures(corpus.rate, 1 << 16).hop
        frame_settings = recipe.frames.model_copy(
            update={
                "sample_rate": corpus.rate,
                "frame_length": grid.step_length + hop,
                "hop_length": grid.step_length,
                "steps_per_beat": grid.steps_per_beat,
                "beats_per_bar": grid.beats_per_bar,
            }
        )
        gridded_recipe = recipe.model_copy(update={"frames": frame_settings})
        slice_count = sum(clip.length // grid.step_length for clip in loops(corpus, "train", gridded_recipe))
        prototype_count = min(recipe.network.prototypes, max(2, slice_count))
        return gridded_recipe.model_copy(
            update={"network": recipe.network.model_copy(update={"prototypes": prototype_count})}
        )

    def describe(self, corpus: Corpus, recipe: LoopRecipe) -> str:
        training_loops = loops(corpus, "train", recipe)
        step_samples, beat_steps = recipe.frames.hop_length, recipe.frames.steps_per_beat
        tempo_bpm = 60 * recipe.frames.sample_rate / (step_samples * beat_steps)
        slice_count = sum(clip.length // step_samples for clip in training_loops)
        phrases = [
            f"{counted(len(training_loops), 'loop')} at {tempo_bpm:.2f} BPM, "
            f"{counted(slice_count, 'slice')} of {step_samples} samples"
        ]
        audible_clips = audible(corpus, "train")
        if short_clips := [clip for clip in audible_clips if clip.length < step_samples * beat_steps]:
            phrases.append(without(short_clips, "loop", " of less than a beat"))
        return "; ".join(phrases + left_out(corpus, audible_clips, audible_clips))
