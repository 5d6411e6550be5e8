"""The classifier family: its report. It makes no sound."""

from collections.abc import Sequence

import numpy as np

from ...host.arrays import Integers
from ...train.corpus.clip_table import Clip
from ...train.corpus.store import Corpus
from ...train.data import clips_of
from ...train.families.classifier.data import labelled
from ...train.families.classifier.network import Classifier
from ...train.families.classifier.recipe import ClassifierRecipe
from ..reports.figures.frames import loss_curve
from ..reports.page import SPLITS, faint, picture_renderer, report_page, table
from ..reports.report import Figures, Picture, Report, ReportRequest, evaluated_split, judged
from ..reports.verdict import Sentence, Verdict, percent, verdict_of
from .family import ExportFamily


def confusion_counts(network: Classifier, corpus: Corpus, clips: Sequence[Clip]) -> Integers:
    """Return clip counts, [labels, labels]: true labels by row."""
    audio = clips_of(corpus, clips, network.clip_length)
    predicted = network.judge(audio, corpus.rate).posteriors.argmax(1)
    counts = np.zeros((len(network.words),) * 2, np.int64)
    np.add.at(counts, (np.array([network.words.index(clip.label) for clip in clips]), predicted), 1)
    return counts


def _page(figures: Figures, pictures: Sequence[Picture]) -> str:
    run, words = figures["run"], figures["words"]
    basis = (
        f"Measured on {figures['clips']} clips of {SPLITS[figures['split']]}, with the {run['checkpoint']} checkpoint "
        f"(step {run['step']})."
    )
    rows = [
        [word, "–" if share is None else percent(share), *(str(count) if count else "·" for count in counts)]
        for word, share, counts in zip(words, figures["accuracies"], figures["confusion"], strict=True)
    ]
    confusion = table(["", "Right", *words], rows, len(words) + 1, "narrow")
    note = faint("Each row has the clips of a label, each column what they were taken for.")
    confusion_section = {"What is taken for what": confusion + note}
    return report_page(figures, {}, confusion_section, {"Training": picture_renderer(pictures)("loss")}, basis)


FEWEST_CLIPS = 10  # clips of a label: with fewer, the share of correct ones is unreliable
HIGH_ACCURACY = 0.97  # the classifier's answers on generated clips then compare with a listener's


def verdict(figures: Figures) -> Verdict:
    accuracy, count, worst, more = figures["accuracy"], figures["clips"], [], []
    right = (
        f"{percent(accuracy)} of clips are taken for what they are: {round((1 - accuracy) * count)} of {count} are not."
    )
    sentences = [Sentence(right)]
    if accuracy < HIGH_ACCURACY:
        sentences.append(
            Sentence(f"Under {percent(HIGH_ACCURACY)}, what it says of generated clips is not worth much.", False)
        )
    if figures["split"] == "train":
        worst.append("The corpus has no clips that it was not trained on: expect worse of others.")
    clip_counts = [sum(row) for row in figures["confusion"]]
    if rare_words := [word for word, clips in zip(figures["words"], clip_counts, strict=True) if clips < FEWEST_CLIPS]:
        more.append(f"There are fewer than {FEWEST_CLIPS} clips to judge by of {', '.join(rare_words)}.")
    return verdict_of(sentences, more, worst)


class ClassifierExport(ExportFamily[ClassifierRecipe, Classifier]):
    exported = False

    def report(self, request: ReportRequest) -> Report:
        run, network, progress = request.run, request.network, request.progress
        assert isinstance(run.recipe, ClassifierRecipe)
        corpus, words = run.corpus(), run.recipe.network.words
        split, clips = evaluated_split(
            lambda split: labelled(corpus, split, words),
            f"corpus {corpus.folder} has no clip with a label that the run knows ({', '.join(words)}); "
            "build it with the labels that it was trained with",
        )
        progress(0.2, "listening")
        confusion = confusion_counts(network, corpus, clips)
        correct_counts, logged = np.diag(confusion), run.logged()
        figures = judged(
            verdict,
            run=request.training_origin(sum(p.numel() for p in network.parameters())),
            split=split,
            clips=len(clips),
            clips_without_label=len(corpus.clips(split)) - len(clips),
            words=words,
            accuracy=float(correct_counts.sum() / len(clips)),
            accuracies=[
                float(correct / total) if total else None
                for correct, total in zip(correct_counts, confusion.sum(1), strict=True)
            ],
            confusion=confusion.tolist(),
            loss={"steps": [line["step"] for line in logged], "terms": {"total": [line["total"] for line in logged]}},
        )
        loss = figures["loss"]
        pictures = [loss_curve(loss["steps"], loss["terms"], request.step)] if logged else []
        return Report(figures, pictures, [], _page(figures, pictures))
