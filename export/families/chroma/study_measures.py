"""Measures a network for the chroma study."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ....host.arrays import Array, Integers
from ....host.contract.model import Model
from ....host.errors import UserError
from ....host.stft import chroma
from ....host.units import PITCH_CLASSES
from ....train.families.chroma.network import ChromaAutoencoder
from ....train.families.chroma.recipe import ChromaRecipe
from ....train.run import Run, trained
from ...measures import latent_statistics
from ...measures.frame_sample import FrameSample, decode, draw, encode
from ...measures.pitch_class_accuracy import SILENT
from ...measures.recordings import silence_message
from ...reports.report import SEED, Figures

Answers = npt.NDArray[np.int8]

EVERY = 1 << 40  # frames: more than any split has
TRAINING_FRAMES = 16384  # codes of an embedding: 134 MB of spectra, more points than a picture shows
PLAYED = 0.02  # of the pitched frames: rarer pitch classes are errors of the pitch tracker
CELLS = 32  # along each of two latents; training codes are many for each of the 1024
EDGE = 0.1  # of each latent's range, from either end: 36 % of a square
MOVED_CODES, MOVED_STEPS = 256, 17  # codes whose latents are moved one at a time, and positions over its range
ROWS = 256  # decoded at once: their spectra take 2 MB and stay in the cache while their chroma is found


@dataclass(frozen=True)
class TrainingCodes:
    """Codes [frames, latents] and their notes' pitch classes, [frames]."""

    latents: Array
    notes: Integers


def measure(run: Run) -> tuple[Figures, TrainingCodes]:
    """Return figures and training codes of the best checkpoint.

    ``mean_square`` is the publication's, over all bins of all test frames.

    Raises:
        UserError: no training or no test frame is audible.
    """
    recipe = run.recipe
    assert isinstance(recipe, ChromaRecipe)
    network, which, step = trained(run, "best")
    assert isinstance(network, ChromaAutoencoder)
    corpus, settings = run.corpus(), recipe.frames
    folded = settings.fold is not None and run.info.tonal
    rng = np.random.default_rng(SEED)
    train = draw(corpus, "train", settings, folded, TRAINING_FRAMES, rng)
    test = draw(corpus, "test", settings, folded, EVERY, rng)
    if train is None or test is None:
        raise UserError(silence_message(corpus, "test frame"))
    again = decode(network, encode(network, test.spectra, test.pitch_classes), test.pitch_classes)
    codes = TrainingCodes(encode(network, train.spectra, train.pitch_classes), _notes(train))
    latents = latent_statistics.latent_figures(codes.latents, None)
    last = run.logged()[-1]
    found: Figures = {
        "checkpoint": which,
        "step": step,
        "steps": last["step"],
        "seconds": last["seconds"],
        "training_frames": train.found,
        "test_frames": len(test),
        "mean_square": float(np.mean(np.square(test.spectra - again), dtype=np.float64)),
        "notes": _played(train),
        "bounds": [[float(low), float(high)] for low, high in zip(*_bounds(codes.latents), strict=True)],
        "latents": latents,
        "dead": bool(all(dimension["dead"] for dimension in latents["dimensions"])),
        "filled": filled(codes.latents) if codes.latents.shape[1] == 2 else None,
        "moved": moved(network, settings.sample_rate, settings.frame_length, codes.latents, train.pitch_classes, rng),
        "posterior": posterior(network, train) if recipe.network.variational else None,
    }
    return found, codes


def _notes(sample: FrameSample) -> Integers:
    played = np.array([source.note for source in sample.sources])
    return np.where(np.isfinite(played), np.round(np.nan_to_num(played)) % 12, sample.pitch_classes).astype(np.int64)


def _played(sample: FrameSample) -> list[int]:
    played = np.array([source.note for source in sample.sources])
    counts = np.bincount(np.round(played[np.isfinite(played)]).astype(np.int64) % 12, minlength=12)
    return [int(k) for k in np.flatnonzero(counts > PLAYED * counts.sum())]


def _bounds(latents: Array) -> tuple[Array, Array]:
    return latents.min(0), latents.max(0)


def filled(latents: Array) -> float:
    """Return the share of grid cells that contain a code [frames, 2]."""
    low, high = np.percentile(latents, latent_statistics.SPAN, axis=0)
    if np.any(high - low < latent_statistics.DEAD):
        return 0.0
    places = (latents - low) / (high - low)
    counts, _, _ = np.histogram2d(places[:, 0], places[:, 1], CELLS, ((0, 1), (0, 1)))
    return float(np.mean(counts > 0))


def moved(
    network: ChromaAutoencoder,
    rate: int,
    length: int,
    latents: Array,
    pitch_classes: Integers,
    rng: np.random.Generator,
) -> list[float]:
    """Return per latent the share of codes whose strongest pitch class changes over its span.

    ``latents`` are [frames, latents], decoded in ``pitch_classes`` [frames].
    """
    some = rng.permutation(len(latents))[:MOVED_CODES]
    codes, asked = latents[some], pitch_classes[some]

    def strongest(codes: Array, asked: Integers) -> Integers:
        classes: Integers = chroma(decode(network, codes, asked), rate, length).argmax(1)
        return classes

    before = strongest(codes, asked)
    shares = []
    for latent, (low, high) in enumerate(np.percentile(latents, latent_statistics.SPAN, axis=0).T):
        way = np.repeat(codes[None], MOVED_STEPS, 0)
        way[:, :, latent] = np.linspace(low, high, MOVED_STEPS)[:, None]
        after = strongest(way.reshape(-1, codes.shape[1]), np.tile(asked, MOVED_STEPS))
        shares.append(float(np.mean((after.reshape(MOVED_STEPS, -1) != before).any(0))))
    return shares


@torch.no_grad()
def posterior(network: ChromaAutoencoder, sample: FrameSample) -> list[Figures]:
    """Return each latent's divergence from the standard normal prior in nats, and whether it collapsed.

    ``mean`` is the root mean square of the means.
    """
    one_hot = torch.eye(12)[torch.from_numpy(sample.pitch_classes)]
    mean, log_variance = network.distribution(torch.from_numpy(sample.spectra), one_hot)
    assert log_variance is not None
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    each = zip(divergence.mean(0), mean.square().mean(0).sqrt(), log_variance.exp().mean(0), strict=True)
    return [
        {
            "divergence": float(d),
            "mean": float(m),
            "variance": float(v),
            "collapsed": bool(d < latent_statistics.COLLAPSED_NATS),
        }
        for d, m, v in each
    ]


def mesh(side: int, latents: int) -> Array:
    """Return a regular mesh of the unit cube with its faces, [side ** latents, latents], the last latent fastest."""
    axis = np.linspace(0, 1, side, dtype=np.float32)
    return np.stack(np.meshgrid(*[axis] * latents, indexing="ij"), -1).reshape(-1, latents)


def strongest(model: Model, points: Array, asked: int, progress: Callable[[float], None]) -> Answers:
    """Return the strongest pitch class of points [points, latents] decoded on ``asked``, or `SILENT`."""
    card = model.card
    heard = np.empty(len(points), np.int8)
    for first in range(0, len(points), ROWS):
        part = points[first : first + ROWS]
        frames = model.decode(part, np.full(len(part), asked))
        energy = chroma(frames, card.sample_rate, card.frame_length)
        heard[first : first + ROWS] = np.where(energy.max(1) > 0, energy.argmax(1), SILENT)
        progress((first + len(part)) / len(points))
    return heard


def accuracy(answers: dict[int, Answers], side: int, latents: int) -> Figures:
    """Return the share of `mesh` points with the requested pitch class, overall and by class; None if not requested.

    ``edge``, for two latents, is the share of mismatches within `EDGE` of the sides; None without mismatches.
    """
    wrong = {asked: heard != asked for asked, heard in answers.items()}
    found: Figures = {
        "mesh": side,
        "overall": float(np.mean([1 - w.mean() for w in wrong.values()])),
        "by_pitch_class": {
            name: float(1 - wrong[k].mean()) if k in wrong else None for k, name in enumerate(PITCH_CLASSES)
        },
        "edge": None,
    }
    mismatches = sum(int(w.sum()) for w in wrong.values())
    if latents == 2 and mismatches:
        apart = np.abs(mesh(side, latents) - 0.5).max(1) > 0.5 - EDGE
        found["edge"] = sum(int((w & apart).sum()) for w in wrong.values()) / mismatches
    return found
