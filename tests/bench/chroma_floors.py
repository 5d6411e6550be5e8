"""Floors beside a finished report of the chroma study: its rows and claims, with no training again.

`chroma_floors.py REPORT.json octave=DIR violin=DIR` measures the floors of the report's networks on the corpora of the
same study, and prints rows of test errors and verdicts on claims. Reports of format 1 have no floors.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from timbrel.export.measures.frames import draw, frame_floors
from timbrel.export.study.chroma import load_row, parse_corpora
from timbrel.export.study.chroma_claims import floors_over_seeds, sweep, verdicts
from timbrel.export.study.chroma_corpora import chroma_agreement
from timbrel.export.study.chroma_measures import (
    ACCURACY,
    ALL_FRAMES,
    MEAN_SQUARE,
    TEST_MSE,
    TRAINING_FRAMES,
    accuracy_floors,
    embedding_floors,
)
from timbrel.train.corpus.store import Corpus
from timbrel.train.families import FAMILIES
from timbrel.train.families.recipes import load_recipe

SEED = 2020
EMBEDDED = 2  # latents, of the embeddings in pictures
Floors = dict[tuple[str, bool, bool], dict[str, Any]]


def floors_of(corpus: Corpus, role: str, recipe_name: str, known: Floors) -> dict[str, Any]:
    """Return the floors of a recipe's test frames: those of recipes that fold and condition alike are the same."""
    recipe: Any = FAMILIES["chroma"].complete(load_row(recipe_name), corpus)
    is_folded, is_conditioned = recipe.frames.fold is not None, FAMILIES["chroma"].network(recipe).conditioned
    key = role, is_folded, is_conditioned
    if key not in known:
        rng = np.random.default_rng(SEED)
        training = draw(corpus, "train", recipe.frames, is_folded, TRAINING_FRAMES, rng)
        test = draw(corpus, "test", recipe.frames, is_folded, ALL_FRAMES, rng)
        assert training is not None
        assert test is not None
        scales = {MEAN_SQUARE: TEST_MSE}
        known[key] = frame_floors(training, test, None, recipe.network.latents, scales, conditioned=is_conditioned)
        # Floors of embeddings depend on the number of codes, not on the codes.
        codes = np.random.default_rng(SEED).standard_normal((len(training), EMBEDDED)).astype(np.float32)
        known[key] |= embedding_floors(training.spectra, codes)
        known[key][ACCURACY] = accuracy_floors(training, test, recipe.frames.sample_rate)
        print(role, "folded" * is_folded, "conditioned" * is_conditioned)
        for measure in known[key].values():
            print("   ", measure["label"], measure["floors"], measure["references"], measure["numbers"], flush=True)
    return known[key]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="a report.json")
    parser.add_argument("corpora", nargs="+", help="octave=DIR and others, as of the study")
    options = parser.parse_args()
    corpora = {role: Corpus.open(folder) for role, folder in parse_corpora(options.corpora).items()}
    known: Floors = {}
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in json.loads(options.report.read_text(encoding="utf-8"))["runs"]:
        role, name = run["corpus"], run["recipe"]
        run_floors = floors_of(corpora[role], role, name, known)
        runs.setdefault((role, name), []).append(run | {"floors": run_floors})
    for (role, name), seed_runs in runs.items():
        row = floors_over_seeds(seed_runs, MEAN_SQUARE)
        print(f"{role:8} {name:22} {row['value']:6.2f} ± {row['deviation'] or 0:.2f}  {row['not_better_than'] or ''}")
    for claim in verdicts(runs)[0]:
        print(f"{claim['verdict']:24} {claim['claim']}")
    for swept in sweep(runs):
        for claim in swept["claims"]:
            print(f"{claim['verdict']:24} {swept['recipe']}: {claim['claim']}")
    for role, corpus in corpora.items():
        print(role, chroma_agreement(corpus, load_recipe("chroma-8").frames))
