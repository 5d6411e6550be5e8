"""Turns the steering codes of loops, so that the first knobs are what players call loops by."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ....train.corpus.store import Corpus
from ....train.families.loops.batches import lateness, loops, sliced
from ....train.families.loops.network import LoopNetwork
from ....train.families.loops.recipe import LoopRecipe
from ....train.families.loops.variants import TILTS_DB, retimed, tilted
from ....train.metrics.groove import LoopMeasures, groove
from ...reports.report import SEED
from .playing import all_played

Double = npt.NDArray[np.float64]

NAMES = LoopMeasures._fields
RIDGE = 3.0  # codes: so much is every direction held back, which few codes tell of
DRAWN, DRAWN_BARS = 64, 4  # codes that are played with, and for how long: some seconds of work
FAR = 2.0  # deviations, beyond which none is drawn
TOLD = 0.3  # correlation from which on a direction is one
MOST = 64  # loops that are measured, evenly spaced
LEAST = 1e-6


@dataclass(frozen=True)
class Turning:
    """A turn of the steering space: ``codes = middle + knobs @ ways``, and back by ``back``.

    Args:
        middle: the mean code of training loops, [latents].
        ways: [latents, latents]: row ``k`` is where knob ``k`` leads; knobs of training loops have deviation 1.
        back: its inverse.
        names: of knobs, the first ones by what they move.
        told: how the first knobs correlate with what they are named for, in what is played.
        ends: of knobs, the least and the largest of training loops and of their variants, [2, latents].
    """

    middle: Double
    ways: Double
    back: Double
    names: list[str]
    told: dict[str, float]
    ends: Double


@torch.no_grad()
def turning(network: LoopNetwork, recipe: LoopRecipe, corpus: Corpus) -> Turning:
    """Return the turning of a network's steering codes.

    Directions are found by regression over what it plays by itself, from nothing, with codes that are drawn as those of
    training loops and their variants lie: what a code says of a loop that was heard may change nothing that is played.
    """
    codes = heard(network, recipe, corpus)
    middle, root, _ = _spread(codes, vague(network))
    drawn = middle + np.random.default_rng(SEED).standard_normal((DRAWN, len(middle))).clip(-FAR, FAR) @ root
    sounds = all_played(network, recipe, torch.from_numpy(drawn).float(), DRAWN_BARS, SEED)
    frames = recipe.frames
    measures = [groove(sound, frames.sample_rate, frames.hop_length, frames.steps_per_beat) for sound in sounds]
    return turned(codes, drawn, measures, vague(network))


def heard(network: LoopNetwork, recipe: LoopRecipe, corpus: Corpus) -> Double:
    """Return the steering codes of training loops in all timings, of which each has another tilt, [loops, latents]."""
    found, codes = loops(corpus, "train", recipe), []
    found = [found[int(place)] for place in np.linspace(0, len(found) - 1, min(MOST, len(found)))]
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


def vague(network: LoopNetwork) -> Double:
    """Return the variances within which steering codes say the same, [latents]."""
    variances: Double = network.vague.exp().double().numpy()
    return variances


def turned(codes: Double, drawn: Double, measures: Sequence[LoopMeasures], variances: Double) -> Turning:
    """Return the turning for codes of loops [loops, latents], and of others [codes, latents] with their measures.

    Codes are first led to deviations of 1 in all directions, as if each varied within ``variances`` [latents]; then
    the space is turned, so that no knob moves along two directions.
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
    told = {
        name: _correlation(white @ basis[place], np.array([m[NAMES.index(name)] for m in measures]))
        for place, name in enumerate(names)
    }
    rest = [f"latent {place}" for place in range(len(names), len(middle))]
    knobs = (codes - middle) @ out @ basis.T
    ends = np.stack([knobs.min(0), knobs.max(0)])
    return Turning(middle, basis @ root, out @ basis.T, names + rest, told, ends)


def _spread(codes: Double, variances: Double) -> tuple[Double, Double, Double]:
    """Return the mean of codes, and the matrices from white codes to such as these and back."""
    middle = codes.mean(0)
    spread = (codes - middle).T @ (codes - middle) / len(codes) + np.diag(variances)
    values, axes = np.linalg.eigh(spread)
    return middle, (axes * np.sqrt(values)) @ axes.T, (axes / np.sqrt(values)) @ axes.T


def _direction(white: Double, measured: Double) -> Double | None:
    """Return the direction of unit length along which a measure grows most, by ridge regression; None if none tells."""
    known = np.isfinite(measured)
    if known.sum() < 2 or measured[known].std() < LEAST:
        return None
    codes, asked = white[known], (measured[known] - measured[known].mean()) / measured[known].std()
    codes = codes - codes.mean(0)
    way = np.linalg.solve(codes.T @ codes + RIDGE * np.eye(codes.shape[1]), codes.T @ asked)
    length = float(np.linalg.norm(way))
    if length < LEAST or _correlation(codes @ way, asked) < TOLD:
        return None
    return np.asarray(way / length)


def _basis(ways: Double) -> Double:
    """Return an orthonormal basis: the directions, as little turned as can be (Löwdin, 1950), and others."""
    count, n = ways.shape
    left, _, right = np.linalg.svd(ways, full_matrices=True)
    return np.concatenate([left @ right[:count], right[count:]]) if count else np.eye(n)


def _correlation(first: Double, second: Double) -> float:
    known = np.isfinite(second)
    if min(first[known].std(), second[known].std()) < LEAST:
        return 0.0
    return float(np.corrcoef(first[known], second[known])[0, 1])
