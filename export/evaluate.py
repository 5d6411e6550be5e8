"""Evaluates runs and instruments on held-out sounds, and writes reports."""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..host.arrays import Array
from ..host.audio.sound_files import sound_writer
from ..host.errors import UserError
from ..host.files import building_folder, replacing_folder
from ..host.model.model import Model
from ..host.preset.library import Patch
from ..train.corpus.store import Corpus
from ..train.metrics.clips import Judge, JudgedClips
from ..train.recipe import Recipe
from ..train.run import Run, trained
from .export import export
from .families import FAMILIES
from .families.family import network_labels
from .fidelity.comparison import compare_notes
from .fidelity.page import instrument_page
from .first_preset import first_preset
from .reports.report import (
    FORMAT,
    SEED,
    Figures,
    HeldOutRun,
    Progress,
    Report,
    ReportRequest,
    ReportSound,
    as_json,
)

PEAK = 0.98  # of a page's loudest sound


def evaluate(
    run: Run,
    *,
    checkpoint: Literal["best", "last"] = "best",
    classifier: Run | None = None,
    exported: Callable[[], Patch] | None = None,
    instrument: Path | None = None,
    progress: Progress | None = None,
) -> Figures:
    """Measure a run, write ``RUN/report/`` atomically, and return the figures of report.json.

    After a trial, the trial is measured, on sounds that it has not learned.

    Args:
        checkpoint: the last replaces a missing best one (latents never varied).
        classifier: judges generated clips, or the words of rebuilt recordings.
        exported: returns the run as an instrument; None exports it temporarily.
        instrument: future folder of the report, as typed, for the page's commands.
        progress: receives the share, 0 to 1, and a description.

    Raises:
        UserError: no checkpoint, the corpus is missing or silent, or the report is not writable.
        Failure: the disk is full.
    """
    report_progress = progress or (lambda share, stage: None)
    family, trial_run = FAMILIES[run.recipe.family], run.trial()
    measured_run = run if trial_run is None or family.keyed else trial_run
    network, checkpoint_name, step = trained(measured_run, checkpoint)
    judge = None if classifier is None else judge_for(run.recipe, run.corpus(), classifier)
    with contextlib.ExitStack() as stack:

        def opener(opened_run: Run) -> Callable[[], Patch]:
            export_folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            return functools.partial(exported_patch, opened_run, export_folder, which=checkpoint)

        plays = family.played or family.sided
        if plays and (exported is None or measured_run is not run):
            exported = opener(measured_run)
        trial = None
        if family.keyed and trial_run is not None:
            trial = HeldOutRun(trial_run.corpus(), trained(trial_run, checkpoint)[0], opener(trial_run))
        report_request = ReportRequest(
            measured_run,
            network,
            checkpoint_name,
            step,
            report_progress,
            judge,
            () if judge is None else family.labels(run.recipe, run.corpus()),
            exported=exported if plays else None,
            instrument=instrument if family.played else None,
            demo=family.demo if instrument is not None and family.demo else None,
            trial=trial,
        )
        report = family.report(report_request)
        report_progress(0.75, "drawing")
        _save(stack.enter_context(replacing_folder(run.folder / "report")), report)
    report_progress(1.0, "done")
    return report.figures


def evaluate_instrument(patch: Patch, corpus: Corpus, output: Path, *, progress: Progress | None = None) -> Figures:
    """Compare an instrument's notes with held-out notes, not its training data; return the report's figures.

    Raises:
        UserError: the keys select no note, rates differ, no held-out clip is a single note, or the output is not
            writable.
        Failure: the disk is full.
    """
    report_progress, card = progress or (lambda share, stage: None), patch.model.card
    if not card.keyed:
        raise UserError(
            f"{patch.model.path}: --corpus is for models whose keys choose the note, and those of this one, of kind "
            f"{card.kind!r}, do not; give its run instead"
        )
    if card.sample_rate != corpus.rate:
        raise UserError(
            f"corpus {corpus.folder} has {corpus.rate} Hz and model {card.name!r} {card.sample_rate} Hz; build the "
            f"corpus with --rate {card.sample_rate}"
        )
    with building_folder(output) as report_folder:
        comparison = compare_notes(patch, corpus, SEED, report_progress)
        if comparison.figures is None:
            raise UserError(
                f"corpus {corpus.folder} holds no single note under test or val; build one of recordings of single "
                "notes, with --split"
            )
        figures: Figures = {
            "format": FORMAT,
            "instrument": patch.name,
            "model": card.name,
            "corpus": corpus.name,
            "notes": comparison.figures,
        }
        page_html = instrument_page(patch.name, corpus.name, comparison)
        _save(report_folder, Report(figures, comparison.pictures, comparison.sounds, page_html, comparison.pages))
    report_progress(1.0, "done")
    return figures


def exported_patch(run: Run, folder: Path, name: str = "preset", **options: Any) -> Patch:
    """Export a run with ``options`` of `export`, and open it with its first preset."""
    export(run, folder / "model.onnx", **options)
    model = Model(folder / "model.onnx")
    return Patch(name, first_preset(model), model, folder)


def _save(folder: Path, report: Report) -> None:
    """Write a report's pictures, sounds, figures and pages into a folder."""
    for picture in report.pictures:
        picture.save(folder)
    _write_sounds(folder, report.sounds)
    (folder / "report.json").write_text(as_json(report.figures), encoding="utf-8")
    for file_name, page_html in {"index.html": report.page, **report.pages}.items():
        (folder / file_name).write_text(page_html, encoding="utf-8")


def judge_for(recipe: Recipe, corpus: Corpus, classifier: Run) -> Judge:
    """Return a classifier's judge, its labels in the order of those of a run of ``recipe`` on ``corpus``.

    Raises:
        UserError: there is nothing to judge, or the other run is no classifier of these labels.
    """
    if not FAMILIES[recipe.family].judged:
        raise UserError(f"--classifier judges clips and words, and recipe {recipe.name} makes none; leave it out")
    network, _, _ = trained(classifier, "best")
    judge = getattr(network, "judge", None)
    if judge is None:
        raise UserError(f"--classifier {classifier.folder} is no run of a classifier; train one on labelled clips")
    run_labels, classifier_labels = FAMILIES[recipe.family].labels(recipe, corpus), network_labels(classifier.recipe)
    if extra_labels := [label for label in run_labels if label not in classifier_labels]:
        raise UserError(
            f"--classifier {classifier.folder} does not know label {extra_labels[0]!r}; train one on clips with these "
            "labels"
        )
    return _in_order(judge, classifier_labels, run_labels)


def _in_order(judge: Judge, judge_labels: Sequence[str], run_labels: Sequence[str]) -> Judge:
    """Reorder a judge's posteriors: the run's labels first."""
    label_indices = [
        *map(judge_labels.index, run_labels),
        *(label_index for label_index, label in enumerate(judge_labels) if label not in run_labels),
    ]

    def judge_in_order(clips: Array, rate: int) -> JudgedClips:
        judged_clips = judge(clips, rate)
        return judged_clips._replace(posteriors=judged_clips.posteriors[:, label_indices])

    return judge_in_order


def _write_sounds(folder: Path, sounds: Sequence[ReportSound]) -> None:
    """One gain for all, so that levels compare."""
    gain = PEAK / max([PEAK, *(float(np.abs(sound.samples).max()) for sound in sounds)])
    for sound in sounds:
        with sound_writer(folder / f"{sound.name}.wav", sound.rate, channels=1) as writer:
            writer.write((gain * sound.samples[None]).astype(np.float32))
