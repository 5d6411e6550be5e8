"""The classifier family: its report. It makes no sound."""

import operator
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from ...host.arrays import Integers
from ...train.corpus.clip_table import Clip, Split
from ...train.corpus.store import Corpus
from ...train.data import clips_of
from ...train.families.classifier.data import labelled
from ...train.families.classifier.network import Classifier
from ...train.families.classifier.recipe import ClassifierRecipe
from ...train.sampling import evenly_spaced
from ..measures.clips import ClipSet, accuracy_scale, commonest_share, sound_set
from ..measures.floors import floors
from ..reports.floor_tables import above_floor, floors_table
from ..reports.frame_figures import loss_curve
from ..reports.measure import Measure, Sentence, Verdict, measures_across, percent, verdict_of
from ..reports.page import report_page
from ..reports.report import Figures, Report, ReportRequest, evaluated_split, judged
from .family import ExportFamily


def confusion_counts(network: Classifier, corpus: Corpus, clips: Sequence[Clip]) -> Integers:
    """Return clip counts, [labels, labels]: true labels by row."""
    audio = clips_of(corpus, clips, network.clip_length)
    predicted_indices = network.judge(audio, corpus.rate).posteriors.argmax(1)
    counts = np.zeros((len(network.words),) * 2, np.int64)
    np.add.at(counts, (np.array([network.words.index(clip.label) for clip in clips]), predicted_indices), 1)
    return counts


def _floors(network: Classifier, corpus: Corpus, split: Split, clips: Sequence[Clip]) -> Figures:
    """Return floors of the share of right answers: those to other sounds, and the commonest label."""
    words, training_clips = network.words, labelled(corpus, "train", network.words)

    def clip_set(set_split: Split, set_clips: Sequence[Clip]) -> ClipSet:
        numbers = np.array([words.index(clip.label) for clip in set_clips])
        audio = clips_of(corpus, set_clips, network.clip_length)
        return ClipSet(set_split, audio, [clip.name for clip in set_clips], numbers)

    indices = evenly_spaced(len(training_clips), MOST_CLIPS)
    training, test = clip_set("train", [training_clips[index] for index in indices]), clip_set(split, clips)
    chance = commonest_share(training_clips.label_numbers(words), test.labels)
    scale = accuracy_scale(network.judge, corpus.rate, test.labels, chance)
    return floors({"accuracy": scale}, sound_set(corpus, training), sound_set(corpus, test), 0, test.clips)


MOST_CLIPS = 1024  # of training, as other sounds
FEWEST_CLIPS = 10  # clips of a label: with fewer, the share of correct ones is unreliable
HIGH_ACCURACY = 0.97  # the classifier's answers on generated clips then compare with a listener's


def _confusion_table(figures: Figures) -> Markup:
    """Return the table of clips by label and by answer."""
    words = figures["words"]
    rows_by_label = zip(words, figures["accuracies"], figures["confusion"], strict=True)
    table_rows = [(word, accuracy, *counts) for word, accuracy, counts in rows_by_label]
    measures = [
        Measure("", operator.itemgetter(0)),
        Measure("Right", operator.itemgetter(1), "percent"),
        *(
            Measure(word, operator.itemgetter(column), lambda count: str(count or "·"))
            for column, word in enumerate(words, 2)
        ),
    ]
    note = "Each row has the clips of a label, each column what they were taken for."
    return measures_across(measures, table_rows, note, kind="narrow")


def verdict(figures: Figures) -> Verdict:
    """Return the verdict on recognised clips, and the shortcomings."""
    accuracy, clip_count = figures["accuracy"], figures["clips"]
    accuracy_text = (
        f"{percent(accuracy)} of clips are taken for what they are: "
        f"{round((1 - accuracy) * clip_count)} of {clip_count} are not."
    )
    accuracy_sentence = above_floor(figures, "accuracy", Sentence(accuracy_text))
    sentences, worst_shortcomings, other_shortcomings = [accuracy_sentence], [], []
    if accuracy < HIGH_ACCURACY:
        sentences.append(
            Sentence(f"Under {percent(HIGH_ACCURACY)}, what it says of generated clips is not worth much.", False)
        )
    if figures["split"] == "train":
        worst_shortcomings.append("The corpus has no clips that it was not trained on: expect worse of others.")
    if rare_words := [
        word for word, counts in zip(figures["words"], figures["confusion"], strict=True) if sum(counts) < FEWEST_CLIPS
    ]:
        other_shortcomings.append(f"There are fewer than {FEWEST_CLIPS} clips to judge by of {', '.join(rare_words)}.")
    return verdict_of(sentences, other_shortcomings, worst_shortcomings)


class ClassifierExport(ExportFamily[ClassifierRecipe, Classifier]):
    def report(self, request: ReportRequest) -> Report:
        """Report how often a network takes unseen clips for what they are."""
        run, network = request.run, request.network
        assert isinstance(run.recipe, ClassifierRecipe)
        corpus, words = run.corpus(), run.recipe.network.words
        split, clips = evaluated_split(
            lambda split: labelled(corpus, split, words),
            f"corpus {corpus.folder} has no clip with a label that the run knows ({', '.join(words)}); "
            "build it with the labels that it was trained with",
        )
        request.progress(0.2, "listening")
        confusion_matrix = confusion_counts(network, corpus, clips)
        floor_figures = _floors(network, corpus, split, clips)
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
            floors=floor_figures,
            loss={
                "steps": [line["step"] for line in log_lines],
                "terms": {"total": [line["total"] for line in log_lines]},
            },
        )
        pictures = loss_curve(figures["loss"], request.step)
        page = report_page(
            request,
            figures,
            pictures,
            {"Confusions": [_confusion_table(figures), floors_table({"This network": floor_figures})]},
            {"Training": ["loss"]},
        )
        return Report(figures, pictures, [], page)
