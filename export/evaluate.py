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
from .fidelity.comparison import beside
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
    say = progress or (lambda share, what: None)
    family, tried = FAMILIES[run.recipe.family], run.trial()
    measured = run if tried is None or family.keyed else tried
    request = ReportRequest(measured, *trained(measured, checkpoint), say, _judged(run, classifier))
    with contextlib.ExitStack() as stack:
        if instrument is not None and family.demo:
            request = replace(request, heard=family.demo)
        if family.played:
            if exported is None or measured is not run:
                place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                exported = functools.partial(exported_patch, measured, place, which=checkpoint)
            request = replace(request, instrument=instrument, exported=exported)
        if family.keyed and tried is not None:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            played = functools.partial(exported_patch, tried, place, which=checkpoint)
            request = replace(request, trial=HeldOutRun(tried.corpus(), trained(tried, checkpoint)[0], played))
        report = family.report(request)
        say(0.75, "drawing")
        _save(stack.enter_context(replacing_folder(run.folder / "report")), report)
    say(1.0, "done")
    return report.found


def evaluate_instrument(patch: Patch, corpus: Corpus, output: Path, *, progress: Progress | None = None) -> Figures:
    """Compare an instrument's notes with held-out notes, not its training data; return the report's figures.

    Raises:
        UserError: the keys select no note, rates differ, no held-out clip is a single note, or the output is not
            writable.
        Failure: the disk is full.
    """
    say, card = progress or (lambda share, what: None), patch.model.card
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
        notes = beside(patch, corpus, SEED, say)
        if notes is None:
            raise UserError(
                f"corpus {corpus.folder} holds no single note under test or val; build one of recordings of single "
                "notes, with --split"
            )
        found: Figures = {
            "format": FORMAT,
            "instrument": patch.name,
            "model": card.name,
            "corpus": corpus.name,
            "notes": notes.found,
        }
        text = instrument_page(patch.name, corpus.name, notes.found, notes.pictures, listed(notes.sounds))
        _save(folder, Report(found, notes.pictures, notes.sounds, text, notes.pages))
    say(1.0, "done")
    return found


def exported_patch(run: Run, folder: Path, name: str = "preset", **options: Any) -> Patch:
    """Export a run with ``options`` of `export`, and open it with its first preset."""
    export(run, folder / "model.onnx", **options)
    model = Model(folder / "model.onnx")
    return Patch(name, first_preset(model), model, folder)


def _save(folder: Path, report: Report) -> None:
    for picture in report.pictures:
        picture.save(folder)
    _write_sounds(folder, report.sounds)
    (folder / "report.json").write_text(as_json(report.found), encoding="utf-8")
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
    asked, known = (getattr(getattr(of.recipe, "network", None), "words", []) for of in (run, classifier))
    if strange := [word for word in asked if word not in known]:
        raise UserError(
            f"--classifier {classifier.folder} does not know label {strange[0]!r}; train one on clips with these labels"
        )
    return _in_order(judge, known, asked)


def _in_order(judge: Judge, known: Sequence[str], first: Sequence[str]) -> Judge:
    order = [*map(known.index, first), *(number for number, word in enumerate(known) if word not in first)]

    def judged(clips: Array, rate: int) -> JudgedClips:
        found = judge(clips, rate)
        return found._replace(posteriors=found.posteriors[:, order])

    return judged


def _write_sounds(folder: Path, sounds: Sequence[ReportSound]) -> None:
    """One gain for all, so that levels compare."""
    gain = PEAK / max([PEAK, *(float(np.abs(sound.samples).max()) for sound in sounds)])
    for sound in sounds:
        with sound_writer(folder / f"{sound.name}.wav", sound.rate, channels=1) as file:
            file.write((gain * sound.samples[None]).astype(np.float32))
