"""Steering of loops: sounds as hosts generate them, the effect of knobs, and rotation so that first knobs move
measures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...host.arrays import Array, Doubles
from ...train.corpus.store import Corpus
from ...train.families.loops.data import TILTS_DB, lateness, loops, retimed, sliced, tilted
from ...train.families.loops.network import LoopNetwork
from ...train.families.loops.recipe import LoopRecipe
from ...train.families.loops.synthesis import sound_of
from ...train.metrics.rhythm import LoopMeasures, groove
from ...train.sampling import thinned
from ..kinds.stream import HEAT
from ..reports.report import SEED

COARSE = 2  # iterations of phase fitting for sounds that are only measured


def played(
    network: LoopNetwork,
    recipe: LoopRecipe,
    codes: Tensor,
    steered: Tensor,
    bars: float,
    seed: int,
    loudest_db: float = math.inf,
) -> Array:
    """Continue the codes of slices [steps, components], which may be empty, at a steering code [latents]: [samples].

    Args:
        network: on the CPU.
        codes: from the start of a bar.
        loudest_db: as in `sound_of`.
    """
    generator = torch.Generator().manual_seed(seed)
    count = round(bars * recipe.frames.bar)
    slice_codes = network.continued(codes[None], steered[None], count, HEAT, generator)[0]
    return sound_of(network, recipe, slice_codes, loudest_db, float(network.late(steered)))


@torch.no_grad()
def all_played(network: LoopNetwork, recipe: LoopRecipe, steered: Tensor, bars: int, seed: int) -> list[Array]:
    """Generate sounds from an empty seed, per steering code [codes, latents]."""
    empty_seed = torch.zeros(len(steered), 0, recipe.network.components)
    generator = torch.Generator().manual_seed(seed)
    slice_codes = network.continued(empty_seed, steered, bars * recipe.frames.bar, HEAT, generator)
    late = network.late(steered)
    return [
        sound_of(network, recipe, codes, late=float(late[number]), turns=COARSE)
        for number, codes in enumerate(slice_codes)
    ]


NAMES = LoopMeasures._fields
RIDGE = 3.0  # in codes: the ridge, which shrinks directions that few codes support
RANDOM_CODES, RANDOM_BARS = 64, 4  # random codes to play, and their length in bars: some seconds of work
MOST_DEVIATIONS = 2.0  # deviations: limit of random codes
LEAST_CORRELATION = 0.3  # minimum correlation of a direction
MOST_LOOPS = 64  # loops to measure, evenly spaced
NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class SteeringRotation:
    """A rotation of the steering space: ``codes = middle + knobs @ directions``, undone by ``inverse``.

    Args:
        middle: mean code of training loops, [latents].
        directions: of knobs, [latents, latents], by row; training loops deviate by 1.
        names: of knobs, the first ones by measure.
        correlations: of the first knobs with their measures in generated sound.
        ends: range over training loops and variants, [2, latents].
    """

    middle: Doubles
    directions: Doubles
    inverse: Doubles
    names: list[str]
    correlations: dict[str, float]
    ends: Doubles


@torch.no_grad()
def fit_rotation(network: LoopNetwork, recipe: LoopRecipe, corpus: Corpus) -> SteeringRotation:
    """Find the directions of measures by regression over generated sound of random codes.

    Recorded loops' codes may describe ignored features.
    """
    codes = training_codes(network, recipe, corpus)
    middle, root, _ = _whitening(codes, tolerated_variances(network))
    random_codes = (
        middle
        + np.random.default_rng(SEED)
        .standard_normal((RANDOM_CODES, len(middle)))
        .clip(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        @ root
    )
    sounds = all_played(network, recipe, torch.from_numpy(random_codes).float(), RANDOM_BARS, SEED)
    frames = recipe.frames
    measures = [groove(sound, frames.sample_rate, frames.hop_length, frames.steps_per_beat) for sound in sounds]
    return rotation_of(codes, random_codes, measures, tolerated_variances(network))


def training_codes(network: LoopNetwork, recipe: LoopRecipe, corpus: Corpus) -> Doubles:
    """Return training loops' steering codes, tilted and in all timings, [loops, latents]."""
    training_loops, codes = thinned(loops(corpus, "train", recipe), MOST_LOOPS), []
    timings, step = lateness(recipe), recipe.frames.hop_length
    tilts = np.linspace(*TILTS_DB, len(timings))
    for number, clip in enumerate(training_loops):
        sound = np.array(corpus.samples(clip))
        for place, late in enumerate(timings):
            tilt = tilts[(number + place) % len(timings)]
            samples = tilted(retimed(sound, corpus.rate, step, late), corpus.rate, tilt)
            raw = network.features.raw(torch.from_numpy(sliced(samples, recipe)))
            codes.append(network.encode(raw[None])[0].double().numpy())
    return np.array(codes)


def tolerated_variances(network: LoopNetwork) -> Doubles:
    """Return variances that keep a steering code's meaning, [latents]."""
    variances: Doubles = network.vague.exp().double().numpy()
    return variances


def rotation_of(
    codes: Doubles, random_codes: Doubles, measures: Sequence[LoopMeasures], variances: Doubles
) -> SteeringRotation:
    """Return the rotation for codes of loops [loops, latents], and other codes [codes, latents] with measures.

    Codes are whitened as if within ``variances`` [latents], then rotated: no knob moves along two directions.
    """
    middle, root, whitening = _whitening(codes, variances)
    whitened = (random_codes - middle) @ whitening
    directions, names = [], []
    for number, name in enumerate(NAMES):
        direction = _direction(whitened, np.array([measure[number] for measure in measures]))
        if direction is not None:
            directions.append(direction)
            names.append(name)
    basis = _basis(np.array(directions).reshape(-1, len(middle)))
    correlations = {
        name: _correlation(whitened @ basis[place], np.array([m[NAMES.index(name)] for m in measures]))
        for place, name in enumerate(names)
    }
    unnamed = [f"latent {place}" for place in range(len(names), len(middle))]
    knobs = (codes - middle) @ whitening @ basis.T
    ends = np.stack([knobs.min(0), knobs.max(0)])
    return SteeringRotation(middle, basis @ root, whitening @ basis.T, names + unnamed, correlations, ends)


def _whitening(codes: Doubles, variances: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    middle = codes.mean(0)
    covariance = (codes - middle).T @ (codes - middle) / len(codes) + np.diag(variances)
    eigenvalues, axes = np.linalg.eigh(covariance)
    return middle, (axes * np.sqrt(eigenvalues)) @ axes.T, (axes / np.sqrt(eigenvalues)) @ axes.T


def _direction(whitened: Doubles, measured: Doubles) -> Doubles | None:
    """By ridge regression; None if unclear."""
    defined = np.isfinite(measured)
    if defined.sum() < 2 or measured[defined].std() < NEGLIGIBLE:
        return None
    codes, scores = whitened[defined], (measured[defined] - measured[defined].mean()) / measured[defined].std()
    codes = codes - codes.mean(0)
    direction = np.linalg.solve(codes.T @ codes + RIDGE * np.eye(codes.shape[1]), codes.T @ scores)
    length = float(np.linalg.norm(direction))
    if length < NEGLIGIBLE or _correlation(codes @ direction, scores) < LEAST_CORRELATION:
        return None
    return np.asarray(direction / length)


def _basis(directions: Doubles) -> Doubles:
    """Orthonormal: the directions, rotated as little as possible (Löwdin, 1950), and others."""
    count, n = directions.shape
    left, _, right = np.linalg.svd(directions, full_matrices=True)
    return np.concatenate([left @ right[:count], right[count:]]) if count else np.eye(n)


def _correlation(first: Doubles, second: Doubles) -> float:
    defined = np.isfinite(second)
    if min(first[defined].std(), second[defined].std()) < NEGLIGIBLE:
        return 0.0
    return float(np.corrcoef(first[defined], second[defined])[0, 1])


STEERED_BARS = 16  # measured at each end of a knob
UNITS = {"density": "onsets a beat", "brightness": "octaves over 1 Hz", "swing": "steps late"}


@torch.no_grad()
def steering(
    network: LoopNetwork, recipe: LoopRecipe, rotation: SteeringRotation
) -> dict[str, dict[str, float | None]]:
    """Return named knobs' measures at low end, middle and high end; None if undefined."""
    step, rate = recipe.frames.hop_length, recipe.frames.sample_rate
    measures_by_knob: dict[str, dict[str, float | None]] = {}
    empty_seed = torch.zeros(0, recipe.network.components)

    def measure_knob(number: int, position: float) -> LoopMeasures:
        code = torch.from_numpy(rotation.middle + position * rotation.directions[number]).float()
        sound = played(network, recipe, empty_seed, code, STEERED_BARS, SEED)
        return groove(sound, rate, step, recipe.frames.steps_per_beat)

    middle = measure_knob(0, 0.0)
    for number, name in enumerate(rotation.correlations):
        low, high = (measure_knob(number, end) for end in rotation.ends[:, number])
        measured = {"low": getattr(low, name), "middle": getattr(middle, name), "high": getattr(high, name)}
        measures_by_knob[name] = {end: float(value) if np.isfinite(value) else None for end, value in measured.items()}
    return measures_by_knob


def effects(rows: dict[str, dict[str, float | None]]) -> dict[str, str]:
    return {name: f"{_number(row['low'])} to {_number(row['high'])} {UNITS[name]}" for name, row in rows.items()}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
