"""Runs of generators, of a classifier, and of networks that invert the one by the other, trained once."""

import pytest
from timbrel.export import export as exporting
from timbrel.train.families.recipes import load_recipe
from timbrel.train.launch import start
from timbrel.train.run import Run

from .words import CPU, INVERT, LABELS, corpus_of_words, generator_of_words, judge_of_words


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """The folders ``corpus``, ``judge``, ``plain`` and ``labelled``: of a corpus, a classifier and two generators."""
    folder = tmp_path_factory.mktemp("words")
    corpus_of_words(folder / "corpus")
    judge_of_words(folder / "corpus", folder / "judge")
    generator_of_words(folder / "corpus", folder / "plain")
    generator_of_words(folder / "corpus", folder / "labelled", *LABELS)
    return folder


@pytest.fixture(scope="session")
def inverted(words):
    """The run that inverts the generator of that name."""

    def run(name):
        folder = words / f"invert-{name}"
        if not folder.exists():
            others = {"generator": words / name, "judge": words / "judge"}
            recipe = load_recipe("invert", [*INVERT, "training.steps=3"])
            start(recipe, words / "corpus", folder, CPU, others)
        return Run.open(folder)

    return run


@pytest.fixture(scope="session")
def inverted_model(inverted, trace_of, tmp_path_factory):
    """The file of its model, the encoder beside it; how loud it is was not measured."""
    models = {}

    def model(name):
        if name not in models:
            path = tmp_path_factory.mktemp(name) / "words.onnx"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(exporting, "model_loudness_lufs", lambda model: -20.0)
                patch.setattr(exporting, "trace", trace_of)
                exporting.export(inverted(name), path)
            models[name] = path
        return models[name]

    return model
