"""Trains and evaluates a study's runs, also as tasks of a Ray cluster; resumes interrupted ones; writes its files."""

import contextlib
import functools
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...host import extensions
from ...host.arrays import Array
from ...host.audio.sound_files import sound_writer
from ...host.errors import Failure, TimbrelError, UserError, nearest
from ...host.files import check_new_folder, replacing
from ...host.progress import Display
from ...host.workers import RETRIES, connect, first_line, on_this_machine
from ...train import checkpoint
from ...train.corpus.store import Corpus
from ...train.families import FAMILIES, package_versions
from ...train.families.recipes import load_recipe
from ...train.launch import resume, start
from ...train.loop import Diverged, RunOptions, RunStatus
from ...train.recipe import Recipe
from ...train.run import Run
from ..evaluate import evaluate, judge_for
from ..reports.report import FORMAT, Figures, Picture, as_json

LOOK_SECONDS = 0.5  # between looks at the tasks: Ctrl-C is heard then
STOPPING_SECONDS = 120.0  # longest wait for stopped trainings to measure and save


@dataclass(frozen=True, kw_only=True)
class Machines:
    """Where a study trains: on ``devices`` of an accelerator, or on the Ray cluster at the address ``ray``."""

    accelerator: str = "auto"
    devices: int = 1
    ray: str | None = None


@dataclass(frozen=True)
class Training:
    """A run to train: new, or resumed if its folder exists.

    ``source_runs``: as in `train.launch.start`; ``until``: the share of the budget at which it pauses, 1 at its end.
    """

    recipe: Recipe
    corpus: Path
    folder: Path
    source_runs: Mapping[str, Path] = field(default_factory=dict, kw_only=True)
    until: float = field(default=1.0, kw_only=True)

    def check(self, *, further: bool = False) -> None:
        """Raise `UserError` unless the run is missing or trains the recipe on the corpus, which is as at its start.

        ``further`` accepts a smaller budget.
        """
        if not self.folder.exists():
            return
        run = Run.open(self.folder)
        run.check_corpus(self.corpus)
        trained_recipe = run.recipe
        recipe = FAMILIES[self.recipe.family].complete(self.recipe, run.corpus())
        if further and _has_smaller_budget(trained_recipe, recipe):
            trained_recipe = trained_recipe.model_copy(
                update={"training": trained_recipe.training.model_copy(update=recipe.training.budget)}
            )
        if trained_recipe != recipe:
            raise UserError(
                f"run {self.folder} was trained with other settings than are asked for; "
                "give the same options again, or another -o"
            )

    @property
    def is_finished(self) -> bool:
        """True once the run has reached its budget, or lost its patience."""
        checkpoint_path = self.folder / "last.ckpt"
        if not checkpoint_path.exists():
            return False
        progress, training_settings = checkpoint.progress_of(checkpoint.load(checkpoint_path)), self.recipe.training
        if training_settings.patience is not None and progress.stale >= training_settings.patience:
            return True
        if training_settings.minutes is not None:
            return progress.seconds >= 60 * training_settings.minutes
        if training_settings.epochs is not None:
            return 0 < progress.epoch_steps * training_settings.epochs <= progress.step
        return progress.step >= (training_settings.steps or 0)

    def estimated_seconds(self, step_seconds: float, usual_steps: int) -> float:
        """Return the rough time of the training, of ``usual_steps`` if its budget counts neither minutes nor steps."""
        training_settings = self.recipe.training
        if training_settings.minutes is not None:
            return 60 * training_settings.minutes
        return step_seconds * (training_settings.steps or usual_steps)

    def train(self, options: RunOptions) -> bool:
        """Start or resume the run; return whether it got as far as it is to.

        Raises:
            UserError: the corpus or accelerator cannot be used; no files remain.
            Failure: the run diverged, or the disk is full.
        """
        options = replace(options, until=self.until)
        if self.folder.exists():
            return not resume(self.folder, self.recipe, options).interrupted
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot make folder {self.folder.parent}: {error.strerror or error}; choose another place"
            ) from None
        try:
            return not start(self.recipe, self.corpus, self.folder, options, self.source_runs).interrupted
        except UserError:
            with contextlib.suppress(OSError):  # remove the new folders if empty; those with other runs stay
                self.folder.parent.rmdir()
                self.folder.parent.parent.rmdir()
            raise

    def report(self, *, judged: bool) -> Figures | None:
        """Return the figures of the run's report; None if it is missing, outdated, or lacks a judge's figures."""
        report_path = self.folder / "report" / "report.json"
        if not report_path.exists() or report_path.stat().st_mtime < (self.folder / "last.ckpt").stat().st_mtime:
            return None
        figures: Figures = json.loads(report_path.read_text(encoding="utf-8"))
        if figures["format"] != FORMAT:
            return None
        is_judged = "words" in figures["floors"] or bool(figures.get("generated", {}).get("told"))
        return figures if is_judged or not judged else None


def _has_smaller_budget(trained_recipe: Recipe, recipe: Recipe) -> bool:
    """Budgets may count in other units, as for a first epoch."""
    budget_pairs = zip(trained_recipe.training.budget.values(), recipe.training.budget.values(), strict=True)
    return all(old is None or new is None or old < new for old, new in budget_pairs)


def train_on_cluster(
    trainings: Sequence[Training], machines: Machines, display: Display
) -> list[TimbrelError | None] | None:
    """Train runs, as many at once as the cluster has room for; return each run's error, or None after Ctrl-C.

    Machines need the same paths. Tasks of dead machines resume elsewhere from the last checkpoint. After Ctrl-C,
    trainings save.

    Raises:
        UserError: no Ray, or no cluster.
    """
    if not trainings:
        return []
    assert machines.ray is not None
    ray = connect(machines.ray)
    try:
        needs_gpu = machines.accelerator != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1
        remote_task = ray.remote(num_cpus=1, num_gpus=int(needs_gpu), max_retries=RETRIES)(_train_on_node)
        futures = [
            remote_task.remote(
                _with_absolute_paths(training),
                machines.accelerator,
                __version__,
                package_versions(training.recipe.family),
            )
            for training in trainings
        ]
        try:
            errors = _outcomes(ray, futures, display)
        except KeyboardInterrupt:
            for future in futures:
                ray.cancel(future, recursive=False)
            ray.wait(futures, num_returns=len(futures), timeout=STOPPING_SECONDS)
            errors = None
    finally:
        ray.shutdown()
    if errors is None:
        display.say("stopped, all is saved; run the same command again to go on")
    return errors


def _with_absolute_paths(training: Training) -> Training:
    """Other machines have other current folders."""
    source_runs = {name: folder.resolve() for name, folder in training.source_runs.items()}
    return replace(
        training, corpus=training.corpus.resolve(), folder=training.folder.resolve(), source_runs=source_runs
    )


def _outcomes(ray: Any, futures: Sequence[Any], display: Display) -> list[TimbrelError | None] | None:
    """Wait for tasks; return each training's error in order, or None if one was interrupted."""
    errors_by_future: dict[Any, TimbrelError | None] = {}
    pending_futures, was_interrupted = list(futures), False
    while pending_futures:
        ready_futures, pending_futures = ray.wait(pending_futures, timeout=LOOK_SECONDS)
        for future in ready_futures:
            try:
                was_stopped, errors_by_future[future] = ray.get(future)
                was_interrupted |= was_stopped
            except ray.exceptions.RayError as error:
                errors_by_future[future] = Failure(
                    f"the Ray cluster failed: {first_line(error)}; run it again to go on"
                )
        finished_count = len(errors_by_future)
        display.update(finished_count / len(futures), f"{finished_count} of {len(futures)} trainings are done")
    return None if was_interrupted else [errors_by_future[future] for future in futures]


def _train_on_node(
    training: Training, accelerator: str, version: str, packages: Mapping[str, str]
) -> tuple[bool, TimbrelError | None]:
    """Return whether a signal stopped the training, and its error: a value, as Ray would wrap one that is raised."""
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        del os.environ[name]  # of the step that started Ray: it is no launcher of this training
    try:
        if version != __version__:
            raise UserError(f"timbrel {__version__} cannot train for {version}; install the same version")
        extensions.check_versions(extensions.FAMILIES, [training.recipe.family] if packages else [], packages)
        return not training.train(RunOptions(accelerator)), None
    except Diverged as error:
        return False, error
    except TimbrelError as error:
        return False, type(error)(*on_this_machine(error))


EVALUATION_SECONDS = 15.0  # rough time for one run
BUDGETS = ("training.steps=", "training.epochs=", "training.minutes=")
PACE_SECONDS = 5.0  # seconds of work before the pace is reliable


@dataclass(frozen=True)
class StudyOptions(Machines):
    """``changes`` are ``KEY=VALUE``, or ``RECIPE:KEY=VALUE`` for one recipe.

    At most one of ``steps`` and ``minutes`` is set.
    """

    corpus: Path
    folder: Path
    recipes: Sequence[str] | None
    changes: Sequence[str]
    steps: int | None = None
    minutes: float | None = None
    classifier: Path | None = None

    def run_folder(self, recipe: Recipe) -> Path:
        return self.folder / "runs" / recipe.name


def load_recipes(
    options: StudyOptions,
    families: Sequence[str],
    usual: Sequence[str],
    fitting: Callable[[Recipe], list[str]] = lambda recipe: [],
) -> list[Recipe]:
    """Load a study's recipes, default ``usual``; ``fitting`` returns changes that precede the user's.

    Raises:
        UserError: a recipe is unknown, wrong, of another family, or repeated.
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


def parse_folders(texts: Sequence[str], roles: Sequence[str], repeatable: Sequence[str] = ()) -> dict[str, list[Path]]:
    """Parse the ``--corpus`` options of a study, ``"ROLE=FOLDER"`` each, into folders by role.

    Raises:
        UserError: wrong syntax, an unknown role, or a second folder of a role that is not ``repeatable``.
    """
    folders: dict[str, list[Path]] = {}
    for text in texts:
        role, equals, folder = text.partition("=")
        if not equals or not folder or role not in roles:
            example = f"; such as {role if role in roles else roles[0]}={folder or role}"
            hint = nearest(role, roles) if equals and role not in roles else example
            raise UserError(f"--corpus {text!r} must be PART=FOLDER, PART one of {', '.join(roles)}{hint}")
        if role in folders and role not in repeatable:
            raise UserError(f"--corpus {role} is given twice, as {folders[role][0]} and {folder}; give it once")
        folders.setdefault(role, []).append(Path(folder))
    return folders


def parse_names(noun: str, text: str, known_names: Collection[str]) -> list[str]:
    """Parse the names of an option, separated by commas; the option is ``--NOUNs``.

    Raises:
        UserError: a name is unknown or given twice.
    """
    names = [name.strip() for name in text.split(",")]
    for name_index, name in enumerate(names):
        if name not in known_names:
            raise UserError(f"--{noun}s {text!r}: no {noun} is named {name!r}; choose from {','.join(known_names)}")
        if name in names[:name_index]:
            raise UserError(f"--{noun}s {text!r} names {name} twice; name it once")
    return names


def check_folder(folder: Path, trainings: Sequence[Training], *, further: bool = False) -> None:
    """Raise `UserError` unless a study's folder is new or has its runs, as `Training.check`."""
    if not (folder / "runs").is_dir():
        check_new_folder(folder)
    for training in trainings:
        training.check(further=further)


def train_and_evaluate(
    options: StudyOptions, trainings: Sequence[Training], seconds: Mapping[str, float], display: Display
) -> dict[str, Figures] | None:
    """Return runs' figures by recipe name; None after Ctrl-C, with all progress saved.

    Args:
        options: its folder passes `check_folder`.
        trainings: finished runs and reports are kept.
        seconds: approximate training time by recipe name, for progress.

    Raises:
        UserError: the corpus cannot be used, or the classifier cannot judge.
        Failure: a run diverged, or the disk is full.
    """
    trainings_by_name = {training.recipe.name: training for training in trainings}
    judge = None if options.classifier is None else Run.open(options.classifier)
    if judge is not None:  # hours of training come before the first evaluation
        corpus = Corpus.open(options.corpus)
        for training in trainings:
            judge_for(FAMILIES[training.recipe.family].complete(training.recipe, corpus), corpus, judge)
    trained_names = {name for name, training in trainings_by_name.items() if training.is_finished}
    if options.ray is not None:
        untrained_runs = [training for name, training in trainings_by_name.items() if name not in trained_names]
        if not train_first(untrained_runs, options, display):
            return None
        trained_names = set(trainings_by_name)
    figures = {
        name: old_figures
        for name in trained_names
        if (old_figures := trainings_by_name[name].report(judged=judge is not None))
    }
    part_seconds = {
        name: EVALUATION_SECONDS + (0 if name in trained_names else seconds[name])
        for name in trainings_by_name
        if name not in figures
    }
    progress = StudyProgress(display, part_seconds)
    for name in part_seconds:
        progress.start_part(name)
        training, training_share = trainings_by_name[name], 1 - EVALUATION_SECONDS / part_seconds[name]
        if name not in trained_names and not progress.train(training, options, training_share):
            return None
        show_evaluation = functools.partial(progress.update_rest, training_share)
        figures[name] = evaluate(Run.open(training.folder), classifier=judge, progress=show_evaluation)
    return {name: figures[name] for name in trainings_by_name}


def train_first(trainings: Sequence[Training], machines: Machines, display: Display) -> bool:
    """Train a study's runs on a cluster; return False after Ctrl-C.

    Raises:
        UserError: no cluster, or a corpus cannot be used there.
        Failure: a run diverged, or a disk is full.
    """
    errors = train_on_cluster(trainings, machines, display)
    for error in errors or ():
        if error is not None:
            raise error
    return errors is not None


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
        session_work_seconds = done_seconds - self.skipped_seconds
        pace = elapsed / session_work_seconds if elapsed > PACE_SECONDS and session_work_seconds > 0 else 1.0
        position_text = f"{1 + list(self.parts).index(self.part)} of {len(self.parts)}"
        self.display.update(
            done_seconds / self.total, f"{self.part} ({position_text}), {note}", pace * (self.total - done_seconds)
        )

    def update_rest(self, start_share: float, share: float, note: str) -> None:
        """Show the finished share of all that follows a part's ``start_share``."""
        self.update(start_share + (1 - start_share) * share, note)

    def train(self, training: Training, machines: Machines, training_share: float = 1.0) -> bool:
        """Train a run, the first ``training_share`` of a part; return False after Ctrl-C, with all progress saved.

        Several devices show no progress.
        """

        def report(status: RunStatus) -> None:
            share = min(1.0, status.budget_share / training.until)
            self.update(training_share * share, f"step {status.step}, loss {status.loss:.4g}")

        options = RunOptions(machines.accelerator, machines.devices)
        if machines.devices == 1:
            options = replace(options, on_report=report, on_message=self._say)
        if training.train(options):
            return True
        self.display.say(f"stopped, all is saved; run the same command again to resume {training.folder}")
        return False

    def _say(self, message: str) -> None:
        self.display.say(f"{self.part}: {message}")


def write_text(path: Path, text: str) -> None:
    with replacing(path, overwrite=True) as file:
        file.write_text(text, encoding="utf-8")


def write_json(path: Path, figures: Figures) -> None:
    write_text(path, as_json(figures))


def write_study(folder: Path, figures: Figures, page: str) -> None:
    write_json(folder / "study.json", figures)
    write_text(folder / "index.html", page)


def save_pictures(folder: Path, pictures: Iterable[Picture]) -> dict[str, str]:
    """Draw pictures into the study's folder; return their captions by name."""
    captions = {}
    for picture in pictures:
        picture.save(folder)
        captions[picture.name] = picture.caption
    return captions


def write_sound(path: Path, samples: Array, rate: int) -> None:
    """Write a sound of one channel, [samples]."""
    with sound_writer(path, rate, channels=1, overwrite=True) as file:
        file.write(samples[np.newaxis].astype(np.float32))
