"""Evaluates runs and instruments on held-out sounds, and writes reports."""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
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
from ..train.run import Run, trained
from .export import export
from .families import FAMILIES
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
    listed,
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
        classifier: judges clips made by labels.
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
    request = ReportRequest(measured_run, *trained(measured_run, checkpoint), report_progress, _judged(run, classifier))
    with contextlib.ExitStack() as stack:
        if instrument is not None and family.demo:
            request = replace(request, demo=family.demo)
        if family.played:
            if exported is None or measured_run is not run:
                export_folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                exported = functools.partial(exported_patch, measured_run, export_folder, which=checkpoint)
            request = replace(request, instrument=instrument, exported=exported)
        if family.keyed and trial_run is not None:
            export_folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            open_trial = functools.partial(exported_patch, trial_run, export_folder, which=checkpoint)
            request = replace(
                request, trial=HeldOutRun(trial_run.corpus(), trained(trial_run, checkpoint)[0], open_trial)
            )
        report = family.report(request)
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
    with building_folder(output) as folder:
        notes = compare_notes(patch, corpus, SEED, report_progress)
        if notes is None:
            raise UserError(
                f"corpus {corpus.folder} holds no single note under test or val; build one of recordings of single "
                "notes, with --split"
            )
        figures: Figures = {
            "format": FORMAT,
            "instrument": patch.name,
            "model": card.name,
            "corpus": corpus.name,
            "notes": notes.figures,
        }
        text = instrument_page(patch.name, corpus.name, notes.figures, notes.pictures, listed(notes.sounds))
        _save(folder, Report(figures, notes.pictures, notes.sounds, text, notes.pages))
    report_progress(1.0, "done")
    return figures


def exported_patch(run: Run, folder: Path, name: str = "preset", **options: Any) -> Patch:
    """Export a run with ``options`` of `export`, and open it with its first preset."""
    export(run, folder / "model.onnx", **options)
    model = Model(folder / "model.onnx")
    return Patch(name, first_preset(model), model, folder)


def _save(folder: Path, report: Report) -> None:
    for picture in report.pictures:
        picture.save(folder)
    _write_sounds(folder, report.sounds)
    (folder / "report.json").write_text(as_json(report.figures), encoding="utf-8")
    for name, page in {"index.html": report.page, **report.pages}.items():
        (folder / name).write_text(page, encoding="utf-8")


def _judged(run: Run, classifier: Run | None) -> Judge | None:
    if classifier is None:
        return None
    if not FAMILIES[run.recipe.family].judged:
        raise UserError(f"--classifier judges clips, and run {run.folder} makes none; leave it out")
    network, _, _ = trained(classifier, "best")
    judge = getattr(network, "judge", None)
    if judge is None:
        raise UserError(f"--classifier {classifier.folder} is no run of a classifier; train one on labelled clips")
    run_words, classifier_words = (
        getattr(getattr(labelled_run.recipe, "network", None), "words", []) for labelled_run in (run, classifier)
    )
    if unknown_words := [word for word in run_words if word not in classifier_words]:
        raise UserError(
            f"--classifier {classifier.folder} does not know label {unknown_words[0]!r}; train one on clips with these "
            "labels"
        )
    return _in_order(judge, classifier_words, run_words)


def _in_order(judge: Judge, judge_words: Sequence[str], run_words: Sequence[str]) -> Judge:
    order = [
        *map(judge_words.index, run_words),
        *(number for number, word in enumerate(judge_words) if word not in run_words),
    ]

    def judged(clips: Array, rate: int) -> JudgedClips:
        judgement = judge(clips, rate)
        return judgement._replace(posteriors=judgement.posteriors[:, order])

    return judged


def _write_sounds(folder: Path, sounds: Sequence[ReportSound]) -> None:
    """One gain for all, so that levels compare."""
    gain = PEAK / max([PEAK, *(float(np.abs(sound.samples).max()) for sound in sounds)])
    for sound in sounds:
        with sound_writer(folder / f"{sound.name}.wav", sound.rate, channels=1) as file:
            file.write((gain * sound.samples[None]).astype(np.float32))
