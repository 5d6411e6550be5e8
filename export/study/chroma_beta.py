"""Sweep of the chroma study's beta-VAEs over the weight of their divergence, with the paper's claims at each weight.

The paper names no weight. Where all latents collapse, nothing can be said about the others.
"""

from collections.abc import Mapping, Sequence

from ..reports.report import Figures
from .chroma_claims import VAES, RunKey, judge_claims, vae_claims

# Weights of `loss.divergence`, as a recipe's change has them; the last is the recipes' own, where beta is 1.
DIVERGENCES = ("1e-8", "1e-7", "1e-6", "1e-5", "3e-5", "1e-4", "4.9e-4")


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
