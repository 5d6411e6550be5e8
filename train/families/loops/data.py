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
from .network import LATEST, LoopNetwork, SliceFeatures, octaves
from .recipe import LoopRecipe

THIN = 1.0  # of a step: a full step's delay removes the off-beats
THINNER = 3.0  # removes the off-beat eighths too
LATE = (0.0, 0.15, 0.3, THIN, THINNER)  # off-beat delay of each variant, in steps
NEAR = 0.05  # of a step: loops within this tolerance of the wanted delay stay unchanged
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
    own = min(max(float(np.nan_to_num(groove(sound, rate, step, 2).swing)), 0.0), LATEST)
    if abs(own - late) < NEAR:
        return sound
    here, there = (round(step * (1 + share)) for share in (own, late))
    early, fade = round(ATTACK_SECONDS * rate), max(1, round(FADE_SECONDS * rate))
    rolled = np.roll(sound, early)
    made = rolled.copy()
    for first in range(0, len(sound) - 2 * step + 1, 2 * step):
        pair = rolled[first : first + 2 * step]
        made[first : first + there] = _lasting(pair[:here], there, step, fade)
        made[first + there : first + 2 * step] = _lasting(pair[here:], 2 * step - there, step, fade)
    return np.roll(made, -early)


def _lasting(part: Array, length: int, step: int, fade: int) -> Array:
    if length == len(part):
        return part
    more = length - len(part)
    made = part[:length].copy() if more < 0 else np.concatenate([part, _echo(part, more, step)])
    end = min(fade, length)
    made[length - end :] *= np.linspace(1, 0, end, dtype=np.float32)
    return made


def _echo(part: Array, count: int, step: int) -> Array:
    there_and_back = np.concatenate([part[::-1], part])
    falling = EXTENSION_FALL ** (np.arange(count) / step)
    return np.asarray(np.resize(there_and_back, count) * falling, np.float32)


def tilted(sound: Array, rate: int, db_per_octave: float) -> Array:
    """Tilt a spectrum at unchanged power, [samples]."""
    gains = 10 ** (octaves(np.fft.rfftfreq(len(sound), 1 / rate)) * db_per_octave / 20)
    made = np.fft.irfft(np.fft.rfft(sound) * gains, len(sound))
    power = [float(np.mean(np.square(part, dtype=np.float64))) for part in (sound, made)]
    return np.asarray(made * np.sqrt(power[0] / max(power[1], LEAST_POWER)), np.float32)


BATCH = 32  # validation loops at a time
MOST_VALIDATED = 128
ROWS = 256  # slices per feature computation
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

    def take_slices(self, chosen: Integers, steps: int, variants: Integers) -> Tensor:
        """Return features [chosen, steps, width], wrapping at the loop's end."""
        first, end = (self.firsts[self.loops[chosen] + more][:, None] for more in (0, 1))
        places = first + (self.starts[chosen][:, None] - first + np.arange(steps)) % (end - first)
        return self.raw[torch.from_numpy(variants[:, None]), torch.from_numpy(places)]


class LoopData:
    """Batches of (told, heard, fed, tilts, late, density), as in `LoopNetwork.reconstruction`."""

    def __init__(self, train: Slices, val: Slices, steps: int) -> None:
        self._train, self._val, self._steps = train, val, steps

    def __len__(self) -> int:
        return len(self._train.starts)

    def batch(self, frames: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return self._of(self._train, frames, rng)

    def validation(self, limit: int) -> Iterator[tuple[Tensor, ...]]:
        chosen = evenly_spaced(len(self._val.starts), min(limit, MOST_VALIDATED))
        chosen, rng = np.repeat(chosen, len(self._val.raw)), np.random.default_rng(0)
        return (self._of(self._val, chosen[at : at + BATCH], rng) for at in range(0, len(chosen), BATCH))

    def spread(self, limit: int) -> tuple[Tensor, ...]:
        return self.batch(evenly_spaced(len(self), min(limit, MOST_VALIDATED)), np.random.default_rng(0))

    def _of(self, slices: Slices, chosen: Integers, rng: np.random.Generator) -> tuple[Tensor, ...]:
        count = len(chosen)
        variants, tilts = rng.integers(len(slices.raw), size=(2, count)), rng.uniform(*TILTS_DB, size=(2, count))
        late = np.array(LATE)[variants[0]]
        straight = np.where(late < THIN, LATE.index(0.0), variants[0])
        told, heard, fed = (slices.take_slices(chosen, self._steps, drawn) for drawn in (straight, *variants))
        known = np.where(late < THIN, late, np.nan)
        numbers = [tilts.T, known, slices.density[variants[0], slices.loops[chosen]]]
        return told, heard, fed, *(torch.from_numpy(part.astype(np.float32)) for part in numbers)


def loops(corpus: Corpus, split: Split, recipe: LoopRecipe) -> Clips:
    """Return audible loops of at least a beat."""
    beat = recipe.frames.hop_length * recipe.frames.steps_per_beat
    clips = audible(corpus, split)
    return clips.take(clips.lengths >= beat)


def sliced(samples: Array, recipe: LoopRecipe) -> Array:
    """Return slices, [steps, frame_length]; the first overlaps the loop's end."""
    length, step = recipe.frames.frame_length, recipe.frames.hop_length
    count, before = len(samples) // step, length - step
    rounded = samples[: count * step]
    whole = np.concatenate([rounded[-before:], rounded]) if before else rounded
    return np.lib.stride_tricks.sliding_window_view(whole, length)[::step].copy()


@torch.no_grad()
def taken(corpus: Corpus, found: Clips, recipe: LoopRecipe) -> Slices:
    frames, features = recipe.frames, SliceFeatures(recipe.frames.sample_rate, recipe.frames.frame_length)
    raw, firsts, numbers = list[Tensor](), [0], list[int]()
    starts, density = list[int](), list[list[float]]()
    for number, clip in enumerate(found):
        sound, step = np.array(corpus.samples(clip)), frames.hop_length
        made = [retimed(sound, corpus.rate, step, late) for late in lateness(recipe)]
        density.append([groove(one, corpus.rate, step, frames.steps_per_beat).density for one in made])
        cut = [sliced(one, recipe) for one in made]
        count, slices = len(cut[0]), torch.from_numpy(np.concatenate(cut))
        raw.append(
            torch.cat([features.raw(some).half() for some in torch.split(slices, ROWS)]).view(len(cut), count, -1)
        )
        bars = range(firsts[-1], firsts[-1] + count, frames.bar)
        starts += bars
        numbers += [number] * len(bars)
        firsts.append(firsts[-1] + count)
    return Slices(torch.cat(raw, 1), np.array(firsts), np.array(starts), np.array(numbers), np.array(density).T)


def lateness(recipe: LoopRecipe) -> tuple[float, ...]:
    """Return off-beat delays in steps; odd ``steps_per_beat`` have none."""
    return LATE[:1] if recipe.frames.steps_per_beat % 2 else LATE


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
        parts = [taken(corpus, found, recipe) for found in (train, val if len(val) else train)]
        return LoopData(parts[0], parts[1], recipe.network.bars * recipe.frames.bar)

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
        placed = recipe.model_copy(update={"frames": frames})
        slices = sum(clip.length // grid.step_length for clip in loops(corpus, "train", placed))
        most = min(recipe.network.prototypes, max(2, slices))
        return placed.model_copy(update={"network": recipe.network.model_copy(update={"prototypes": most})})

    def describe(self, corpus: Corpus, recipe: LoopRecipe) -> str:
        used = loops(corpus, "train", recipe)
        step, beat = recipe.frames.hop_length, recipe.frames.steps_per_beat
        tempo = 60 * recipe.frames.sample_rate / (step * beat)
        slices = sum(clip.length // step for clip in used)
        parts = [f"{counted(len(used), 'loop')} at {tempo:.2f} BPM, {counted(slices, 'slice')} of {step} samples"]
        sounding = audible(corpus, "train")
        if short := [clip.name for clip in sounding if clip.length < step * beat]:
            parts.append(f"{counted(len(short), 'loop')} of less than a beat {are(len(short))} left out ({short[0]!r})")
        return "; ".join(parts + left_out(corpus, sounding, sounding))
