"""Claims of the chroma study: orderings of figures that other corpora can refute.

The available copy of the paper lacks its tables' values.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from ..measures.floors import compare_row
from ..reports.report import Figures
from .chroma_measures import ACCURACY, CORRELATION, FILLED, MEAN_SQUARE, SCALE

Verdict = Literal["held", "within deviation", "did not hold", "not better than a floor"]

# The worst of several counts.
VERDICTS: tuple[Verdict, ...] = ("held", "within deviation", "did not hold", "not better than a floor")
OCTAVE, OCTAVES, VIOLIN = "octave", "five-octaves", "violin"
PERFORMERS = ("flute", "clarinet", "bass")  # trained on notes, validated and tested on performances
MAJORITY = 0.5  # of all
LARGE, SMALL = 1.0, 0.5  # of means and variances: the deviation of the prior, and half its variance


@dataclass(frozen=True)
class Values:
    """``floor``: the best one, if the networks are not better than it."""

    name: str
    values: Sequence[float]
    floor: str | None = None

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def deviation(self) -> float | None:
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

    def figures(self) -> Figures:
        return {
            "name": self.name,
            "mean": self.mean,
            "deviation": self.deviation,
            "not_better_than": self.floor,
        }


Pair = tuple[Values, Values]  # the first is claimed to be below the second
RunKey = tuple[str, str]  # corpus, and recipe with the changes of its row


@dataclass(frozen=True)
class Claim:
    sentence: str
    place: str
    figure: str
    pairs: Sequence[tuple[RunKey | float, RunKey | float]]


def judge(pairs: Sequence[Pair]) -> Verdict:
    """Return the worst verdict.

    "within deviation": means differ by at most the root sum of squared deviations over seeds. "not better than a
    floor": one of the networks is not.
    """
    return max((_judge(*pair) for pair in pairs), key=VERDICTS.index)


def _judge(smaller: Values, larger: Values) -> Verdict:
    if smaller.floor or larger.floor:
        return "not better than a floor"
    mean_difference = larger.mean - smaller.mean
    if smaller.deviation is not None or larger.deviation is not None:
        combined_deviation = math.hypot(smaller.deviation or 0.0, larger.deviation or 0.0)
        if combined_deviation and abs(mean_difference) <= combined_deviation:
            return "within deviation"
    return "held" if mean_difference > 0 else "did not hold"


def verdicts(runs: Mapping[RunKey, Sequence[Figures]]) -> tuple[list[Figures], list[str]]:
    """Return the verdicts on all claims with their values, and the undecided sentences."""
    return judge_claims(CLAIMS, runs)


def judge_claims(claims: Sequence[Claim], runs: Mapping[RunKey, Sequence[Figures]]) -> tuple[list[Figures], list[str]]:
    """Return claims' verdicts and values, and the undecided sentences."""
    decided_claims: list[Figures] = []
    undecided_sentences = []
    for claim in claims:
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
        side_runs = runs.get(side, ())
        run_values = [value for run in side_runs if (value := read_figure(run)) is not None]
        floored = floors_over_seeds(side_runs, ACCURACY if claim.figure in OF_MESHES else MEAN_SQUARE)
        floor = None if floored is None else floored["not_better_than"]
        return Values(f"{side[1]}, {side[0]}", run_values, floor)

    pairs = [(values(smaller), values(larger)) for smaller, larger in claim.pairs]
    return pairs if all(side.values for pair in pairs for side in pair) else None


def floors_over_seeds(runs: Sequence[Figures], measure: str) -> Figures | None:
    """Return the floors of a network's runs beside the mean of their figures; None if none was measured.

    The deviation is that over seeds, of a single one that over test sounds.
    """
    values = [value for run in runs if (value := MEASURED[measure](run)) is not None]
    if not values or measure not in runs[0]["floors"]:  # an earlier version measured fewer
        return None
    floored = runs[0]["floors"][measure]
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else floored.get("deviation")
    return compare_row(floored, float(np.mean(values)), deviation)


def _of_mesh(name: str) -> Callable[[Figures], float | None]:
    return lambda run: run["mesh"][name] if run["mesh"] else None


def _of_posterior(statistic: Callable[[list[Figures]], float | None]) -> Callable[[Figures], float | None]:
    return lambda run: statistic(run["posterior"]) if run["posterior"] else None


def _used(name: str, statistic: Callable[[list[float]], float]) -> Callable[[list[Figures]], float | None]:
    """Return a function from latents to a statistic of a figure, over the latents in use."""

    def figure(latents: list[Figures]) -> float | None:
        used_figures = [latent[name] for latent in latents if not latent["collapsed"]]
        return statistic(used_figures) if used_figures else None

    return figure


def used_latents(run: Figures) -> list[tuple[Figures, float]]:
    """Return the latents of a VAE that did not collapse: posteriors, and shares of codes whose note they change."""
    return [
        (latent, moved_share)
        for latent, moved_share in zip(run["posterior"], run["moved"], strict=True)
        if not latent["collapsed"]
    ]


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
    "share of codes whose pitch class a latent changes, least of the other latents": lambda run: min(
        (moved_share for _, moved_share in used_latents(run)), default=None
    ),
}


MEASURED: dict[str, Callable[[Figures], float | None]] = {
    MEAN_SQUARE: lambda run: SCALE * run["mean_square"],
    ACCURACY: FIGURES["accuracy over the mesh"],
    FILLED: FIGURES["share of cells filled"],
    CORRELATION: FIGURES["correlation of the two latents, absolute"],
}
OF_MESHES = ("accuracy over the mesh", "share of mismatches at the edges")


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


def _three_latents_claim(corpus: str, opening: str) -> Claim:
    return Claim(
        f"{opening}, three latents: the skip lowers the error.",
        "Table IV",
        "test MSE",
        _corpus_pairs([corpus], ("chroma-3", "chroma-3-noskip")),
    )


def _violin_claims(corpus: str) -> list[Claim]:
    """Return the paper's claims about the errors on its violin, of a corpus in its place."""
    opening = corpus.capitalize()
    return [
        Claim(
            f"{opening}, two latents: the skip lowers the error of both bottlenecks.",
            "Table III",
            "test MSE",
            _corpus_pairs([corpus], *((skip, no_skip) for no_skip, skip in SKIPS)),
        ),
        Claim(
            f"{opening}, two latents: sigmoid with skip is the best of the four.",
            "Table III",
            "test MSE",
            _corpus_pairs([corpus], *(("chroma-2", recipe) for recipe in TWO if recipe != "chroma-2")),
        ),
        _three_latents_claim(corpus, opening),
    ]


TWO = ("chroma-2-noskip", "chroma-2", "chroma-2-lrelu-noskip", "chroma-2-lrelu")
SKIPS = (("chroma-2-lrelu-noskip", "chroma-2-lrelu"), ("chroma-2-noskip", "chroma-2"))
BOTTLENECKS = (("chroma-2-lrelu-noskip", "chroma-2-noskip"), ("chroma-2-lrelu", "chroma-2"))
VAES = ((OCTAVE, "chroma-8-vae-noskip"), (OCTAVE, "chroma-8-vae"))
VAE_LATENTS = 8
# Weights of `loss.divergence`, as a recipe's change has them; the last is the recipes' own, where beta is 1. The paper
# names no weight; where all latents collapse, nothing can be said about the others.
DIVERGENCES = ("1e-8", "1e-7", "1e-6", "1e-5", "3e-5", "1e-4", "4.9e-4")


def vae_claims(vaes: Sequence[RunKey]) -> list[Claim]:
    """Return the claims of section VI about some beta-VAEs: those whose recipe skips no chroma are not conditioned."""
    unconditioned_vaes = [(corpus, recipe) for corpus, recipe in vaes if "noskip" in recipe]
    claims = [
        Claim(
            "In each beta-VAE some latents collapsed onto the prior, and not all.",
            "Section VI",
            "latents that collapsed",
            [pair for vae in vaes for pair in ((MAJORITY, vae), (vae, VAE_LATENTS - MAJORITY))],
        ),
        Claim(
            "The latents that did not collapse have means beyond the prior’s deviation.",
            "Section VI",
            "root mean square of the other latents’ means, least",
            [(LARGE, vae) for vae in vaes],
        ),
        Claim(
            "The latents that did not collapse have variances below half the prior’s.",
            "Section VI",
            "variance of the other latents, largest",
            [(vae, SMALL) for vae in vaes],
        ),
    ]
    if unconditioned_vaes:
        claims.append(
            Claim(
                "In the beta-VAE that is not conditioned, moving any one latent changes the pitch class of most codes.",
                "Section VI",
                "share of codes whose pitch class a latent changes, least of the other latents",
                [(MAJORITY, vae) for vae in unconditioned_vaes],
            )
        )
    return claims


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
    _three_latents_claim(OCTAVE, "One octave"),
    *(claim for corpus in (VIOLIN, *PERFORMERS) for claim in _violin_claims(corpus)),
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
    *vae_claims(VAES),
)


def swept_run(vae: RunKey, divergence: str) -> RunKey:
    """Return the row of a VAE at one of `DIVERGENCES`: its recipe's name, with the change of the weight."""
    corpus, recipe_name = vae
    return vae if divergence == DIVERGENCES[-1] else (corpus, f"{recipe_name} loss.divergence={divergence}")


def sweep(runs: Mapping[RunKey, Sequence[Figures]]) -> list[Figures]:
    """Return the verdicts on each trained row of the sweep, by the figure that the claim is about."""
    rows = []
    for divergence in DIVERGENCES:
        for vae in VAES:
            run_key = swept_run(vae, divergence)
            if run_key in runs:
                claims, _ = judge_claims(vae_claims([run_key]), runs)
                rows.append(
                    {"corpus": run_key[0], "recipe": run_key[1], "divergence": float(divergence), "claims": claims}
                )
    return rows
