"""Claims of Colonel & Keene (2020), as orderings of figures that other corpora can refute.

The available copy of the paper lacks its tables' values.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from ...reports.report import Figures

Verdict = Literal["held", "within deviation", "did not hold"]

VERDICTS: tuple[Verdict, ...] = ("held", "within deviation", "did not hold")  # the worst of several counts
OCTAVE, OCTAVES, VIOLIN = "octave", "five-octaves", "violin"
MOST = 0.5  # of all
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
Named = tuple[str, str]  # corpus and recipe


@dataclass(frozen=True)
class Claim:
    sentence: str
    place: str
    figure: str
    pairs: Sequence[tuple[Named | float, Named | float]]


def judge(pairs: Sequence[Pair]) -> Verdict:
    """Return the worst verdict.

    "within deviation": means differ by at most the root sum of squared deviations over seeds.
    """
    return max((_judge(*pair) for pair in pairs), key=VERDICTS.index)


def _judge(below: Values, above: Values) -> Verdict:
    apart = above.mean - below.mean
    if below.deviation is not None or above.deviation is not None:
        doubt = math.hypot(below.deviation or 0.0, above.deviation or 0.0)
        if doubt and abs(apart) <= doubt:
            return "within deviation"
    return "held" if apart > 0 else "did not hold"


def verdicts(runs: Mapping[Named, Sequence[Figures]]) -> tuple[list[Figures], list[str]]:
    """Return claims' verdicts and values, and the undecided sentences."""
    found: list[Figures] = []
    left_out = []
    for claim in CLAIMS:
        pairs = _pairs(claim, runs)
        if pairs is None:
            left_out.append(claim.sentence)
            continue
        compared = [{"below": below.figures(), "above": above.figures()} for below, above in pairs]
        found.append(
            {
                "claim": claim.sentence,
                "place": claim.place,
                "figure": claim.figure,
                "verdict": judge(pairs),
                "compared": compared,
            }
        )
    return found, left_out


def _pairs(claim: Claim, runs: Mapping[Named, Sequence[Figures]]) -> list[Pair] | None:
    of = FIGURES[claim.figure]

    def values(side: Named | float) -> Values:
        if isinstance(side, float):
            return Values(f"{side:.3g}", [side])
        each = [value for run in runs.get(side, ()) if (value := of(run)) is not None]
        return Values(f"{side[1]}, {side[0]}", each)

    pairs = [(values(below), values(above)) for below, above in claim.pairs]
    return pairs if all(side.values for pair in pairs for side in pair) else None


def _of_mesh(name: str) -> Callable[[Figures], float | None]:
    return lambda run: run["mesh"][name] if run["mesh"] else None


def _of_posterior(of: Callable[[list[Figures]], float | None]) -> Callable[[Figures], float | None]:
    return lambda run: of(run["posterior"]) if run["posterior"] else None


def _used(name: str, of: Callable[[list[float]], float]) -> Callable[[list[Figures]], float | None]:
    def figure(latents: list[Figures]) -> float | None:
        used = [latent[name] for latent in latents if not latent["collapsed"]]
        return of(used) if used else None

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


def _each(corpora: Sequence[str], *recipes: tuple[str, str]) -> list[tuple[Named, Named]]:
    return [((corpus, below), (corpus, above)) for corpus in corpora for below, above in recipes]


def _mesh_claims(corpus: str, words: str, figure: int) -> list[Claim]:
    two = (corpus, "chroma-2")
    return [
        Claim(
            f"{words}: in most of the latent square the strongest chroma is the asked one.",
            f"Figure {figure}",
            "accuracy over the mesh",
            [(MOST, two)],
        ),
        Claim(
            f"{words}: most mismatches lie at the edges of the latent square.",
            f"Figure {figure}",
            "share of mismatches at the edges",
            [(MOST, two)],
        ),
        Claim(
            f"{words}: accuracy falls from two latents to three and to eight.",
            "Table V",
            "accuracy over the mesh",
            _each([corpus], ("chroma-8", "chroma-3"), ("chroma-3", "chroma-2")),
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
        _each(
            [OCTAVES],
            ("chroma-8-lrelu", "chroma-8-lrelu-none"),
            ("chroma-8-lrelu", "chroma-8-lrelu-difference"),
        ),
    ),
    Claim(
        "The one-hot chroma trains faster than the first-order difference.",
        "Table I",
        "seconds of training",
        _each([OCTAVES], ("chroma-8-lrelu", "chroma-8-lrelu-difference")),
    ),
    Claim(
        "One octave, two latents: both sigmoid networks beat both LReLU networks.",
        "Table II",
        "test MSE",
        _each([OCTAVE], *product(TWO[:2], TWO[2:])),
    ),
    Claim(
        "One octave, two latents: sigmoid without skip is the best of the four.",
        "Table II",
        "test MSE",
        _each([OCTAVE], *(("chroma-2-noskip", other) for other in TWO[1:])),
    ),
    Claim(
        "Violin, two latents: the skip lowers the error of both bottlenecks.",
        "Table III",
        "test MSE",
        _each([VIOLIN], *((skip, no_skip) for no_skip, skip in SKIPS)),
    ),
    Claim(
        "Violin, two latents: sigmoid with skip is the best of the four.",
        "Table III",
        "test MSE",
        _each([VIOLIN], *(("chroma-2", other) for other in TWO if other != "chroma-2")),
    ),
    *(
        Claim(
            f"{words}, three latents: the skip lowers the error.",
            "Table IV",
            "test MSE",
            _each([corpus], ("chroma-3", "chroma-3-noskip")),
        )
        for corpus, words in ((OCTAVE, "One octave"), (VIOLIN, "Violin"))
    ),
    Claim(
        "The skip makes embeddings denser, for both bottlenecks and corpora.",
        "Figures 2 and 3",
        "share of cells filled",
        _each([OCTAVE, VIOLIN], *SKIPS),
    ),
    Claim(
        "Sigmoid embeddings are spread more uniformly than those of LReLU.",
        "Figures 2 and 3",
        "share of cells filled",
        _each([OCTAVE, VIOLIN], *BOTTLENECKS),
    ),
    Claim(
        "The two LReLU latents correlate, more than those of sigmoid do.",
        "Figures 2 and 3",
        "correlation of the two latents, absolute",
        _each([OCTAVE, VIOLIN], *((sigmoid, lrelu) for lrelu, sigmoid in BOTTLENECKS)),
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
        [(MOST, vae) for vae in VAES],
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
        [(MOST, (OCTAVE, "chroma-8-vae-noskip"))],
    ),
)
