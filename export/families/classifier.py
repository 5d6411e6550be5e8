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
    predicted_indices = network.judge(audio, corpus.rate).posteriors.argmax(1)
    counts = np.zeros((len(network.words),) * 2, np.int64)
    np.add.at(counts, (np.array([network.words.index(clip.label) for clip in clips]), predicted_indices), 1)
    return counts


def _page(figures: Figures, pictures: Sequence[Picture]) -> str:
    """Return the report page as HTML."""
    run_figures, words = figures["run"], figures["words"]
    basis = (
        f"Measured on {figures['clips']} clips of {SPLITS[figures['split']]}, with the "
        f"{run_figures['checkpoint']} checkpoint (step {run_figures['step']})."
    )
    table_rows = [
        [
            word,
            "–" if accuracy is None else percent(accuracy),
            *(str(count) if count else "·" for count in confusion_row),
        ]
        for word, accuracy, confusion_row in zip(words, figures["accuracies"], figures["confusion"], strict=True)
    ]
    confusion_table = table(["", "Right", *words], table_rows, len(words) + 1, "narrow")
    note = faint("Each row has the clips of a label, each column what they were taken for.")
    confusion_section = {"What is taken for what": confusion_table + note}
    return report_page(figures, {}, confusion_section, {"Training": picture_renderer(pictures)("loss")}, basis)


FEWEST_CLIPS = 10  # clips of a label: with fewer, the share of correct ones is unreliable
HIGH_ACCURACY = 0.97  # the classifier's answers on generated clips then compare with a listener's


def verdict(figures: Figures) -> Verdict:
    """Return the verdict on recognised clips, and the shortcomings."""
    accuracy, clip_count, worst_shortcomings, other_shortcomings = figures["accuracy"], figures["clips"], [], []
    accuracy_text = (
        f"{percent(accuracy)} of clips are taken for what they are: "
        f"{round((1 - accuracy) * clip_count)} of {clip_count} are not."
    )
    sentences = [Sentence(accuracy_text)]
    if accuracy < HIGH_ACCURACY:
        sentences.append(
            Sentence(f"Under {percent(HIGH_ACCURACY)}, what it says of generated clips is not worth much.", False)
        )
    if figures["split"] == "train":
        worst_shortcomings.append("The corpus has no clips that it was not trained on: expect worse of others.")
    clips_by_label = [sum(row) for row in figures["confusion"]]
    if rare_words := [
        word
        for word, label_clip_count in zip(figures["words"], clips_by_label, strict=True)
        if label_clip_count < FEWEST_CLIPS
    ]:
        other_shortcomings.append(f"There are fewer than {FEWEST_CLIPS} clips to judge by of {', '.join(rare_words)}.")
    return verdict_of(sentences, other_shortcomings, worst_shortcomings)


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
        confusion_matrix = confusion_counts(network, corpus, clips)
        correct_counts, log_lines = np.diag(confusion_matrix), run.logged()
        figures = judged(
            verdict,
            run=request.training_origin(sum(p.numel() for p in network.parameters())),
            split=split,
            clips=len(clips),
            clips_without_label=len(corpus.clips(split)) - len(clips),
            words=words,
            accuracy=float(correct_counts.sum() / len(clips)),
            accuracies=[
                float(correct_count / label_clip_count) if label_clip_count else None
                for correct_count, label_clip_count in zip(correct_counts, confusion_matrix.sum(1), strict=True)
            ],
            confusion=confusion_matrix.tolist(),
            loss={
                "steps": [line["step"] for line in log_lines],
                "terms": {"total": [line["total"] for line in log_lines]},
            },
        )
        loss_figures = figures["loss"]
        pictures = [loss_curve(loss_figures["steps"], loss_figures["terms"], request.step)] if log_lines else []
        return Report(figures, pictures, [], _page(figures, pictures))
