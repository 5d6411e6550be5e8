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
from ..reports.page import SPLITS, faint, report_page, shown, table
from ..reports.report import Figures, Picture, Report, ReportRequest, evaluated_split, judged
from ..reports.verdict import Sentence, Verdict, percent, verdict_of
from .family import ExportFamily


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


FEW = 10  # clips of a label: with fewer, the share of correct ones is unreliable
HIGH = 0.97  # share of correct clips: the classifier's answers on generated clips then compare with a listener's


def verdict(found: Figures) -> Verdict:
    accuracy, count, worst, more = found["accuracy"], found["clips"], [], []
    right = (
        f"{percent(accuracy)} of clips are taken for what they are: {round((1 - accuracy) * count)} of {count} are not."
    )
    said = [Sentence(right)]
    if accuracy < HIGH:
        said.append(Sentence(f"Under {percent(HIGH)}, what it says of generated clips is not worth much.", False))
    if found["split"] == "train":
        worst.append("The corpus has no clips that it was not trained on: expect worse of others.")
    heard = [sum(row) for row in found["confusion"]]
    if few := [word for word, clips in zip(found["words"], heard, strict=True) if clips < FEW]:
        more.append(f"There are fewer than {FEW} clips to judge by of {', '.join(few)}.")
    return verdict_of(said, more, worst)


class ClassifierExport(ExportFamily[ClassifierRecipe, Classifier]):
    exported = False

    def report(self, request: ReportRequest) -> Report:
        run, network, say = request.run, request.network, request.say
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
            run=request.about(sum(p.numel() for p in network.parameters())),
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
        pictures = [loss_curve(loss["steps"], loss["terms"], request.step)] if logged else []
        return Report(found, pictures, [], _page(found, pictures))
