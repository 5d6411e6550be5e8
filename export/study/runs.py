"""Trains and evaluates a study's runs, also as tasks of a Ray cluster; resumes interrupted ones."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ... import __version__
from ...host.errors import Failure, TimbrelError, UserError, nearest
from ...host.files import check_new_folder, replacing
from ...host.progress import Display
from ...host.workers import RETRIES, connect, first_line, on_this_machine
from ...train import checkpoint
from ...train.corpus.store import Corpus
from ...train.families import FAMILIES
from ...train.families.recipes import load_recipe
from ...train.launch import resume, start
from ...train.loop import Diverged, RunOptions, RunStatus
from ...train.recipe import Recipe
from ...train.run import Run
from ..evaluate import evaluate
from ..reports.report import FORMAT, Figures, as_json

LOOK_SECONDS = 0.5  # between looks at the tasks: Ctrl-C is heard then
STOPPING_SECONDS = 120.0  # longest wait for stopped trainings to measure and save


class Training(NamedTuple):
    """A run to train: new, or resumed if its folder exists.

    ``trains(recipe, corpus, folder, options, course, share)`` returns whether it finished.
    """

    recipe: Recipe
    corpus: Path
    folder: Path
    trains: Callable[..., bool]


class _Unseen:
    def update(self, share: float, note: str) -> None: ...

    def say(self, message: str) -> None: ...


def train_on_cluster(
    trainings: Sequence[Training], address: str, accelerator: str, progress: Callable[[float, str], None]
) -> list[TimbrelError | None] | None:
    """Train runs, as many at once as the cluster has room for; return each run's error, or None.

    Machines need the same paths. Tasks of dead machines resume elsewhere from the last checkpoint. After Ctrl-C,
    trainings save, and None replaces the list.

    Raises:
        UserError: no Ray, or no cluster.
    """
    ray = connect(address)
    try:
        needs_gpu = accelerator != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1
        remote_task = ray.remote(num_cpus=1, num_gpus=int(needs_gpu), max_retries=RETRIES)(_train_on_node)
        index_by_future = {}
        for training_index, training in enumerate(trainings):
            absolute_training = training._replace(corpus=training.corpus.resolve(), folder=training.folder.resolve())
            index_by_future[remote_task.remote(absolute_training, accelerator, __version__)] = training_index
        try:
            return _outcomes(ray, index_by_future, progress)
        except KeyboardInterrupt:
            for future in index_by_future:
                ray.cancel(future, recursive=False)
            ray.wait(list(index_by_future), num_returns=len(index_by_future), timeout=STOPPING_SECONDS)
            return None
    finally:
        ray.shutdown()


def _outcomes(
    ray: Any, index_by_future: dict[Any, int], progress: Callable[[float, str], None]
) -> list[TimbrelError | None] | None:
    """Wait for tasks; return each training's error in order, or None if one was interrupted."""
    errors_by_index: dict[int, TimbrelError | None] = {}
    pending_futures, was_interrupted = list(index_by_future), False
    while pending_futures:
        ready_futures, pending_futures = ray.wait(pending_futures, timeout=LOOK_SECONDS)
        for future in ready_futures:
            try:
                was_stopped, error = ray.get(future)
            except ray.exceptions.RayError as ray_error:
                was_stopped, error = (
                    False,
                    Failure(f"the Ray cluster failed: {first_line(ray_error)}; run it again to go on"),
                )
            was_interrupted |= was_stopped
            errors_by_index[index_by_future[future]] = error
        progress(
            len(errors_by_index) / len(index_by_future),
            f"{len(errors_by_index)} of {len(index_by_future)} trainings are done",
        )
    return (
        None if was_interrupted else [errors_by_index[training_index] for training_index in range(len(index_by_future))]
    )


def _train_on_node(training: Training, accelerator: str, version: str) -> tuple[bool, TimbrelError | None]:
    """Errors are values, as Ray would wrap them."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        del os.environ[name]  # of the step that started Ray: it is no launcher of this training
    try:
        if version != __version__:
            raise UserError(f"timbrel {__version__} cannot train for {version}; install the same version")
        recipe, corpus, folder, trains = training
        finished = trains(recipe, corpus, folder, RunOptions(accelerator), _Unseen(), 1.0)
    except Diverged as error:
        return False, error
    except TimbrelError as error:
        return False, type(error)(*on_this_machine(error))
    return not finished, None


EVALUATION_SECONDS = 15.0  # rough time for one run
BUDGETS = ("training.steps=", "training.epochs=", "training.minutes=")
PACE_SECONDS = 5.0  # seconds of work before the pace is reliable


@dataclass(frozen=True)
class StudyOptions:
    """``changes`` are ``KEY=VALUE``, or ``RECIPE:KEY=VALUE`` for one recipe.

    At most one of ``steps`` and ``minutes`` is set. ``more`` are further corpora, ``ray`` a cluster's address.
    """

    corpus: Path
    folder: Path
    recipes: Sequence[str] | None
    changes: Sequence[str]
    steps: int | None
    accelerator: str = "auto"
    devices: int = 1
    minutes: float | None = None
    classifier: Path | None = None
    more: Sequence[Path] = ()
    ray: str | None = None


def load_recipes(
    options: StudyOptions,
    families: Sequence[str],
    usual: Sequence[str],
    fitting: Callable[[Recipe], list[str]] = lambda recipe: [],
    *,
    by_steps: bool = True,
) -> list[Recipe]:
    """Load a study's recipes, default ``usual``; ``fitting`` returns changes that precede the user's.

    Raises:
        UserError: a recipe is unknown, wrong, of another family, repeated, or without a budget of steps.
    """
    names = list(options.recipes or usual)
    budget_changes = [f"training.steps={options.steps}"] if options.steps else []
    budget_changes += [f"training.minutes={options.minutes}"] if options.minutes is not None else []
    changes_by_recipe, general_changes = _split_changes(options.changes, names)
    recipes = []
    for name in names:
        has_budget = any(change.startswith(BUDGETS) for change in changes_by_recipe[name])
        changes = [*general_changes, *([] if has_budget else budget_changes), *changes_by_recipe[name]]
        plain_recipe = load_recipe(name)
        if plain_recipe.family in families:
            changes = [*fitting(plain_recipe), *changes]
        recipes.append(load_recipe(name, changes))
    for recipe_index, recipe in enumerate(recipes):
        if recipe.family not in families:
            raise UserError(
                f"recipe {recipe.name} is of family {recipe.family!r}, this study compares "
                f"{', '.join(map(repr, families))}; give others, such as --recipes {','.join(usual[:2])}"
            )
        if by_steps and recipe.training.steps is None:
            raise UserError(f"recipe {recipe.name} has no training.steps, by which a study counts; give --steps")
        if recipe.name in (earlier.name for earlier in recipes[:recipe_index]):
            raise UserError(f"recipe {recipe.name} is named twice in --recipes; name it once")
    return recipes


def _split_changes(changes: Sequence[str], recipe_names: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the changes of each recipe by its name, and those of all recipes."""
    changes_by_recipe: dict[str, list[str]] = {recipe_name: [] for recipe_name in recipe_names}
    general_changes = []
    for change in changes:
        recipe_name, colon, assignment = change.partition(":")
        if not colon or "=" in recipe_name:
            general_changes.append(change)
        elif recipe_name in changes_by_recipe:
            changes_by_recipe[recipe_name].append(assignment)
        else:
            raise UserError(
                f"--set {change}: no recipe of this study is named {recipe_name!r}{nearest(recipe_name, recipe_names)}"
            )
    return changes_by_recipe, general_changes


def check_folder(options: StudyOptions, recipes: Sequence[Recipe], *, further: bool = False) -> None:
    """Raise `UserError` unless the folder is new or has the study's runs, as `check_run`."""
    runs_folder = options.folder / "runs"
    if not runs_folder.is_dir():
        check_new_folder(options.folder)
    for recipe in recipes:
        check_run(runs_folder / recipe.name, recipe, options.corpus, further=further)


def check_run(folder: Path, recipe: Recipe, corpus: Path, *, further: bool = False) -> None:
    """Raise `UserError` unless a run is missing or trains the recipe on the corpus.

    ``further`` accepts a smaller budget.
    """
    if not folder.exists():
        return
    run = Run.open(folder)
    if (folder / run.info.corpus).resolve() != corpus.resolve():
        raise UserError(
            f"run {folder} was trained on corpus {run.info.corpus_name}, not on {corpus}; "
            "give that corpus, or another -o"
        )
    trained_recipe, recipe = run.recipe, FAMILIES[recipe.family].complete(recipe, Corpus.open(corpus))
    if further and _has_smaller_budget(trained_recipe, recipe):
        trained_recipe = trained_recipe.model_copy(
            update={"training": trained_recipe.training.model_copy(update=recipe.training.budget)}
        )
    if trained_recipe != recipe:
        raise UserError(
            f"run {folder} was trained with other settings than are asked for; "
            "give the same --set, --steps and --epochs, or another -o"
        )


def _has_smaller_budget(trained_recipe: Recipe, recipe: Recipe) -> bool:
    """Budgets may count in other units, as for a first epoch."""
    budget_pairs = zip(trained_recipe.training.budget.values(), recipe.training.budget.values(), strict=True)
    return all(old is None or new is None or old < new for old, new in budget_pairs)


def train_and_evaluate(
    options: StudyOptions,
    recipes: Sequence[Recipe],
    seconds: Mapping[str, float],
    display: Display,
    trains: "Trains | None" = None,
) -> dict[str, Figures] | None:
    """Return runs' figures by recipe name; None after Ctrl-C, with all progress saved.

    Args:
        options: its folder passes `check_folder`.
        recipes: finished runs and reports are kept.
        seconds: approximate training time by name, for progress.

    Raises:
        UserError: the corpus cannot be used.
        Failure: a run diverged, or the disk is full.
    """
    folders = {recipe.name: options.folder / "runs" / recipe.name for recipe in recipes}
    judge = None if options.classifier is None else Run.open(options.classifier)
    trained_names = {recipe.name for recipe in recipes if is_trained(folders[recipe.name], recipe)}
    if options.ray is not None:
        untrained_recipes = [recipe for recipe in recipes if recipe.name not in trained_names]
        trainings = [
            Training(recipe, options.corpus, folders[recipe.name], trains or train) for recipe in untrained_recipes
        ]
        if not train_first(trainings, options.ray, options.accelerator, display):
            return None
        trained_names = set(folders)
    figures = {
        name: old_figures
        for name in trained_names
        if (old_figures := _reported(folders[name], judged=judge is not None))
    }
    part_seconds = {}
    for name in folders:
        if name not in figures:
            part_seconds[name] = EVALUATION_SECONDS + (0 if name in trained_names else seconds[name])
    progress = StudyProgress(display, part_seconds)
    for recipe in recipes:
        name, folder = recipe.name, folders[recipe.name]
        if name in figures:
            continue
        progress.start_part(name)
        training_share = 1 - EVALUATION_SECONDS / part_seconds[name]
        run_options = RunOptions(options.accelerator, options.devices)
        if name not in trained_names and not (trains or train)(
            recipe, options.corpus, folder, run_options, progress, training_share
        ):
            progress.stopped(folder)
            return None
        figures[name] = _evaluate(Run.open(folder), judge, progress, training_share)
    return {name: figures[name] for name in folders}


def train_first(trainings: Sequence[Training], address: str, accelerator: str, display: Display) -> bool:
    """Train a study's runs on a cluster; return False after Ctrl-C.

    Raises:
        UserError: no cluster, or a corpus cannot be used there.
        Failure: a run diverged, or a disk is full.
    """
    errors = train_on_cluster(trainings, address, accelerator, display.update) if trainings else []
    if errors is None:
        display.say("stopped, all is saved; run the same command again to go on")
        return False
    for error in errors:
        if error is not None:
            raise error
    return True


def train(
    recipe: Recipe,
    corpus: Path,
    folder: Path,
    options: RunOptions,
    course: "StudyProgress",
    share: float,
    source_runs: Mapping[str, Path] = {},
) -> bool:
    """Start or resume a run, the first ``share`` of a part of the progress; return whether it finished.

    Args:
        options: several devices show no progress.
        source_runs: as in `train.launch.start`.

    Raises:
        UserError: the corpus or accelerator cannot be used; no files remain.
        Failure: the run diverged, or the disk is full.
    """

    caller_report = options.on_report

    def report(status: RunStatus) -> None:
        if caller_report is not None:
            caller_report(status)
        course.update(share * status.budget_share, f"step {status.step}, loss {status.loss:.4g}")

    if options.devices == 1:
        options = replace(options, on_report=report, on_message=course.say)
    if folder.exists():
        return not resume(folder, recipe, options).interrupted
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        return not start(recipe, corpus, folder, options, source_runs).interrupted
    except UserError:
        with contextlib.suppress(OSError):  # remove the new folders if empty; those with other runs stay
            folder.parent.rmdir()
            folder.parent.parent.rmdir()
        raise


def write_json(path: Path, figures: Figures) -> None:
    with replacing(path, overwrite=True) as file:
        file.write_text(as_json(figures), encoding="utf-8")


def write_study(folder: Path, figures: Figures, page: str) -> None:
    write_json(folder / "study.json", figures)
    with replacing(folder / "index.html", overwrite=True) as file:
        file.write_text(page, encoding="utf-8")


def _evaluate(run: Run, judge: Run | None, course: "StudyProgress", training_share: float) -> Figures:
    def progress(share: float, note: str) -> None:
        course.update(training_share + (1 - training_share) * share, note)

    return evaluate(run, classifier=judge, progress=progress)


def is_trained(folder: Path, recipe: Recipe) -> bool:
    checkpoint_path = folder / "last.ckpt"
    if not checkpoint_path.exists():
        return False
    progress, training_settings = checkpoint.progress_of(checkpoint.load(checkpoint_path)), recipe.training
    return (
        progress.seconds >= 60 * training_settings.minutes
        if training_settings.minutes is not None
        else progress.step >= (training_settings.steps or 0)
    )


def _reported(folder: Path, *, judged: bool) -> Figures | None:
    """Return the figures of a run's report; None if it is missing, outdated, or lacks a judge's figures."""
    report_path = folder / "report" / "report.json"
    if not report_path.exists() or report_path.stat().st_mtime < (folder / "last.ckpt").stat().st_mtime:
        return None
    figures: Figures = json.loads(report_path.read_text(encoding="utf-8"))
    if figures["format"] != FORMAT or (judged and not figures.get("generated", {}).get("told")):
        return None
    return figures


# Starts or resumes a run: recipe, corpus, run folder, options, progress, and share of its part.
Trains = Callable[[Recipe, Path, Path, RunOptions, "StudyProgress", float], bool]


class StudyProgress:
    """Shows several parts, estimated in seconds, as one progress with remaining time."""

    def __init__(self, display: Display, parts: Mapping[str, float]) -> None:
        self.display, self.parts = display, parts
        self.total = sum(parts.values())
        self.finished_seconds = self.skipped_seconds = 0.0  # seconds of work: of finished parts, and found done
        self.part, self.first = "", True
        self.began = time.monotonic()

    def start_part(self, part: str) -> None:
        self.finished_seconds += self.parts.get(self.part, 0.0)
        self.part, self.first = part, True

    def update(self, share: float, note: str) -> None:
        """Show a part's finished share, 0 to 1."""
        if self.first:
            self.skipped_seconds += share * self.parts[self.part]
            self.first = False
        done_seconds, elapsed = self.finished_seconds + share * self.parts[self.part], time.monotonic() - self.began
        worked_seconds = done_seconds - self.skipped_seconds
        pace = elapsed / worked_seconds if elapsed > PACE_SECONDS and worked_seconds > 0 else 1.0
        position_text = f"{1 + list(self.parts).index(self.part)} of {len(self.parts)}"
        self.display.update(
            done_seconds / self.total, f"{self.part} ({position_text}), {note}", pace * (self.total - done_seconds)
        )

    def stopped(self, folder: Path) -> None:
        self.display.say(f"stopped, all is saved; run the same command again to resume {folder}")

    def say(self, message: str) -> None:
        self.display.say(f"{self.part}: {message}")
