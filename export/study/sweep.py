"""Trains a recipe with all combinations of settings, and compares the runs in one table."""

import csv
import io
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...host.errors import Failure, TimbrelError, UserError
from ...host.files import check_new_folder, replacing
from ...host.progress import Display
from ...train import checkpoint
from ...train.loop import RunOptions
from ...train.recipes.base import Recipe
from ...train.recipes.load import load_recipe
from ..reports.page import document, faint, joined, table
from .cluster import Training, train_on_cluster
from .runs import StudyProgress, check_run, is_trained, train

MOST = 1000  # trainings
LONGEST_NAME = 150  # of a run's folder: file systems allow 255 bytes


@dataclass(frozen=True)
class SweepOptions:
    """``changes``: KEY=VALUE, or KEY=A,B,C for several; ``ray``: the address of a cluster, or None."""

    recipe: str
    corpus: Path
    folder: Path
    changes: Sequence[str]
    accelerator: str = "auto"
    ray: str | None = None


class SweptRun(NamedTuple):
    """A combination of the swept settings, and its run."""

    settings: Mapping[str, str]
    recipe: Recipe
    folder: Path


def sweep(asked: SweepOptions, display: Display) -> bool:
    """Train all runs, and write ``sweep.csv`` and ``index.html``, best first; return False after Ctrl-C.

    A run that diverges stays in the table, without a loss.

    Raises:
        UserError: a setting, the corpus or the folder does not fit.
        Failure: the disk is full.
    """
    runs = swept(asked)
    if not (asked.folder / "runs").is_dir():
        check_new_folder(asked.folder)
    for run in runs:
        check_run(run.folder, run.recipe, asked.corpus)
    failures = _train(asked, [run for run in runs if not is_trained(run.folder, run.recipe)], display)
    if failures is None:
        return False
    rows = _rows(runs, failures)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADER[:1] + list(runs[0].settings) + HEADER[1:])
    writer.writerows(rows)
    with replacing(asked.folder / "sweep.csv", overwrite=True) as file:
        file.write_text(text.getvalue(), encoding="utf-8")
    with replacing(asked.folder / "index.html", overwrite=True) as file:
        file.write_text(_page(asked, runs, rows), encoding="utf-8")
    return True


HEADER = ["place", "validation_loss", "steps", "seconds", "run", "remark"]


def swept(asked: SweepOptions) -> list[SweptRun]:
    """Return all combinations; raise UserError for a wrong setting."""
    values = dict[str, list[str]]()
    for change in asked.changes:
        key, equals, text = change.partition("=")
        if not equals:
            raise UserError(f"--set {change} is no KEY=VALUE; write it as training.seed=0,1,2")
        if key in values:
            raise UserError(f"--set {change}: {key} is set twice; give all its values at once")
        values[key] = _values(text)
        if len(set(values[key])) < len(values[key]):
            raise UserError(f"--set {change} gives a value twice; give each once")
    count = math.prod(len(some) for some in values.values())
    if count > MOST:
        raise UserError(f"--set makes {count} trainings, at most {MOST} are allowed; give fewer values")
    found = []
    for combination in itertools.product(*values.values()):
        changes = [f"{key}={value}" for key, value in zip(values, combination, strict=True)]
        settings = {key: value for key, value in zip(values, combination, strict=True) if len(values[key]) > 1}
        recipe = load_recipe(asked.recipe, changes)
        found.append(SweptRun(settings, recipe, asked.folder / "runs" / (_name(settings) or recipe.name)))
    return found


def _values(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    return [part.strip() for part in re.findall(r"""(?:\[[^\]]*\]|"[^"]*"|'[^']*'|[^,])+""", text)] or [""]


def _name(settings: Mapping[str, str]) -> str:
    return re.sub(r"[^\w.=+-]", "_", " ".join(f"{key}={value}" for key, value in settings.items()))[:LONGEST_NAME]


def _train(asked: SweepOptions, due: Sequence[SweptRun], display: Display) -> dict[Path, TimbrelError] | None:
    """Return what runs failed with, by folder; None after Ctrl-C."""
    failures = dict[Path, TimbrelError]()
    if asked.ray is not None and due:
        trainings = [Training(run.recipe, asked.corpus, run.folder, train) for run in due]
        found = train_on_cluster(trainings, asked.ray, asked.accelerator, display.update)
        if found is None:
            display.say("stopped, all is saved; run the same command again to go on")
            return None
        failures = {run.folder: error for run, error in zip(due, found, strict=True) if error is not None}
    else:
        course = StudyProgress(display, {run.folder.name: 1.0 for run in due})
        for run in due:
            course.start_part(run.folder.name)
            try:
                if not train(run.recipe, asked.corpus, run.folder, RunOptions(asked.accelerator), course, 1.0):
                    course.stopped(run.folder)
                    return None
            except Failure as error:
                failures[run.folder] = error
    if wrong := next((error for error in failures.values() if isinstance(error, UserError)), None):
        raise wrong
    return failures


def _rows(runs: Sequence[SweptRun], failures: Mapping[Path, TimbrelError]) -> list[list[str]]:
    found = []
    for run in runs:
        last = run.folder / "last.ckpt"
        done = checkpoint.progress_of(checkpoint.load(last)) if last.exists() else checkpoint.Progress()
        failed = failures.get(run.folder)
        loss = math.inf if failed else done.best
        remark = "" if failed is None else str(failed).partition(":")[0]
        cells = [*run.settings.values(), f"{loss:.6g}" if loss < math.inf else "", str(done.step)]
        found.append((loss, [*cells, f"{done.seconds:.1f}", run.folder.name, remark]))
    found.sort(key=lambda entry: entry[0])
    return [[str(place), *cells] for place, (_, cells) in enumerate(found, 1)]


def _page(asked: SweepOptions, runs: Sequence[SweptRun], rows: Sequence[Sequence[str]]) -> str:
    header = ["Place", *runs[0].settings, "Validation loss", "Steps", "Seconds", "Run", "Remark"]
    note = "Validation loss: the least of each run, as its recipe weighs it; runs with other weights do not compare."
    verdict = f"{rows[0][-2]} has the least validation loss of {len(rows)} runs."
    found = joined([table(header, rows, len(header) - 3), faint(note)])
    return document(
        f"a sweep of {runs[0].recipe.name}", verdict, f"corpus {asked.corpus.name}", {"Runs": found}, "sweep.csv"
    )
