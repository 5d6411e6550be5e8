"""Turns the steering codes of loops, so that the first knobs are what players call loops by."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ...train.batches.loops import loops, sliced
from ...train.corpus.store import Corpus
from ...train.models.loops import LoopNetwork
from ...train.recipes.loops import LoopRecipe
from .groove import Groove, groove

Double = npt.NDArray[np.float64]

NAMES = Groove._fields
RIDGE = 3.0  # bars: so much is every direction held back, which few bars tell of
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
        told: how the first knobs correlate with what they are named for, over bars of training loops.
    """

    middle: Double
    ways: Double
    back: Double
    names: list[str]
    told: dict[str, float]


@torch.no_grad()
def turning(network: LoopNetwork, recipe: LoopRecipe, corpus: Corpus) -> Turning:
    """Return the turning of a network's steering codes: directions are found by regression over bars of its loops."""
    found = loops(corpus, "train", recipe)
    found = [found[int(place)] for place in np.linspace(0, len(found) - 1, min(MOST, len(found)))]
    codes, bars, measures = [], [], []
    step, bar = recipe.frames.hop_length, recipe.frames.bar
    for clip in found:
        samples = corpus.samples(clip)
        raw = network.features.raw(torch.from_numpy(sliced(samples, recipe)))
        heard = network.heard(network.coded(raw)).double().numpy()
        codes.append(heard.mean(0))
        for first in range(0, len(heard) - bar + 1, bar):
            bars.append(heard[first : first + bar].mean(0))
            part = samples[first * step : (first + bar) * step]
            measures.append(groove(part, corpus.rate, step, recipe.frames.steps_per_beat))
    return turned(np.array(codes), np.array(bars).reshape(-1, len(codes[0])), measures, vague(network))


def vague(network: LoopNetwork) -> Double:
    """Return the variances within which steering codes say the same, [latents]."""
    variances: Double = network.vague.exp().double().numpy()
    return variances


def turned(codes: Double, bars: Double, measures: Sequence[Groove], variances: Double) -> Turning:
    """Return the turning for codes of loops [loops, latents], and of bars [bars, latents] with their measures.

    Codes are first led to deviations of 1 in all directions, as if each varied within ``variances`` [latents]; then
    the space is turned, so that no knob moves along two directions.
    """
    middle = codes.mean(0)
    spread = (codes - middle).T @ (codes - middle) / len(codes) + np.diag(variances)
    values, axes = np.linalg.eigh(spread)
    root, out = (axes * np.sqrt(values)) @ axes.T, (axes / np.sqrt(values)) @ axes.T
    white = (bars - middle) @ out
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
    return Turning(middle, basis @ root, out @ basis.T, names + rest, told)


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
