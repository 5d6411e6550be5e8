"""Trains a recipe with all combinations of settings, compared in one table."""

import csv
import hashlib
import io
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...host.errors import TimbrelError, UserError
from ...host.files import check_new_folder, replacing
from ...host.progress import Display
from ...train import checkpoint
from ...train.corpus.store import Corpus
from ...train.families.recipes import load_recipe
from ...train.launch import check_fits
from ...train.loop import Diverged, RunOptions
from ...train.recipe import Recipe
from ..reports.page import document, faint, joined, table
from .runs import StudyProgress, Training, check_run, train, train_on_cluster, write_json

MOST = 1000  # trainings
LONGEST_NAME = 150  # of a run's folder: file systems allow 255 bytes
FINISHED = "finished.json"  # in a run that reached its budget, or diverged


@dataclass(frozen=True)
class SweepOptions:
    """``changes``: KEY=VALUE, or KEY=A,B,C; ``ray``: a cluster's address."""

    recipe: str
    corpus: Path
    folder: Path
    changes: Sequence[str]
    accelerator: str = "auto"
    ray: str | None = None


class SweptRun(NamedTuple):
    settings: Mapping[str, str]
    recipe: Recipe
    folder: Path


def sweep(asked: SweepOptions, display: Display) -> bool:
    """Train all runs, and write ``sweep.csv`` and ``index.html``, best first; return False after Ctrl-C.

    A run that diverges stays in the table, without a score.

    Raises:
        UserError: a setting, the corpus or the folder does not fit.
        Failure: the disk is full, or a cluster failed; finished runs stay.
    """
    runs, corpus = swept(asked), Corpus.open(asked.corpus)
    if not (asked.folder / "runs").is_dir():
        check_new_folder(asked.folder)
    elif (asked.folder / "index.html").exists() and not (asked.folder / "sweep.csv").exists():
        raise UserError(f"{asked.folder} is no sweep; give another folder")
    for run in runs:
        check_fits(run.recipe, corpus)
        check_run(run.folder, run.recipe, asked.corpus)
    if not _train(asked, [run for run in runs if not (run.folder / FINISHED).exists()], display):
        return False
    rows = _rows(runs)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADER[:1] + list(runs[0].settings) + HEADER[1:])
    writer.writerows(rows)
    with replacing(asked.folder / "sweep.csv", overwrite=True) as file:
        file.write_text(text.getvalue(), encoding="utf-8")
    with replacing(asked.folder / "index.html", overwrite=True) as file:
        file.write_text(_page(asked, runs, rows), encoding="utf-8")
    return True


HEADER = ["place", "score", "steps", "seconds", "run", "remark"]


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
    found: list[SweptRun] = []
    for combination in itertools.product(*values.values()):
        changes = [f"{key}={value}" for key, value in zip(values, combination, strict=True)]
        settings = {key: value for key, value in zip(values, combination, strict=True) if len(values[key]) > 1}
        recipe = load_recipe(asked.recipe, changes)
        if same := next((run for run in found if run.recipe == recipe), None):
            raise UserError(f"{_text(same.settings)} and {_text(settings)} are the same; give each value once")
        found.append(SweptRun(settings, recipe, asked.folder / "runs" / (_name(settings) or recipe.name)))
    return found


def _values(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    return [part.strip() for part in re.findall(r"""(?:\[[^\]]*\]|"[^"]*"|'[^']*'|[^,])+""", text)] or [""]


def _text(settings: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(settings.items()))


def _name(settings: Mapping[str, str]) -> str:
    """A digest replaces characters that folders cannot have."""
    text = _text(settings)
    name = re.sub(r"[^\w.=+-]", "_", text)
    if name.replace("_", " ") == text.replace("_", " ") and len(name) <= LONGEST_NAME:
        return name
    return f"{name[:LONGEST_NAME]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _train(asked: SweepOptions, due: Sequence[SweptRun], display: Display) -> bool:
    if asked.ray is not None and due:
        trainings = [Training(run.recipe, asked.corpus, run.folder, train) for run in due]
        found = train_on_cluster(trainings, asked.ray, asked.accelerator, display.update)
        if found is None:
            display.say("stopped, all is saved; run the same command again to go on")
            return False
        for run, error in zip(due, found, strict=True):
            if error is None or isinstance(error, Diverged):
                _finish(run, error)
        if wrong := next((error for error in found if error is not None and not isinstance(error, Diverged)), None):
            raise wrong
        return True
    course = StudyProgress(display, {run.folder.name: 1.0 for run in due})
    for run in due:
        course.start_part(run.folder.name)
        try:
            if not train(run.recipe, asked.corpus, run.folder, RunOptions(asked.accelerator), course, 1.0):
                course.stopped(run.folder)
                return False
        except Diverged as error:
            _finish(run, error)
        else:
            _finish(run, None)
    return True


def _finish(run: SweptRun, error: TimbrelError | None) -> None:
    remark = "" if error is None else str(error).partition(": ")[0]
    write_json(run.folder / FINISHED, {"remark": remark})


def _rows(runs: Sequence[SweptRun]) -> list[list[str]]:
    found = []
    for run in runs:
        last = run.folder / "last.ckpt"
        done = checkpoint.progress_of(checkpoint.load(last)) if last.exists() else checkpoint.Progress()
        remark: str = json.loads((run.folder / FINISHED).read_text(encoding="utf-8"))["remark"]
        score = math.inf if remark else done.best
        if not remark and score == math.inf:
            remark = "no checkpoint is playable: the latents have stopped varying"
        cells = [*run.settings.values(), f"{score:.6g}" if score < math.inf else "", str(done.step)]
        found.append((score, [*cells, f"{done.seconds:.1f}", run.folder.name, remark]))
    found.sort(key=lambda entry: entry[0])
    return [[str(place), *cells] for place, (_, cells) in enumerate(found, 1)]


def _page(asked: SweepOptions, runs: Sequence[SweptRun], rows: Sequence[Sequence[str]]) -> str:
    header = ["Place", *runs[0].settings, "Score", "Steps", "Seconds", "Run", "Remark"]
    note = (
        "Score: the least validation loss of a run, as its recipe weighs it; of adversarial networks the Fréchet "
        "distance that chose their best checkpoint, or their last loss. Runs with other weights of the loss do not "
        "compare."
    )
    best = rows[0]
    verdict = f"{best[-2]} has the least score of {len(rows)} runs." if best[-5] else "No run has a score."
    found = joined([table(header, rows, len(header) - 3), faint(note)])
    return document(
        f"a sweep of {runs[0].recipe.name}", verdict, f"corpus {asked.corpus.name}", {"Runs": found}, "sweep.csv"
    )
