"""The chroma study judges claims by orderings, and draws no verdict from networks at a floor."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timbrel.export.study import chroma, chroma_claims
from timbrel.export.study.chroma_claims import CLAIMS, Values, judge, verdicts

from .chroma_studies import floor

figures = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5)


@given(figures, figures)
def test_an_ordering_and_its_reverse_never_both_hold(first, second):
    one, two = Values("a", first), Values("b", second)
    both = {judge([(one, two)]), judge([(two, one)])}
    assert both in ({"held", "did not hold"}, {"within deviation"}, {"did not hold"})
    if len(first) == len(second) == 1:
        assert "within deviation" not in both
    apart = abs(np.mean(first) - np.mean(second))
    doubt = np.hypot(*(np.std(values, ddof=1) if len(values) > 1 else 0.0 for values in (first, second)))
    if abs(apart - doubt) > 1e-6 and apart > 1e-6:
        assert (both == {"within deviation"}) == (apart < doubt)


def test_the_worst_of_several_orderings_is_the_verdict():
    low, wide, high = Values("low", [1.0, 1.1]), Values("wide", [0.0, 2.5]), Values("high", [2.0, 2.1])
    assert judge([(low, high)]) == "held"
    assert judge([(low, high), (low, wide)]) == "within deviation"
    assert judge([(low, high), (low, wide), (high, low)]) == "did not hold"


def planted(as_the_paper):
    """Figures of all networks in which every claim holds, or none but what follows from the others' denial."""
    order = {name: i for i, name in enumerate([
        "chroma-8-lrelu", "chroma-8-lrelu-none", "chroma-8-lrelu-difference", "chroma-3", "chroma-3-noskip",
        "chroma-2-noskip", "chroma-2", "chroma-2-lrelu", "chroma-2-lrelu-noskip",
    ])}  # fmt: skip
    swapped = {"chroma-2-noskip": 2, "chroma-2": 0}  # on the violin, and in its place, the skip wins
    sign = 1 if as_the_paper else -1
    runs = {}
    for corpus, name in {row for rows in chroma.TABLES.values() for row in rows}:
        is_violin = corpus not in ("octave", "five-octaves")
        rank = order.get(name, 20) + (swapped[name] - 3 if is_violin and name in swapped else 0)
        latents = 8 if "-8" in name else 3 if "-3" in name else 2
        lrelu, skip = "lrelu" in name, "noskip" not in name
        runs[corpus, name] = [
            {
                "mean_square": 10.0 + sign * rank,
                "floors": {"mean_square": floor(1e6), "accuracy": floor(-1.0, rises=True)},
                "seconds": 10.0 + sign * rank,
                "filled": 0.5 + sign * (0.1 * skip - 0.2 * lrelu),
                "bounds": [[0.2, 1.0 + sign * 0.5 * lrelu]],
                "latents": {"largest_correlation": 0.5 + sign * 0.3 * lrelu},
                "mesh": {"overall": 0.5 + sign * (0.4 - 0.04 * latents), "edge": 0.5 + sign * 0.2},
                "posterior": [
                    *[{"collapsed": as_the_paper, "mean": 0.0, "variance": 1.0}] * 7,
                    {"collapsed": False, "mean": 1.0 + sign * 0.5, "variance": 0.5 - sign * 0.3},
                ]
                if "vae" in name
                else None,
                "moved": [0.0 if as_the_paper else 1.0] * 7 + [0.5 + sign * 0.2],
            }
        ]
    return runs


def test_figures_like_the_papers_hold_every_claim_and_opposite_ones_deny_every_claim():
    for as_the_paper, verdict in ((True, "held"), (False, "did not hold")):
        found, undecided = verdicts(planted(as_the_paper))
        assert undecided == []
        assert {claim["claim"]: claim["verdict"] for claim in found} == dict.fromkeys(
            (claim.sentence for claim in CLAIMS), verdict
        )


def test_no_verdict_is_drawn_from_networks_that_are_not_better_than_a_floor():
    runs = planted(True)
    for (corpus, _), [run] in runs.items():
        if corpus == "violin":
            run["floors"]["mean_square"] = floor(1e4 * run["mean_square"])
    found, _ = verdicts(runs)
    said = {claim["claim"]: claim for claim in found}
    for claim in CLAIMS:
        corpora = {side[0] for pair in claim.pairs for side in pair if isinstance(side, tuple)}
        judged_by_mesh = claim.figure in chroma_claims.OF_MESHES
        floored = "violin" in corpora and not judged_by_mesh
        assert said[claim.sentence]["verdict"] == ("not better than a floor" if floored else "held")
    sides = said["Violin, three latents: the skip lowers the error."]["compared"][0]
    assert [side["not_better_than"] for side in sides.values()] == ["mean", "mean"]


def test_the_deviation_beside_a_floor_is_that_over_seeds():
    runs = [{"mean_square": value, "floors": {"mean_square": floor(20.0)}} for value in (15e-4, 17e-4, 22e-4)]
    row = chroma_claims.floors_over_seeds(runs, "mean_square")
    assert (row["value"], row["deviation"]) == pytest.approx((18.0, np.std([15, 17, 22], ddof=1)))
    assert row["not_better_than"] == "mean"
    [alone] = runs[:1]
    alone["floors"]["mean_square"]["deviation"] = 1.0
    assert chroma_claims.floors_over_seeds([alone], "mean_square")["not_better_than"] is None
    assert chroma_claims.floors_over_seeds([{"mesh": None}], "accuracy") is None


def test_every_network_that_a_claim_names_is_in_a_table():
    rows = {row for rows in chroma.TABLES.values() for row in rows}
    named = {side for claim in CLAIMS for pair in claim.pairs for side in pair if isinstance(side, tuple)}
    assert named <= rows
    assert set(chroma_claims.FIGURES) == {claim.figure for claim in CLAIMS}
