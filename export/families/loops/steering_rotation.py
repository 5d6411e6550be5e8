"""Rotates the steering space of loops, so that the first knobs move named measures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ....host.arrays import Doubles
from ....train.corpus.store import Corpus
from ....train.families.loops.batches import lateness, loops, sliced
from ....train.families.loops.network import LoopNetwork
from ....train.families.loops.recipe import LoopRecipe
from ....train.families.loops.steering_examples import TILTS_DB, retimed, tilted
from ....train.metrics.groove import LoopMeasures, groove
from ....train.sampling import thinned
from ...reports.report import SEED
from .loop_generation import all_played

NAMES = LoopMeasures._fields
RIDGE = 3.0  # in codes: the ridge, which shrinks directions that few codes support
DRAWN, DRAWN_BARS = 64, 4  # random codes to play, and their length in bars: some seconds of work
FAR = 2.0  # deviations: limit of random codes
LEAST_CORRELATION = 0.3  # minimum correlation of a direction
MOST = 64  # loops to measure, evenly spaced
LEAST = 1e-6


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
    middle, root, _ = _spread(codes, tolerated_variances(network))
    drawn = middle + np.random.default_rng(SEED).standard_normal((DRAWN, len(middle))).clip(-FAR, FAR) @ root
    sounds = all_played(network, recipe, torch.from_numpy(drawn).float(), DRAWN_BARS, SEED)
    frames = recipe.frames
    measures = [groove(sound, frames.sample_rate, frames.hop_length, frames.steps_per_beat) for sound in sounds]
    return rotation_of(codes, drawn, measures, tolerated_variances(network))


def training_codes(network: LoopNetwork, recipe: LoopRecipe, corpus: Corpus) -> Doubles:
    """Return training loops' steering codes, tilted and in all timings, [loops, latents]."""
    found, codes = thinned(loops(corpus, "train", recipe), MOST), []
    timings, step = lateness(recipe), recipe.frames.hop_length
    tilts = np.linspace(*TILTS_DB, len(timings))
    for number, clip in enumerate(found):
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
    codes: Doubles, drawn: Doubles, measures: Sequence[LoopMeasures], variances: Doubles
) -> SteeringRotation:
    """Return the rotation for codes of loops [loops, latents], and other codes [codes, latents] with measures.

    Codes are whitened as if within ``variances`` [latents], then rotated: no knob moves along two directions.
    """
    middle, root, out = _spread(codes, variances)
    white = (drawn - middle) @ out
    ways, names = [], []
    for number, name in enumerate(NAMES):
        way = _direction(white, np.array([measure[number] for measure in measures]))
        if way is not None:
            ways.append(way)
            names.append(name)
    basis = _basis(np.array(ways).reshape(-1, len(middle)))
    correlations = {
        name: _correlation(white @ basis[place], np.array([m[NAMES.index(name)] for m in measures]))
        for place, name in enumerate(names)
    }
    rest = [f"latent {place}" for place in range(len(names), len(middle))]
    knobs = (codes - middle) @ out @ basis.T
    ends = np.stack([knobs.min(0), knobs.max(0)])
    return SteeringRotation(middle, basis @ root, out @ basis.T, names + rest, correlations, ends)


def _spread(codes: Doubles, variances: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    middle = codes.mean(0)
    spread = (codes - middle).T @ (codes - middle) / len(codes) + np.diag(variances)
    values, axes = np.linalg.eigh(spread)
    return middle, (axes * np.sqrt(values)) @ axes.T, (axes / np.sqrt(values)) @ axes.T


def _direction(white: Doubles, measured: Doubles) -> Doubles | None:
    """By ridge regression; None if unclear."""
    known = np.isfinite(measured)
    if known.sum() < 2 or measured[known].std() < LEAST:
        return None
    codes, asked = white[known], (measured[known] - measured[known].mean()) / measured[known].std()
    codes = codes - codes.mean(0)
    way = np.linalg.solve(codes.T @ codes + RIDGE * np.eye(codes.shape[1]), codes.T @ asked)
    length = float(np.linalg.norm(way))
    if length < LEAST or _correlation(codes @ way, asked) < LEAST_CORRELATION:
        return None
    return np.asarray(way / length)


def _basis(ways: Doubles) -> Doubles:
    """Orthonormal: the directions, rotated as little as possible (Löwdin, 1950), and others."""
    count, n = ways.shape
    left, _, right = np.linalg.svd(ways, full_matrices=True)
    return np.concatenate([left @ right[:count], right[count:]]) if count else np.eye(n)


def _correlation(first: Doubles, second: Doubles) -> float:
    known = np.isfinite(second)
    if min(first[known].std(), second[known].std()) < LEAST:
        return 0.0
    return float(np.corrcoef(first[known], second[known])[0, 1])
