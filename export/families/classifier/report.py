"""Evaluates a classifier run: accuracy, confusion matrix and page."""

from collections.abc import Sequence

import numpy as np

from ....host.arrays import Integers
from ....train.corpus.clip_table import Clip
from ....train.corpus.store import Corpus
from ....train.data import clips_of
from ....train.families.classifier.network import Classifier, labelled
from ....train.families.classifier.recipe import ClassifierRecipe
from ....train.run import Run
from ...reports.figures.frames import loss_curve
from ...reports.page import SPLITS, faint, report_page, shown, table
from ...reports.report import Figures, Picture, Progress, Report, about, evaluated_split, judged
from ...reports.verdict import classifier as verdict
from ...reports.verdict import percent


def report(run: Run, network: Classifier, checkpoint: str, step: int, say: Progress) -> Report:
    assert isinstance(run.recipe, ClassifierRecipe)
    corpus, words = run.corpus(), run.recipe.network.words
    split, clips = evaluated_split(
        lambda split: labelled(corpus, split, words),
        f"corpus {corpus.folder} has no clip with a label that the run knows ({', '.join(words)}); "
        "build it with the labels that it was trained with",
    )
    say(0.2, "listening")
    confusion = confused(network, corpus, clips)
    right, logged = np.diag(confusion), run.logged()
    found = judged(
        verdict,
        run=about(run, checkpoint, step, sum(p.numel() for p in network.parameters())),
        split=split,
        clips=len(clips),
        clips_without_label=len(corpus.clips(split)) - len(clips),
        words=words,
        accuracy=float(right.sum() / len(clips)),
        accuracies=[float(hit / all_) if all_ else None for hit, all_ in zip(right, confusion.sum(1), strict=True)],
        confusion=confusion.tolist(),
        loss={"steps": [line["step"] for line in logged], "terms": {"total": [line["total"] for line in logged]}},
    )
    loss = found["loss"]
    pictures = [loss_curve(loss["steps"], loss["terms"], step)] if logged else []
    return Report(found, pictures, [], _page(found, pictures))


def confused(network: Classifier, corpus: Corpus, clips: Sequence[Clip]) -> Integers:
    """Return clip counts, [labels, labels]: true labels by row."""
    audio = clips_of(corpus, clips, network.clip_length)
    taken = network.judge(audio, corpus.rate).posteriors.argmax(1)
    counts = np.zeros((len(network.words),) * 2, np.int64)
    np.add.at(counts, (np.array([network.words.index(clip.label) for clip in clips]), taken), 1)
    return counts


def _page(found: Figures, pictures: Sequence[Picture]) -> str:
    run, words = found["run"], found["words"]
    basis = (
        f"Measured on {found['clips']} clips of {SPLITS[found['split']]}, with the {run['checkpoint']} checkpoint "
        f"(step {run['step']})."
    )
    rows = [
        [word, "–" if share is None else percent(share), *(str(count) if count else "·" for count in counts)]
        for word, share, counts in zip(words, found["accuracies"], found["confusion"], strict=True)
    ]
    confusion = table(["", "Right", *words], rows, len(words) + 1, "narrow")
    note = faint("Each row has the clips of a label, each column what they were taken for.")
    taken = {"What is taken for what": confusion + note}
    return report_page(found, {}, taken, {"Training": shown(pictures)("loss")}, basis)
