"""The beta-VAEs at several betas, and networks of notes that are tested on performances, in the study of chroma."""

import re

import pytest
from timbrel.export.study import chroma, chroma_claims, chroma_page
from timbrel.export.study.chroma_claims import VAES, judge_claims, vae_claims
from timbrel.train.families.recipes import load_recipe
from timbrel.train.run import Run

from .chroma_studies import floor, make, report_of, study_options, write_corpus
from .undrawn import undrawn


@pytest.fixture(scope="module")
def octave(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpora") / "octave")


@pytest.fixture(scope="module")
def made(octave, tmp_path_factory):
    """A study of both VAEs at the smallest and the largest weight, made once and only looked at."""
    folder = tmp_path_factory.mktemp("studies") / "study"
    with pytest.MonkeyPatch.context() as patch:
        undrawn(patch)
        swept = tuple(chroma_claims.swept_run(vae, weight) for weight in ("1e-8", "4.9e-4") for vae in VAES)
        patch.setitem(chroma.TABLES, "beta", swept)
        assert make(study_options({"octave": octave}, folder, ["beta"]))
    return folder


def test_a_row_of_the_sweep_trains_with_its_weight_and_the_last_is_the_beta_vae_itself(made):
    found = report_of(made)
    plain, conditioned = VAES
    assert found["tables"]["beta"] == [
        ["octave", "chroma-8-vae-noskip loss.divergence=1e-8"],
        ["octave", "chroma-8-vae loss.divergence=1e-8"],
        list(plain),
        list(conditioned),
    ]
    swept = Run.open(made / "runs" / "octave-chroma-8-vae-loss.divergence=1e-8-0").recipe
    own = Run.open(made / "runs" / "octave-chroma-8-vae-0").recipe
    assert (swept.loss.divergence, own.loss.divergence) == (1e-8, 4.9e-4)
    weight = {"loss": own.loss}
    assert swept.model_copy(update=weight) == own
    assert [row["divergence"] for row in found["sweep"]] == [1e-8, 1e-8, 4.9e-4, 4.9e-4]
    html = (made / "report" / "index.html").read_text(encoding="utf-8")
    section = html.partition("The beta-VAE over beta</h2>")[2].partition("<h2")[0]
    assert section.count("chroma-8-vae loss.divergence=1e-8") == 4  # errors, floors, verdicts, latents
    for run in found["runs"]:
        if "divergence" in run["recipe"]:
            largest = max(run["posterior"], key=lambda latent: latent["divergence"])
            assert f"{largest['divergence']:.2g} nats" in section


def vae_run(collapsed, mean=2.0, variance=0.1, moved=0.9):
    """Figures of a VAE whose first ``collapsed`` latents are at the prior and change no note."""
    at_prior = {"collapsed": True, "divergence": 0.0, "mean": 0.0, "variance": 1.0}
    in_use = {"collapsed": False, "divergence": 1.0, "mean": mean, "variance": variance}
    used_count = 8 - collapsed
    return {
        "mean_square": 1e-4,
        "floors": {"mean_square": floor(10.0)},
        "posterior": [at_prior] * collapsed + [in_use] * used_count,
        "moved": [0.0] * collapsed + [moved] * used_count,
    }


COLLAPSED, MEANS, VARIANCES, CHANGES = (claim.figure for claim in vae_claims(VAES))


def test_a_collapse_of_all_latents_is_not_the_papers_and_leaves_its_other_claims_open():
    runs = {vae: [vae_run(collapsed=8)] for vae in VAES}
    found, undecided = judge_claims(vae_claims(VAES), runs)
    assert [(claim["figure"], claim["verdict"]) for claim in found] == [(COLLAPSED, "did not hold")]
    assert len(undecided) == 3
    for collapsed, verdict in ((0, "did not hold"), (1, "held"), (7, "held")):
        found, _ = judge_claims(vae_claims(VAES), {vae: [vae_run(collapsed)] for vae in VAES})
        assert found[0]["verdict"] == verdict


def test_each_weight_of_the_divergence_has_its_own_verdicts_of_each_vae_where_latents_are_in_use():
    plain, conditioned = VAES
    runs = {
        chroma_claims.swept_run(plain, "1e-8"): [vae_run(0, mean=0.5, moved=0.2)],
        chroma_claims.swept_run(conditioned, "1e-8"): [vae_run(0)],
        chroma_claims.swept_run(plain, "1e-6"): [vae_run(3)],
        plain: [vae_run(8)],
        ("octave", "chroma-8"): [vae_run(0) | {"posterior": None}],
    }
    rows = chroma_claims.sweep(runs)
    assert [(row["recipe"], row["divergence"]) for row in rows] == [
        ("chroma-8-vae-noskip loss.divergence=1e-8", 1e-8),
        ("chroma-8-vae loss.divergence=1e-8", 1e-8),
        ("chroma-8-vae-noskip loss.divergence=1e-6", 1e-6),
        ("chroma-8-vae-noskip", 4.9e-4),
    ]
    assert [{claim["figure"]: claim["verdict"] for claim in row["claims"]} for row in rows] == [
        {COLLAPSED: "did not hold", MEANS: "did not hold", VARIANCES: "held", CHANGES: "did not hold"},
        {COLLAPSED: "did not hold", MEANS: "held", VARIANCES: "held"},
        {COLLAPSED: "held", MEANS: "held", VARIANCES: "held", CHANGES: "held"},
        {COLLAPSED: "did not hold"},
    ]


def test_the_last_weight_of_the_sweep_is_the_recipes_own_and_beta_is_one_there():
    for _, recipe_name in VAES:
        recipe = load_recipe(recipe_name)
        assert recipe.loss.divergence == float(chroma_claims.DIVERGENCES[-1])
        assert recipe.network.latents == chroma_claims.VAE_LATENTS
        bins = recipe.frames.frame_length // 2 + 1
        assert recipe.loss.divergence * bins == pytest.approx(1, abs=0.01)
    assert sorted(map(float, chroma_claims.DIVERGENCES)) == list(map(float, chroma_claims.DIVERGENCES))


def test_a_vae_that_is_not_better_than_a_floor_has_no_verdict():
    runs = {VAES[0]: [vae_run(3) | {"mean_square": 2e-3}]}
    [row] = chroma_claims.sweep(runs)
    assert {claim["verdict"] for claim in row["claims"]} == {"not better than a floor"}


def test_the_sweeps_page_has_beta_the_latents_in_use_and_the_notes_that_they_change():
    plain, conditioned = VAES
    runs = {plain: [vae_run(5, moved=0.25), vae_run(6, moved=0.35)], conditioned: [vae_run(8), vae_run(8)]}
    runs[plain][0]["moved"][-1] = 0.95
    html = re.sub(r"<[^>]+>", " ", chroma_page._sweep(chroma_claims.sweep(runs), runs))
    rows = re.findall(r"not conditioned.*|VAE, chroma.*", re.sub(r"\s+", " ", html).replace("beta-", "\n"))
    assert "chroma-8-vae-noskip 1 2.5 ± 0.7 30 to 65 held held held" in rows[0]
    assert "chroma-8-vae 1 0.0 ± 0.0 – did not hold – – –" in rows[1]


# ---- performances


def test_networks_of_notes_and_performances_are_judged_by_the_violins_claims(octave, tmp_path, monkeypatch):
    undrawn(monkeypatch)
    assert make(study_options(chroma.parse_corpora([f"flute={octave}"]), tmp_path / "study", ["performances"]))
    found = report_of(tmp_path / "study")
    names = ["chroma-2-lrelu-noskip", "chroma-2-lrelu", "chroma-2-noskip", "chroma-2", "chroma-3-noskip", "chroma-3"]
    assert found["tables"] == {"performances": [["flute", name] for name in names]}
    assert sorted(claim["claim"] for claim in found["claims"]) == [
        "Flute, three latents: the skip lowers the error.",
        "Flute, two latents: sigmoid with skip is the best of the four.",
        "Flute, two latents: the skip lowers the error of both bottlenecks.",
    ]
    assert found["left_out"] == [
        "table performances lacks its rows on clarinet and bass, and --corpus clarinet= and --corpus bass= is not given"
    ]
    html = (tmp_path / "study" / "report" / "index.html").read_text(encoding="utf-8")
    assert "From notes to performances</h2>" in html


def test_every_corpus_of_a_table_can_be_given():
    assert {corpus for rows in chroma.TABLES.values() for corpus, _ in rows} == set(chroma.CORPORA)
