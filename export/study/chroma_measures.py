"""Measures a network for the chroma study, and claims as orderings of figures that other corpora can refute.

The available copy of the paper lacks its tables' values.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from ...host.arrays import Array, Integers
from ...host.errors import UserError
from ...host.model.model import Model
from ...host.signal import chroma
from ...host.units import PITCH_CLASSES
from ...train.families.chroma.network import ChromaAutoencoder
from ...train.families.chroma.recipe import ChromaRecipe
from ...train.run import Run, trained
from ..measures import codes as latent_statistics
from ..measures.frames import SILENT, FrameSample, decode, draw, encode
from ..measures.sounds import silence_message
from ..reports.report import SEED, Figures

Answers = npt.NDArray[np.int8]

ALL_FRAMES = 1 << 40  # frames: more than any split has
TRAINING_FRAMES = 16384  # codes of an embedding: 134 MB of spectra, more points than a picture shows
PLAYED_SHARE = 0.02  # of the pitched frames: rarer pitch classes are errors of the pitch tracker
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
    network, checkpoint_name, step = trained(run, "best")
    assert isinstance(network, ChromaAutoencoder)
    corpus, frame_settings = run.corpus(), recipe.frames
    is_folded = frame_settings.fold is not None and run.info.tonal
    rng = np.random.default_rng(SEED)
    train_sample = draw(corpus, "train", frame_settings, is_folded, TRAINING_FRAMES, rng)
    test_sample = draw(corpus, "test", frame_settings, is_folded, ALL_FRAMES, rng)
    if train_sample is None or test_sample is None:
        raise UserError(silence_message(corpus, "test frame"))
    decoded_spectra = decode(
        network, encode(network, test_sample.spectra, test_sample.pitch_classes), test_sample.pitch_classes
    )
    codes = TrainingCodes(encode(network, train_sample.spectra, train_sample.pitch_classes), _notes(train_sample))
    latent_figures = latent_statistics.latent_figures(codes.latents, None)
    last_log = run.logged()[-1]
    figures: Figures = {
        "checkpoint": checkpoint_name,
        "step": step,
        "steps": last_log["step"],
        "seconds": last_log["seconds"],
        "training_frames": train_sample.frames_in_split,
        "test_frames": len(test_sample),
        "mean_square": float(np.mean(np.square(test_sample.spectra - decoded_spectra), dtype=np.float64)),
        "notes": _played(train_sample),
        "bounds": [[float(latent.min()), float(latent.max())] for latent in codes.latents.T],
        "latents": latent_figures,
        "dead": bool(all(dimension["dead"] for dimension in latent_figures["dimensions"])),
        "filled": filled(codes.latents) if codes.latents.shape[1] == 2 else None,
        "moved": pitch_class_changes(
            network,
            frame_settings.sample_rate,
            frame_settings.frame_length,
            codes.latents,
            train_sample.pitch_classes,
            rng,
        ),
        "posterior": posterior(network, train_sample) if recipe.network.variational else None,
    }
    return figures, codes


def _notes(sample: FrameSample) -> Integers:
    """Return the pitch class of each frame's note, or the tracked one where its recording has no note, [frames]."""
    source_notes = np.array([source.note for source in sample.sources])
    return np.where(np.isfinite(source_notes), np.round(np.nan_to_num(source_notes)) % 12, sample.pitch_classes).astype(
        np.int64
    )


def _played(sample: FrameSample) -> list[int]:
    """Return the pitch classes that are played often enough."""
    source_notes = np.array([source.note for source in sample.sources])
    class_counts = np.bincount(np.round(source_notes[np.isfinite(source_notes)]).astype(np.int64) % 12, minlength=12)
    return [int(k) for k in np.flatnonzero(class_counts > PLAYED_SHARE * class_counts.sum())]


def filled(latents: Array) -> float:
    """Return the share of grid cells that contain a code [frames, 2]."""
    low, high = np.percentile(latents, latent_statistics.SPAN, axis=0)
    if np.any(high - low < latent_statistics.DEAD):
        return 0.0
    grid_positions = (latents - low) / (high - low)
    cell_counts, _, _ = np.histogram2d(grid_positions[:, 0], grid_positions[:, 1], CELLS, ((0, 1), (0, 1)))
    return float(np.mean(cell_counts > 0))


def pitch_class_changes(
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
    code_indices = rng.permutation(len(latents))[:MOVED_CODES]
    codes, conditions = latents[code_indices], pitch_classes[code_indices]

    def strongest(codes: Array, conditions: Integers) -> Integers:
        classes: Integers = chroma(decode(network, codes, conditions), rate, length).argmax(1)
        return classes

    original_classes = strongest(codes, conditions)
    shares = []
    for latent_index, (low, high) in enumerate(np.percentile(latents, latent_statistics.SPAN, axis=0).T):
        swept_codes = np.repeat(codes[None], MOVED_STEPS, 0)
        swept_codes[:, :, latent_index] = np.linspace(low, high, MOVED_STEPS)[:, None]
        swept_classes = strongest(swept_codes.reshape(-1, codes.shape[1]), np.tile(conditions, MOVED_STEPS))
        shares.append(float(np.mean((swept_classes.reshape(MOVED_STEPS, -1) != original_classes).any(0))))
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
    statistics = zip(divergence.mean(0), mean.square().mean(0).sqrt(), log_variance.exp().mean(0), strict=True)
    return [
        {
            "divergence": float(d),
            "mean": float(m),
            "variance": float(v),
            "collapsed": bool(d < latent_statistics.COLLAPSED_NATS),
        }
        for d, m, v in statistics
    ]


def mesh(side: int, latents: int) -> Array:
    """Return a regular mesh of the unit cube with its faces, [side ** latents, latents], the last latent fastest."""
    axis = np.linspace(0, 1, side, dtype=np.float32)
    return np.stack(np.meshgrid(*[axis] * latents, indexing="ij"), -1).reshape(-1, latents)


def strongest(model: Model, points: Array, pitch_class: int, progress: Callable[[float], None]) -> Answers:
    """Return the strongest pitch class of points [points, latents] decoded on ``pitch_class``, or `SILENT`."""
    card = model.card
    answers = np.empty(len(points), np.int8)
    for batch_start in range(0, len(points), ROWS):
        batch = points[batch_start : batch_start + ROWS]
        frames = model.decode(batch, np.full(len(batch), pitch_class))
        chroma_energy = chroma(frames, card.sample_rate, card.frame_length)
        answers[batch_start : batch_start + ROWS] = np.where(chroma_energy.max(1) > 0, chroma_energy.argmax(1), SILENT)
        progress((batch_start + len(batch)) / len(points))
    return answers


def accuracy(answers: dict[int, Answers], side: int, latents: int) -> Figures:
    """Return the share of `mesh` points with the requested pitch class, overall and by class; None if not requested.

    ``edge``, for two latents, is the share of mismatches within `EDGE` of the sides; None without mismatches.
    """
    mismatch_masks = {
        pitch_class: strongest_classes != pitch_class for pitch_class, strongest_classes in answers.items()
    }
    figures: Figures = {
        "mesh": side,
        "overall": float(np.mean([1 - w.mean() for w in mismatch_masks.values()])),
        "by_pitch_class": {
            name: float(1 - mismatch_masks[k].mean()) if k in mismatch_masks else None
            for k, name in enumerate(PITCH_CLASSES)
        },
        "edge": None,
    }
    mismatch_count = sum(int(w.sum()) for w in mismatch_masks.values())
    if latents == 2 and mismatch_count:
        is_near_edge = np.abs(mesh(side, latents) - 0.5).max(1) > 0.5 - EDGE
        figures["edge"] = sum(int((w & is_near_edge).sum()) for w in mismatch_masks.values()) / mismatch_count
    return figures


Verdict = Literal["held", "within deviation", "did not hold"]

VERDICTS: tuple[Verdict, ...] = ("held", "within deviation", "did not hold")  # the worst of several counts
OCTAVE, OCTAVES, VIOLIN = "octave", "five-octaves", "violin"
MAJORITY = 0.5  # of all
LARGE, SMALL = 1.0, 0.5  # of means and variances: the deviation of the prior, and half its variance


@dataclass(frozen=True)
class Values:
    name: str
    values: Sequence[float]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float | None:
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    def figures(self) -> Figures:
        return {"name": self.name, "mean": self.mean, "deviation": self.deviation}


Pair = tuple[Values, Values]  # the first is claimed to be below the second
RunKey = tuple[str, str]  # corpus and recipe


@dataclass(frozen=True)
class Claim:
    sentence: str
    place: str
    figure: str
    pairs: Sequence[tuple[RunKey | float, RunKey | float]]


def judge(pairs: Sequence[Pair]) -> Verdict:
    """Return the worst verdict.

    "within deviation": means differ by at most the root sum of squared deviations over seeds.
    """
    return max((_judge(*pair) for pair in pairs), key=VERDICTS.index)


def _judge(smaller: Values, larger: Values) -> Verdict:
    mean_difference = larger.mean - smaller.mean
    if smaller.deviation is not None or larger.deviation is not None:
        combined_deviation = math.hypot(smaller.deviation or 0.0, larger.deviation or 0.0)
        if combined_deviation and abs(mean_difference) <= combined_deviation:
            return "within deviation"
    return "held" if mean_difference > 0 else "did not hold"


def verdicts(runs: Mapping[RunKey, Sequence[Figures]]) -> tuple[list[Figures], list[str]]:
    """Return claims' verdicts and values, and the undecided sentences."""
    decided_claims: list[Figures] = []
    undecided_sentences = []
    for claim in CLAIMS:
        pairs = _pairs(claim, runs)
        if pairs is None:
            undecided_sentences.append(claim.sentence)
            continue
        compared_figures = [{"below": smaller.figures(), "above": larger.figures()} for smaller, larger in pairs]
        decided_claims.append(
            {
                "claim": claim.sentence,
                "place": claim.place,
                "figure": claim.figure,
                "verdict": judge(pairs),
                "compared": compared_figures,
            }
        )
    return decided_claims, undecided_sentences


def _pairs(claim: Claim, runs: Mapping[RunKey, Sequence[Figures]]) -> list[Pair] | None:
    """Return a claim's pairs of values; None if a run that it compares is missing."""
    read_figure = FIGURES[claim.figure]

    def values(side: RunKey | float) -> Values:
        if isinstance(side, float):
            return Values(f"{side:.3g}", [side])
        run_values = [value for run in runs.get(side, ()) if (value := read_figure(run)) is not None]
        return Values(f"{side[1]}, {side[0]}", run_values)

    pairs = [(values(smaller), values(larger)) for smaller, larger in claim.pairs]
    return pairs if all(side.values for pair in pairs for side in pair) else None


def _of_mesh(name: str) -> Callable[[Figures], float | None]:
    return lambda run: run["mesh"][name] if run["mesh"] else None


def _of_posterior(statistic: Callable[[list[Figures]], float | None]) -> Callable[[Figures], float | None]:
    return lambda run: statistic(run["posterior"]) if run["posterior"] else None


def _used(name: str, statistic: Callable[[list[float]], float]) -> Callable[[list[Figures]], float | None]:
    """Return a function from latents to a statistic of a figure, over those that did not collapse."""

    def figure(latents: list[Figures]) -> float | None:
        used_figures = [latent[name] for latent in latents if not latent["collapsed"]]
        return statistic(used_figures) if used_figures else None

    return figure


# By name: reads a figure from those of a run; None where it was not measured.
FIGURES: dict[str, Callable[[Figures], float | None]] = {
    "test MSE": lambda run: run["mean_square"],
    "seconds of training": lambda run: run["seconds"],
    "share of cells filled": lambda run: run["filled"],
    "how far codes leave 0 to 1": lambda run: max(max(-low, high - 1) for low, high in run["bounds"]),
    "correlation of the two latents, absolute": lambda run: run["latents"]["largest_correlation"],
    "accuracy over the mesh": _of_mesh("overall"),
    "share of mismatches at the edges": _of_mesh("edge"),
    "latents that collapsed": _of_posterior(lambda latents: sum(latent["collapsed"] for latent in latents)),
    "root mean square of the other latents’ means, least": _of_posterior(_used("mean", min)),
    "variance of the other latents, largest": _of_posterior(_used("variance", max)),
    "share of codes whose pitch class a latent changes, least of all latents": lambda run: min(run["moved"]),
}


def _corpus_pairs(corpora: Sequence[str], *recipes: tuple[str, str]) -> list[tuple[RunKey, RunKey]]:
    return [((corpus, smaller), (corpus, larger)) for corpus in corpora for smaller, larger in recipes]


def _mesh_claims(corpus: str, opening: str, figure: int) -> list[Claim]:
    run_key = (corpus, "chroma-2")
    return [
        Claim(
            f"{opening}: in most of the latent square the strongest chroma is the asked one.",
            f"Figure {figure}",
            "accuracy over the mesh",
            [(MAJORITY, run_key)],
        ),
        Claim(
            f"{opening}: most mismatches lie at the edges of the latent square.",
            f"Figure {figure}",
            "share of mismatches at the edges",
            [(MAJORITY, run_key)],
        ),
        Claim(
            f"{opening}: accuracy falls from two latents to three and to eight.",
            "Table V",
            "accuracy over the mesh",
            _corpus_pairs([corpus], ("chroma-8", "chroma-3"), ("chroma-3", "chroma-2")),
        ),
    ]


TWO = ("chroma-2-noskip", "chroma-2", "chroma-2-lrelu-noskip", "chroma-2-lrelu")
SKIPS = (("chroma-2-lrelu-noskip", "chroma-2-lrelu"), ("chroma-2-noskip", "chroma-2"))
BOTTLENECKS = (("chroma-2-lrelu-noskip", "chroma-2-noskip"), ("chroma-2-lrelu", "chroma-2"))
VAES = ((OCTAVE, "chroma-8-vae"), (OCTAVE, "chroma-8-vae-noskip"))

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "Of the three augmentations, the one-hot chroma gives the smallest error.",
        "Table I",
        "test MSE",
        _corpus_pairs(
            [OCTAVES],
            ("chroma-8-lrelu", "chroma-8-lrelu-none"),
            ("chroma-8-lrelu", "chroma-8-lrelu-difference"),
        ),
    ),
    Claim(
        "The one-hot chroma trains faster than the first-order difference.",
        "Table I",
        "seconds of training",
        _corpus_pairs([OCTAVES], ("chroma-8-lrelu", "chroma-8-lrelu-difference")),
    ),
    Claim(
        "One octave, two latents: both sigmoid networks beat both LReLU networks.",
        "Table II",
        "test MSE",
        _corpus_pairs([OCTAVE], *product(TWO[:2], TWO[2:])),
    ),
    Claim(
        "One octave, two latents: sigmoid without skip is the best of the four.",
        "Table II",
        "test MSE",
        _corpus_pairs([OCTAVE], *(("chroma-2-noskip", recipe) for recipe in TWO[1:])),
    ),
    Claim(
        "Violin, two latents: the skip lowers the error of both bottlenecks.",
        "Table III",
        "test MSE",
        _corpus_pairs([VIOLIN], *((skip, no_skip) for no_skip, skip in SKIPS)),
    ),
    Claim(
        "Violin, two latents: sigmoid with skip is the best of the four.",
        "Table III",
        "test MSE",
        _corpus_pairs([VIOLIN], *(("chroma-2", recipe) for recipe in TWO if recipe != "chroma-2")),
    ),
    *(
        Claim(
            f"{words}, three latents: the skip lowers the error.",
            "Table IV",
            "test MSE",
            _corpus_pairs([corpus], ("chroma-3", "chroma-3-noskip")),
        )
        for corpus, words in ((OCTAVE, "One octave"), (VIOLIN, "Violin"))
    ),
    Claim(
        "The skip makes embeddings denser, for both bottlenecks and corpora.",
        "Figures 2 and 3",
        "share of cells filled",
        _corpus_pairs([OCTAVE, VIOLIN], *SKIPS),
    ),
    Claim(
        "Sigmoid embeddings are spread more uniformly than those of LReLU.",
        "Figures 2 and 3",
        "share of cells filled",
        _corpus_pairs([OCTAVE, VIOLIN], *BOTTLENECKS),
    ),
    Claim(
        "The two LReLU latents correlate, more than those of sigmoid do.",
        "Figures 2 and 3",
        "correlation of the two latents, absolute",
        _corpus_pairs([OCTAVE, VIOLIN], *((sigmoid, lrelu) for lrelu, sigmoid in BOTTLENECKS)),
    ),
    Claim(
        "LReLU embeddings leave the bounds that sigmoid ones have by definition.",
        "Figures 2 and 3",
        "how far codes leave 0 to 1",
        [(0.0, (corpus, recipe)) for corpus in (OCTAVE, VIOLIN) for recipe in TWO[2:]],
    ),
    *_mesh_claims(OCTAVE, "One octave", 4),
    *_mesh_claims(VIOLIN, "Violin", 5),
    Claim(
        "Every beta-VAE has latents that collapsed onto the prior.",
        "Section VI",
        "latents that collapsed",
        [(MAJORITY, vae) for vae in VAES],
    ),
    Claim(
        "The latents that did not collapse have means beyond the prior’s deviation.",
        "Section VI",
        "root mean square of the other latents’ means, least",
        [(LARGE, vae) for vae in VAES],
    ),
    Claim(
        "The latents that did not collapse have variances below half the prior’s.",
        "Section VI",
        "variance of the other latents, largest",
        [(vae, SMALL) for vae in VAES],
    ),
    Claim(
        "In the beta-VAE that is not conditioned, moving any one latent changes the pitch class of most codes.",
        "Section VI",
        "share of codes whose pitch class a latent changes, least of all latents",
        [(MAJORITY, (OCTAVE, "chroma-8-vae-noskip"))],
    ),
)
