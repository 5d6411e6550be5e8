"""A run becomes figures, pictures and a page about it, all measured anew on the split that training never saw."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..host.audio.files import sound_writer
from ..host.errors import UserError
from ..host.files import replacing_folder
from ..train.families import trained
from ..train.metrics.generated import Judge, Judged
from ..train.run import Run
from .families import FAMILIES
from .reports.report import Figures, Progress, Sound

Array = npt.NDArray[np.float32]

PEAK = 0.98  # of a page's loudest sound


def evaluate(
    run: Run,
    *,
    checkpoint: Literal["best", "last"] = "best",
    classifier: Run | None = None,
    progress: Progress | None = None,
) -> Figures:
    """Measure a run and write ``RUN/report/``: index.html, report.json, pictures and sounds, whole or not at all.

    Args:
        run: it stays as it is, but for the report, which is replaced.
        checkpoint: which one; where a run has no best (its latents never varied), the last.
        classifier: a run of a classifier, which judges clips that are made by labels.
        progress: called with the share that is done, 0 to 1, and what is being done.

    Returns:
        The figures, as in report.json.

    Raises:
        UserError: no checkpoint, the corpus is gone or has nothing that sounds, or the report cannot be written.
        Failure: the disk is full.
    """
    say = progress or (lambda share, what: None)
    network, which, step = trained(run, checkpoint)
    judged = _judged(run, classifier)
    with replacing_folder(run.folder / "report") as folder:
        report = FAMILIES[run.recipe.family].report(run, network, which, step, say, **judged)
        say(0.75, "drawing")
        for picture in report.pictures:
            picture.save(folder)
        _write(folder, report.sounds)
        text = json.dumps(report.found, indent=1, allow_nan=False) + "\n"
        (folder / "report.json").write_text(text, encoding="utf-8")
        (folder / "index.html").write_text(report.page, encoding="utf-8")
    say(1.0, "done")
    return report.found


def _judged(run: Run, classifier: Run | None) -> dict[str, Judge]:
    """Return what a report is given to judge clips with, by name.

    Raises:
        UserError: the run makes no clips, or the other run's network is no classifier, or none of these labels.
    """
    if classifier is None:
        return {}
    if not FAMILIES[run.recipe.family].judged:
        raise UserError(f"--classifier judges clips, and run {run.folder} makes none; leave it out")
    network, _, _ = trained(classifier, "best")
    judge = getattr(network, "judge", None)
    if judge is None:
        raise UserError(f"--classifier {classifier.folder} is no run of a classifier; train one on labelled clips")
    asked, known = (getattr(getattr(of.recipe, "network", None), "words", []) for of in (run, classifier))
    if strange := [word for word in asked if word not in known]:
        raise UserError(
            f"--classifier {classifier.folder} does not know label {strange[0]!r}; train one on clips with these labels"
        )
    return {"judge": _in_order(judge, known, asked)}


def _in_order(judge: Judge, known: Sequence[str], first: Sequence[str]) -> Judge:
    """Return a judge whose first labels are those asked for, in their order, and then what else it knows."""
    order = [*map(known.index, first), *(number for number, word in enumerate(known) if word not in first)]

    def judged(clips: Array, rate: int) -> Judged:
        found = judge(clips, rate)
        return found._replace(posteriors=found.posteriors[:, order])

    return judged


def _write(folder: Path, sounds: Sequence[Sound]) -> None:
    """Write sounds at levels that can be compared, of which the loudest is not clipped."""
    gain = PEAK / max([PEAK, *(float(np.abs(sound.samples).max()) for sound in sounds)])
    for sound in sounds:
        with sound_writer(folder / f"{sound.name}.wav", sound.rate, channels=1) as file:
            file.write((gain * sound.samples[None]).astype(np.float32))
