"""Data for the loops family: sequences of slices from each bar on, and variants for steering codes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ....host.arrays import Array, Integers
from ....host.errors import UserError
from ...corpus.clip_table import Clips, Split
from ...corpus.store import Corpus
from ...data import are, audible, counted, left_out
from ...metrics.rhythm import groove
from ...sampling import evenly_spaced
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
    current_delay = min(max(float(np.nan_to_num(groove(sound, rate, step, 2).swing)), 0.0), MAX_OFFBEAT_DELAY)
    if abs(current_delay - late) < DELAY_TOLERANCE:
        return sound
    current_split, target_split = (round(step * (1 + share)) for share in (current_delay, late))
    attack_samples, fade_samples = round(ATTACK_SECONDS * rate), max(1, round(FADE_SECONDS * rate))
    rolled = np.roll(sound, attack_samples)
    retimed_sound = rolled.copy()
    for first in range(0, len(sound) - 2 * step + 1, 2 * step):
        pair = rolled[first : first + 2 * step]
        retimed_sound[first : first + target_split] = _fit_length(
            pair[:current_split], target_split, step, fade_samples
        )
        retimed_sound[first + target_split : first + 2 * step] = _fit_length(
            pair[current_split:], 2 * step - target_split, step, fade_samples
        )
    return np.roll(retimed_sound, -attack_samples)


def _fit_length(sound: Array, length: int, step: int, longest_fade: int) -> Array:
    if length == len(sound):
        return sound
    missing = length - len(sound)
    fitted = sound[:length].copy() if missing < 0 else np.concatenate([sound, _echo(sound, missing, step)])
    fade_samples = min(longest_fade, length)
    fitted[length - fade_samples :] *= np.linspace(1, 0, fade_samples, dtype=np.float32)
    return fitted


def _echo(sound: Array, count: int, step: int) -> Array:
    echo = np.concatenate([sound[::-1], sound])
    decay = EXTENSION_FALL ** (np.arange(count) / step)
    return np.asarray(np.resize(echo, count) * decay, np.float32)


def tilted(sound: Array, rate: int, db_per_octave: float) -> Array:
    """Tilt a spectrum at unchanged power, [samples]."""
    gains = 10 ** (octaves(np.fft.rfftfreq(len(sound), 1 / rate)) * db_per_octave / 20)
    tilted_sound = np.fft.irfft(np.fft.rfft(sound) * gains, len(sound))
    powers = [float(np.mean(np.square(samples, dtype=np.float64))) for samples in (sound, tilted_sound)]
    return np.asarray(tilted_sound * np.sqrt(powers[0] / max(powers[1], LEAST_POWER)), np.float32)


BATCH = 32  # validation loops at a time
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

    def take_slices(self, sequences: Integers, steps: int, variants: Integers) -> Tensor:
        """Return features [sequences, steps, width], wrapping at the loop's end."""
        first, end = (self.firsts[self.loops[sequences] + offset][:, None] for offset in (0, 1))
        slice_indices = first + (self.starts[sequences][:, None] - first + np.arange(steps)) % (end - first)
        return self.raw[torch.from_numpy(variants[:, None]), torch.from_numpy(slice_indices)]


class LoopData:
    """Batches of (target_raw, steering_raw, previous, tilts, late, density), as in `LoopNetwork.reconstruction`."""

    def __init__(self, train: Slices, val: Slices, steps: int) -> None:
        self._train, self._val, self._steps = train, val, steps

    def __len__(self) -> int:
        return len(self._train.starts)

    def batch(self, frames: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return self._load_batch(self._train, frames, rng)

    def validation(self, limit: int) -> Iterator[tuple[Tensor, ...]]:
        sequences = evenly_spaced(len(self._val.starts), min(limit, MOST_VALIDATED))
        sequences, rng = np.repeat(sequences, len(self._val.raw)), np.random.default_rng(0)
        return (
            self._load_batch(self._val, sequences[first : first + BATCH], rng)
            for first in range(0, len(sequences), BATCH)
        )

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return self.batch(evenly_spaced(len(self), min(limit, MOST_VALIDATED)), np.random.default_rng(0))

    def _load_batch(self, slices: Slices, sequences: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        count = len(sequences)
        variants, tilts = rng.integers(len(slices.raw), size=(2, count)), rng.uniform(*TILTS_DB, size=(2, count))
        delays = np.array(OFFBEAT_DELAYS)[variants[0]]
        straight = np.where(delays < THIN, OFFBEAT_DELAYS.index(0.0), variants[0])
        target_raw, steering_raw, previous = (
            slices.take_slices(sequences, self._steps, indices) for indices in (straight, *variants)
        )
        offbeat_delays = np.where(delays < THIN, delays, np.nan)
        scalars = [tilts.T, offbeat_delays, slices.density[variants[0], slices.loops[sequences]]]
        return target_raw, steering_raw, previous, *(torch.from_numpy(column.astype(np.float32)) for column in scalars)


def loops(corpus: Corpus, split: Split, recipe: LoopRecipe) -> Clips:
    """Return audible loops of at least a beat."""
    beat = recipe.frames.hop_length * recipe.frames.steps_per_beat
    clips = audible(corpus, split)
    return clips.take(clips.lengths >= beat)


def sliced(samples: Array, recipe: LoopRecipe) -> Array:
    """Return slices, [steps, frame_length]; the first overlaps the loop's end."""
    length, step = recipe.frames.frame_length, recipe.frames.hop_length
    count, overlap = len(samples) // step, length - step
    trimmed = samples[: count * step]
    padded = np.concatenate([trimmed[-overlap:], trimmed]) if overlap else trimmed
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::step].copy()


@torch.no_grad()
def extract_slices(corpus: Corpus, clips: Clips, recipe: LoopRecipe) -> Slices:
    frames, features = recipe.frames, SliceFeatures(recipe.frames.sample_rate, recipe.frames.frame_length)
    raw, firsts, loop_indices = list[Tensor](), [0], list[int]()
    starts, density = list[int](), list[list[float]]()
    for index, clip in enumerate(clips):
        sound, step = np.array(corpus.samples(clip)), frames.hop_length
        variants = [retimed(sound, corpus.rate, step, late) for late in lateness(recipe)]
        density.append([groove(variant, corpus.rate, step, frames.steps_per_beat).density for variant in variants])
        variant_slices = [sliced(variant, recipe) for variant in variants]
        count, slices = len(variant_slices[0]), torch.from_numpy(np.concatenate(variant_slices))
        raw.append(
            torch.cat([features.raw(rows).half() for rows in torch.split(slices, FEATURE_BATCH)]).view(
                len(variant_slices), count, -1
            )
        )
        bars = range(firsts[-1], firsts[-1] + count, frames.bar)
        starts += bars
        loop_indices += [index] * len(bars)
        firsts.append(firsts[-1] + count)
    return Slices(torch.cat(raw, 1), np.array(firsts), np.array(starts), np.array(loop_indices), np.array(density).T)


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

    def data(self, corpus: Corpus, recipe: LoopRecipe, folder: Path, tonal: bool) -> LoopData:
        train, val = (loops(corpus, split, recipe) for split in ("train", "val"))
        splits = [extract_slices(corpus, clips, recipe) for clips in (train, val if len(val) else train)]
        return LoopData(splits[0], splits[1], recipe.network.bars * recipe.frames.bar)

    def complete(self, recipe: LoopRecipe, corpus: Corpus) -> LoopRecipe:
        """Fill in the corpus's grid, and limit prototypes to its training slices."""
        grid = corpus.loops
        assert grid is not None
        hop = ClipFeatures(corpus.rate, 1 << 16).hop
        frames = recipe.frames.model_copy(
            update={
                "sample_rate": corpus.rate,
                "frame_length": grid.step_length + hop,
                "hop_length": grid.step_length,
                "steps_per_beat": grid.steps_per_beat,
                "beats_per_bar": grid.beats_per_bar,
            }
        )
        gridded = recipe.model_copy(update={"frames": frames})
        slices = sum(clip.length // grid.step_length for clip in loops(corpus, "train", gridded))
        prototypes = min(recipe.network.prototypes, max(2, slices))
        return gridded.model_copy(update={"network": recipe.network.model_copy(update={"prototypes": prototypes})})

    def describe(self, corpus: Corpus, recipe: LoopRecipe) -> str:
        training_loops = loops(corpus, "train", recipe)
        step, beat = recipe.frames.hop_length, recipe.frames.steps_per_beat
        tempo = 60 * recipe.frames.sample_rate / (step * beat)
        slices = sum(clip.length // step for clip in training_loops)
        parts = [
            f"{counted(len(training_loops), 'loop')} at {tempo:.2f} BPM, {counted(slices, 'slice')} of {step} samples"
        ]
        sounding = audible(corpus, "train")
        if short := [clip.name for clip in sounding if clip.length < step * beat]:
            parts.append(f"{counted(len(short), 'loop')} of less than a beat {are(len(short))} left out ({short[0]!r})")
        return "; ".join(parts + left_out(corpus, sounding, sounding))
