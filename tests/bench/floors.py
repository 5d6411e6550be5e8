"""Floors and references of a recipe on a corpus: figures of silence, means, noise and other sounds; trains nothing.

`floors.py RECIPE CORPUS` prints them in the measures of the recipe's report, and for recipes of the chroma study how
often the strongest chroma bin of a pitched frame has the pitch class of the pitch track. For sequences, it also prints
the floors of each recording's onsets. `floors.py MODEL CORPUS --classifier RUN` prints those of the recovery study: of
ten recordings with each of three seeds, and of as many generated sounds.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timbrel.export.families.gan import piece_sampler
from timbrel.export.families.sequence import MEASURED, SHOWN, predicted_indices, recording
from timbrel.export.families.sequence_floors import prediction_floors, rhythm_floors
from timbrel.export.measures import frames as chroma_frames
from timbrel.export.measures import grains
from timbrel.export.measures.clips import ClipSet, decoded_scales, random_scales, sound_set
from timbrel.export.measures.floors import floors
from timbrel.export.study.chroma_corpora import LOW_HZ, chroma_agreement
from timbrel.export.study.chroma_measures import ALL_FRAMES, MEAN_SQUARE, TEST_MSE, TRAINING_FRAMES
from timbrel.export.study.recovery_rows import RecoveryBench, RecoverySize
from timbrel.host.commands.options import opened_model
from timbrel.train.corpus.store import Corpus
from timbrel.train.families import FAMILIES
from timbrel.train.families.classifier.network import Classifier
from timbrel.train.families.recipes import load_recipe
from timbrel.train.families.sequence.data import pieces
from timbrel.train.frames import is_tonal
from timbrel.train.run import Run, trained
from timbrel.train.sampling import evenly_spaced

SEED = 2020
FLOORED = 10  # sounds of a table and seed of the recovery study
WINDOWS = 4096, 2048  # of training and of the test, as in reports


def of_chroma(recipe: Any, corpus: Corpus) -> dict[str, Any]:
    recipe = FAMILIES[recipe.family].complete(recipe, corpus)
    folded = recipe.frames.fold is not None and is_tonal(corpus)
    rng = np.random.default_rng(SEED)
    training = chroma_frames.draw(corpus, "train", recipe.frames, folded, TRAINING_FRAMES, rng)
    test = chroma_frames.draw(corpus, "test", recipe.frames, folded, ALL_FRAMES, rng)
    assert training is not None
    assert test is not None
    shares = chroma_agreement(corpus, recipe.frames)
    print(f"chroma agrees with pitch in {shares['agrees']:.1%} of {shares['frames']} frames")
    if shares["low"] is not None:
        print(f"below {LOW_HZ:g} Hz in {shares['low']:.1%} of {shares['low_frames']}")
    network = FAMILIES[recipe.family].network(recipe)
    return chroma_frames.frame_floors(
        training, test, None, recipe.network.latents, {MEAN_SQUARE: TEST_MSE}, conditioned=network.conditioned
    )


def of_grains(recipe: Any, corpus: Corpus) -> dict[str, Any]:
    rng = np.random.default_rng(SEED)
    training, test = (
        grains.draw(corpus, split, recipe.frames, count, rng)
        for split, count in zip(("train", "test"), WINDOWS, strict=True)
    )
    return grains.grain_floors(training, test, None, None, recipe.network.latents, recipe.frames.sample_rate)


def of_clips(recipe: Any, corpus: Corpus) -> dict[str, Any]:
    sample = piece_sampler(recipe.frames, [])
    training, test = (
        sound_set(corpus, ClipSet(part.split, part.clips, part.names, part.labels))
        for part in (sample(corpus, "train"), sample(corpus, "test"))
    )
    scales = decoded_scales(corpus.rate, of_samples=True) | random_scales(corpus.rate, None, None, None)
    return floors(scales, training, test, recipe.network.latents)


@torch.no_grad()
def of_sequences(recipe: Any, corpus: Corpus) -> dict[str, Any]:
    family = FAMILIES[recipe.family]
    recipe = family.complete(recipe.model_copy(update={"frames": recipe.frames.model_copy(
        update={"sample_rate": corpus.rate})}), corpus)  # fmt: skip
    network = family.network(recipe)
    network.initialise(family.data(corpus, recipe, Path()))
    training_pieces = pieces(corpus, "train", recipe.frames)
    predicted = [training_pieces[index] for index in predicted_indices(training_pieces, MEASURED)]
    silent_errors = [np.ones(piece.frames - 1) for piece in predicted]
    shown = [training_pieces[index] for index in evenly_spaced(len(training_pieces), SHOWN)]
    recordings = [recording(corpus, piece, recipe) for piece in shown]

    def rhythms(chosen: slice) -> dict[str, Any]:
        return rhythm_floors(corpus, training_pieces, shown[chosen], recordings[chosen], recipe.frames)

    for number, piece in enumerate(shown):
        onsets = rhythms(slice(number, number + 1))["onsets"]["floors"]
        print(f"onsets of {piece.name}:", ", ".join(f"{name} {value:.2f}" for name, value in onsets.items()))
    return prediction_floors(network, recipe, corpus, predicted, silent_errors) | rhythms(slice(None))


def of_recovery(model: str, corpus: Corpus, classifier: Path) -> dict[str, Any]:
    judge = trained(Run.open(classifier), "best")[0]
    assert isinstance(judge, Classifier)
    bench = RecoveryBench(corpus, opened_model(model), [judge], RecoverySize(3, FLOORED))
    return {
        f"{table}, {name}": figures | {"label": f"{table}: {figures['label']}"}
        for table in ("generated", "recorded")
        for name, figures in bench.floors(table, FLOORED).items()
    }


BY_FAMILY = {"chroma": of_chroma, "grain": of_grains, "sequence": of_sequences}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a recipe's name; with --classifier a model")
    parser.add_argument("corpus", type=Path, help="a corpus folder")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="changes the recipe")
    parser.add_argument("--classifier", type=Path, metavar="RUN", help="a classifier's run")
    options = parser.parse_args()
    opened_corpus = Corpus.open(options.corpus)
    if options.classifier is not None:
        floor_figures = of_recovery(options.recipe, opened_corpus, options.classifier)
    else:
        loaded = load_recipe(options.recipe, options.set)
        floor_figures = BY_FAMILY.get(loaded.family, of_clips)(loaded, opened_corpus)
    for figures in floor_figures.values():
        print(figures["label"])
        for part in ("floors", "references"):
            for name, value in figures[part].items():
                print(f"    {part[:-1]:10} {name:12} {value:.6g}")
