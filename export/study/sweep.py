"""Trains a recipe with all combinations of settings, compared in one table.

Pruning is successive halving, by thirds (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and
Hyperparameter Optimization", AISTATS 2016): all runs train to the same share of their budgets, and the best go on.
"""

import csv
import hashlib
import io
import itertools
import json
import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...host.errors import TimbrelError, UserError
from ...host.files import check_new_folder
from ...host.progress import Display
from ...train import checkpoint
from ...train.corpus.store import Corpus
from ...train.families import FAMILIES
from ...train.families.recipes import load_recipe
from ...train.launch import check_fits
from ...train.loop import Diverged, score_of
from ...train.recipe import Recipe
from ...train.run import Run
from ..reports.measure import Measure, measures_across
from ..reports.page import document
from .runs import Machines, StudyProgress, Training, train_on_cluster, write_json, write_text

MOST_TRAININGS = 1000  # trainings
LONGEST_NAME = 150  # of a run's folder: file systems allow 255 bytes
FINISHED = "finished.json"  # in a run that reached its budget, diverged, or was pruned
PAUSED = "paused.json"  # in a run that was compared with others: its score by the share of its budget
RUNGS = (1 / 9, 1 / 3)  # shares of the budget at which runs are pruned
SURVIVORS = 3  # one of so many goes on


@dataclass(frozen=True)
class SweepOptions(Machines):
    """``changes``: KEY=VALUE, or KEY=A,B,C. ``prunes``: the worst two thirds end at each of `RUNGS`."""

    recipe: str
    corpus: Path
    folder: Path
    changes: Sequence[str]
    prunes: bool = False


@dataclass(frozen=True)
class SweptRun(Training):
    settings: Mapping[str, str]

    @property
    def has_ended(self) -> bool:
        return (self.folder / FINISHED).exists()

    def finish(self, error: TimbrelError | None) -> None:
        """Note that the run reached its budget, or that it diverged."""
        self._end(1.0, "" if error is None else str(error).partition(": ")[0])

    def prune(self, share: float) -> None:
        """Note that the run ended at a share of its budget."""
        self._end(share, f"pruned at {share:.0%} of its budget")

    def go_on(self) -> None:
        """Forget that the run was pruned, so that it trains to its end."""
        path = self.folder / FINISHED
        if self.has_ended and json.loads(path.read_text(encoding="utf-8")).get("share", 1.0) < 1.0:
            path.unlink()

    def _end(self, share: float, remark: str) -> None:
        write_json(self.folder / FINISHED, {"remark": remark, "share": share})

    def paused_score(self, share: float) -> float | None:
        """Return the score at a share of the budget; None before it."""
        return self._paused_scores().get(str(share))

    def pause(self, share: float) -> None:
        """Note the score of the last validation."""
        score = score_of(Run.open(self.folder).logged()[-1])
        write_json(self.folder / PAUSED, self._paused_scores() | {str(share): score})

    def _paused_scores(self) -> dict[str, float]:
        path = self.folder / PAUSED
        scores: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return scores

    def progress(self) -> checkpoint.Progress:
        path = self.folder / "last.ckpt"
        return checkpoint.progress_of(checkpoint.load(path)) if path.exists() else checkpoint.Progress()


def sweep(options: SweepOptions, display: Display) -> bool:
    """Train all runs, and write ``sweep.csv`` and ``index.html``, best first; return False after Ctrl-C.

    A run that diverges stays in the table, without a score; those that were pruned come last. Without pruning, those of
    an earlier sweep of this folder go on.

    Raises:
        UserError: a setting, the corpus or the folder does not fit, or the folder has runs of other settings.
        Failure: the disk is full, or a cluster failed; finished runs stay.
    """
    runs, corpus = swept_runs(options), Corpus.open(options.corpus)
    if not (options.folder / "runs").is_dir():
        check_new_folder(options.folder)
    elif (options.folder / "index.html").exists() and not (options.folder / "sweep.csv").exists():
        raise UserError(f"{options.folder} is no sweep; give another folder")
    _check_others(options.folder, runs)
    for run in runs:
        check_fits(run.recipe, corpus)
        run.check()
        if options.prunes:
            _check_measures(run.recipe, corpus)
    if not options.prunes:
        for run in runs:
            run.go_on()
    for share in RUNGS if options.prunes else ():
        going = [run for run in runs if not run.has_ended or run.paused_score(share) is not None]
        if not _train(options, going, display, share):
            return False
        scored = [(score, run) for run in going if (score := run.paused_score(share)) is not None]
        scored.sort(key=operator.itemgetter(0))
        for _, run in scored[math.ceil(len(scored) / SURVIVORS) :]:
            if not run.has_ended:
                run.prune(share)
    if not _train(options, runs, display):
        return False
    table_rows = _rows(runs)
    csv_buffer = io.StringIO()
    writer = csv.writer(csv_buffer)
    writer.writerow(HEADER[:1] + list(runs[0].settings) + HEADER[1:])
    writer.writerows(table_rows)
    write_text(options.folder / "sweep.csv", csv_buffer.getvalue())
    write_text(options.folder / "index.html", _page(options, runs, table_rows))
    return True


HEADER = ["place", "score", "steps", "seconds", "run", "remark"]


def swept_runs(options: SweepOptions) -> list[SweptRun]:
    """Return all combinations; raise UserError for a wrong setting."""
    values_by_key = dict[str, list[str]]()
    for change in options.changes:
        key, equals, values_text = change.partition("=")
        if not equals:
            raise UserError(f"--set {change} is no KEY=VALUE; write it as training.seed=0,1,2")
        if key in values_by_key:
            raise UserError(f"--set {change}: {key} is set twice; give all its values at once")
        values_by_key[key] = _values(values_text)
        if len(set(values_by_key[key])) < len(values_by_key[key]):
            raise UserError(f"--set {change} gives a value twice; give each once")
    training_count = math.prod(len(choices) for choices in values_by_key.values())
    if training_count > MOST_TRAININGS:
        raise UserError(
            f"--set makes {training_count} trainings, at most {MOST_TRAININGS} are allowed; give fewer values"
        )
    runs: list[SweptRun] = []
    for combination in itertools.product(*values_by_key.values()):
        changes = [f"{key}={value}" for key, value in zip(values_by_key, combination, strict=True)]
        settings = {
            key: value for key, value in zip(values_by_key, combination, strict=True) if len(values_by_key[key]) > 1
        }
        recipe = load_recipe(options.recipe, changes)
        if duplicate := next((run for run in runs if run.recipe == recipe), None):
            raise UserError(f"{_text(duplicate.settings)} and {_text(settings)} are the same; give each value once")
        run_folder = options.folder / "runs" / (_name(settings) or recipe.name)
        runs.append(SweptRun(recipe, options.corpus, run_folder, settings))
    return runs


def _check_others(folder: Path, runs: Sequence[SweptRun]) -> None:
    """Raise UserError if the folder has a run that this sweep has not: its table would lack it."""
    known_names = {run.folder.name for run in runs}
    run_names = sorted(path.parent.name for path in (folder / "runs").glob("[!.]*/run.json"))
    if other_name := next((name for name in run_names if name not in known_names), None):
        raise UserError(
            f"{folder} has runs of another sweep, such as {other_name}, which the new table would lack; "
            "give their values too, or another -o"
        )


def _values(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    return [value_text.strip() for value_text in re.findall(r"""(?:\[[^\]]*\]|"[^"]*"|'[^']*'|[^,])+""", text)] or [""]


def _text(settings: Mapping[str, str]) -> str:
    """Write settings as KEY=VALUE, by key."""
    return " ".join(f"{key}={value}" for key, value in sorted(settings.items()))


def _name(settings: Mapping[str, str]) -> str:
    """A digest replaces characters that folders cannot have."""
    settings_text = _text(settings)
    folder_name = re.sub(r"[^\w.=+-]", "_", settings_text)
    if folder_name.replace("_", " ") == settings_text.replace("_", " ") and len(folder_name) <= LONGEST_NAME:
        return folder_name
    return f"{folder_name[:LONGEST_NAME]}-{hashlib.sha256(settings_text.encode()).hexdigest()[:8]}"


def _check_measures(recipe: Recipe, corpus: Corpus) -> None:
    """Raise `UserError` for a recipe whose validations do not compare."""
    family = FAMILIES[recipe.family]
    if not family.measures_quality(family.network(family.complete(recipe, corpus))):
        raise UserError(
            f"--prune compares validations, and the losses of {recipe.name} compete: none of them measures quality; "
            "leave it out"
        )


def _train(options: SweepOptions, runs: Sequence[SweptRun], display: Display, until: float = 1.0) -> bool:
    """Train runs to a share of their budgets, here or on a cluster; return False after Ctrl-C."""
    unfinished = [replace(run, until=until) for run in runs if not run.has_ended and run.paused_score(until) is None]
    if options.ray is not None and unfinished:
        errors = train_on_cluster(unfinished, options, display)
        if errors is None:
            return False
        for run, error in zip(unfinished, errors, strict=True):
            if error is None or isinstance(error, Diverged):
                _note_end(run, error)
        if failure := next((error for error in errors if error is not None and not isinstance(error, Diverged)), None):
            raise failure
        return True
    progress = StudyProgress(display, {run.folder.name: 1.0 for run in unfinished})
    for run in unfinished:
        progress.start_part(run.folder.name)
        try:
            if not progress.train(run, options):
                return False
        except Diverged as error:
            _note_end(run, error)
        else:
            _note_end(run, None)
    return True


def _note_end(run: SweptRun, error: TimbrelError | None) -> None:
    if error is None and run.until < 1.0:
        run.pause(run.until)
    else:
        run.finish(error)


def _rows(runs: Sequence[SweptRun]) -> list[list[str]]:
    """Return the table's rows, best first."""
    scored_rows = []
    for run in runs:
        progress = run.progress()
        ending = json.loads((run.folder / FINISHED).read_text(encoding="utf-8"))
        remark, share = ending["remark"], ending.get("share", 1.0)
        score = math.inf if remark and share == 1.0 else progress.best
        if not remark and score == math.inf:
            remark = "no checkpoint is playable: the latents have stopped varying"
        cells = [*run.settings.values(), f"{score:.6g}" if score < math.inf else "", str(progress.step)]
        place = score == math.inf, -share, score
        scored_rows.append((place, [*cells, f"{progress.seconds:.1f}", run.folder.name, remark]))
    scored_rows.sort(key=lambda entry: entry[0])
    return [[str(rank), *cells] for rank, (_, cells) in enumerate(scored_rows, 1)]


def _page(options: SweepOptions, runs: Sequence[SweptRun], rows: Sequence[Sequence[str]]) -> str:
    headings = ["Place", *runs[0].settings, "Score", "Steps", "Seconds", "Run", "Remark"]
    measures = [Measure(heading, operator.itemgetter(column)) for column, heading in enumerate(headings)]
    note = (
        "Score: the least validation loss of a run, as its recipe weighs it; of adversarial networks the Fréchet "
        "distance that chose their best checkpoint, or their last loss. Runs with other weights of the loss do not "
        "compare. Pruned runs come after those that trained to their end."
    )
    best_row = rows[0]
    verdict = f"{best_row[-2]} has the least score of {len(rows)} runs." if best_row[-5] else "No run has a score."
    sections = {"Runs": measures_across(measures, rows, note, texts=2)}
    return document(
        f"a sweep of {runs[0].recipe.name}", verdict, f"corpus {options.corpus.name}", sections, "sweep.csv"
    )
