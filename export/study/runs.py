"""The runs of a study: trained one after another, gone on with where they were stopped, and evaluated."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...host.errors import UserError, nearest
from ...host.files import check_new_folder
from ...host.progress import Display
from ...train import checkpoint
from ...train.corpus.store import Corpus
from ...train.families.table import FAMILIES
from ...train.launch import resume, start
from ...train.loop import RunOptions, RunStatus
from ...train.recipes.base import Recipe
from ...train.recipes.load import load_recipe
from ...train.run import Run
from ..evaluate import evaluate
from ..reports.report import FORMAT, Figures

EVALUATION_SECONDS = 15.0  # about, of one run
BUDGETS = ("training.steps=", "training.epochs=", "training.minutes=")
SOON = 5.0  # seconds of work, before which its pace is a guess


@dataclass(frozen=True)
class StudyOptions:
    """The settings of a study: a corpus, the study's own folder, recipes and changes to all of them, or to one.

    A change is ``KEY=VALUE``, or for one recipe alone ``RECIPE:KEY=VALUE``. At most one of ``steps`` and ``minutes`` is
    given; ``classifier`` is a run, whose network judges what the others make. ``more`` are further corpora, of a study
    that compares recipes on several.
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


def load_recipes(
    asked: StudyOptions,
    families: Sequence[str],
    usual: Sequence[str],
    fitting: Callable[[Recipe], list[str]] = lambda recipe: [],
    *,
    by_steps: bool = True,
) -> list[Recipe]:
    """Return the recipes of a study, ``usual`` ones where none is named.

    Args:
        families: of which they may be.
        fitting: changes that fit a recipe to the corpus, before those that are asked for.
        by_steps: whether each has to have a budget of steps.

    Raises:
        UserError: a recipe is unknown, wrong, of another family, named twice, or has no budget of steps.
    """
    names = list(asked.recipes or usual)
    budget = [f"training.steps={asked.steps}"] if asked.steps else []
    budget += [f"training.minutes={asked.minutes}"] if asked.minutes is not None else []
    own, general = _parted(asked.changes, names)
    recipes = []
    for name in names:
        has_own = any(change.startswith(BUDGETS) for change in own[name])
        changes = [*general, *([] if has_own else budget), *own[name]]
        plain = load_recipe(name)
        if plain.family in families:
            changes = [*fitting(plain), *changes]
        recipes.append(load_recipe(name, changes))
    for number, recipe in enumerate(recipes):
        if recipe.family not in families:
            raise UserError(
                f"recipe {recipe.name} is of family {recipe.family!r}, this study compares "
                f"{', '.join(map(repr, families))}; give others, such as --recipes {','.join(usual[:2])}"
            )
        if by_steps and recipe.training.steps is None:
            raise UserError(f"recipe {recipe.name} has no training.steps, by which a study counts; give --steps")
        if recipe.name in (other.name for other in recipes[:number]):
            raise UserError(f"recipe {recipe.name} is named twice in --recipes; name it once")
    return recipes


def _parted(changes: Sequence[str], names: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the changes of each recipe alone, by its name, and those of all.

    Raises:
        UserError: one is for a recipe that is not in the study.
    """
    own: dict[str, list[str]] = {name: [] for name in names}
    general = []
    for change in changes:
        name, colon, rest = change.partition(":")
        if not colon or "=" in name:
            general.append(change)
        elif name in own:
            own[name].append(rest)
        else:
            raise UserError(f"--set {change}: no recipe of this study is named {name!r}{nearest(name, names)}")
    return own, general


def check_folder(asked: StudyOptions, recipes: Sequence[Recipe], *, further: bool = False) -> None:
    """Make sure that the study's folder is new, or that the runs in it are those of the study.

    Args:
        further: runs that were given less to train are gone on with.

    Raises:
        UserError: the folder holds something else or cannot be made, or its runs are of another corpus or recipe.
    """
    runs = asked.folder / "runs"
    if not runs.is_dir():
        check_new_folder(asked.folder)
    for recipe in recipes:
        check_run(runs / recipe.name, recipe, asked.corpus, further=further)


def check_run(folder: Path, recipe: Recipe, corpus: Path, *, further: bool = False) -> None:
    """Make sure that a run does not exist yet, or is that of a recipe on a corpus; with ``further``, or less of it.

    Raises:
        UserError: it is another, or no run.
    """
    if not folder.exists():
        return
    run = Run.open(folder)
    if (folder / run.info.corpus).resolve() != corpus.resolve():
        raise UserError(
            f"run {folder} was trained on corpus {run.info.corpus_name}, not on {corpus}; "
            "give that corpus, or another -o"
        )
    begun, recipe = run.recipe, FAMILIES[recipe.family].complete(recipe, Corpus.open(corpus))
    if further and _less(begun, recipe):
        begun = begun.model_copy(update={"training": begun.training.model_copy(update=_budget(recipe))})
    if begun != recipe:
        raise UserError(
            f"run {folder} was trained with other settings than are asked for; "
            "give the same --set, --steps and --epochs, or another -o"
        )


def _budget(recipe: Recipe) -> dict[str, float | None]:
    return {name: getattr(recipe.training, name) for name in ("epochs", "steps", "minutes")}


def _less(begun: Recipe, whole: Recipe) -> bool:
    """Return whether a recipe trains less than another; by what it counts may be another, as where a first epoch is."""
    pairs = zip(_budget(begun).values(), _budget(whole).values(), strict=True)
    return all(mine is None or other is None or mine < other for mine, other in pairs)


def train_and_evaluate(
    asked: StudyOptions,
    recipes: Sequence[Recipe],
    seconds: Mapping[str, float],
    display: Display,
    trains: "Trains | None" = None,
) -> dict[str, Figures] | None:
    """The figures of each recipe's run, by its name; None where Ctrl-C stopped one, with all that was done saved.

    Args:
        asked: its folder is one that `check_folder` passes.
        recipes: what to train; runs that are finished, and reports on them, stay as they are.
        seconds: about how long each is trained, by name: what part of the work it is.
        display: shows all of the work as one stage.
        trains: begins a run or goes on with it, as `train`, which does so otherwise.

    Raises:
        UserError: the corpus cannot be used.
        Failure: a run diverged, or the disk is full.
    """
    folders = {recipe.name: asked.folder / "runs" / recipe.name for recipe in recipes}
    judge = None if asked.classifier is None else Run.open(asked.classifier)
    trained = {recipe.name for recipe in recipes if is_trained(folders[recipe.name], recipe)}
    found = {name: old for name in trained if (old := _reported(folders[name], judged=judge is not None))}
    work = {}
    for name in folders:
        if name not in found:
            work[name] = EVALUATION_SECONDS + (0 if name in trained else seconds[name])
    course = StudyProgress(display, work)
    for recipe in recipes:
        name, folder = recipe.name, folders[recipe.name]
        if name in found:
            continue
        course.begin(name)
        share = 1 - EVALUATION_SECONDS / work[name]
        options = RunOptions(asked.accelerator, asked.devices)
        if name not in trained and not (trains or train)(recipe, asked.corpus, folder, options, course, share):
            display.say(f"stopped, all is saved; the same command goes on with {folder}")
            return None
        found[name] = _evaluate(Run.open(folder), judge, course, share)
    return {name: found[name] for name in folders}


def train(
    recipe: Recipe,
    corpus: Path,
    folder: Path,
    options: RunOptions,
    course: "StudyProgress",
    share: float,
    others: Mapping[str, Path] = {},
) -> bool:
    """Begin a run, or go on with it, as the first ``share`` of a part of the course.

    Args:
        options: accelerator and devices, and what else is told how training stands; several processes cannot share a
            display, and stay silent.
        others: folders of the runs that the recipe is built on, by name.

    Returns:
        Whether the run came to its end.

    Raises:
        UserError: the corpus or the accelerator cannot be used; nothing is left behind.
        Failure: the run diverged, or the disk is full.
    """

    also = options.on_report

    def report(now: RunStatus) -> None:
        if also is not None:
            also(now)
        course.update(share * now.done, f"step {now.step}, loss {now.loss:.4g}")

    if options.devices == 1:
        options = replace(options, on_report=report, on_message=course.say)
    if folder.exists():
        return not resume(folder, recipe, options).interrupted
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        return not start(recipe, corpus, folder, options, others).interrupted
    except UserError:
        with contextlib.suppress(OSError):  # what was made for nothing goes; where other runs are, all stays
            folder.parent.rmdir()
            folder.parent.parent.rmdir()
        raise


def _evaluate(run: Run, judge: Run | None, course: "StudyProgress", before: float) -> Figures:
    def progress(done: float, what: str) -> None:
        course.update(before + (1 - before) * done, what)

    return evaluate(run, classifier=judge, progress=progress)


def is_trained(folder: Path, recipe: Recipe) -> bool:
    """Return whether a run has come to the end of a recipe's budget of steps or minutes."""
    last = folder / "last.ckpt"
    if not last.exists():
        return False
    done, training = checkpoint.progress_of(checkpoint.load(last)), recipe.training
    return done.seconds >= 60 * training.minutes if training.minutes is not None else done.step >= (training.steps or 0)


def _reported(folder: Path, *, judged: bool) -> Figures | None:
    """Return what an earlier evaluation found of a run that was not trained since, judged if it is to be."""
    file = folder / "report" / "report.json"
    if not file.exists() or file.stat().st_mtime < (folder / "last.ckpt").stat().st_mtime:
        return None
    found: Figures = json.loads(file.read_text(encoding="utf-8"))
    if found["format"] != FORMAT or (judged and not found.get("generated", {}).get("told")):
        return None
    return found


# Begins a run or goes on with it: recipe, corpus, the run's folder, options, the course, and what part of it this is.
Trains = Callable[[Recipe, Path, Path, RunOptions, "StudyProgress", float], bool]


class StudyProgress:
    """The progress of several parts shown as one, with the time to the end of all.

    ``parts`` are seconds of work by name, guessed; only how they compare counts once some was done.
    """

    def __init__(self, display: Display, parts: Mapping[str, float]) -> None:
        self.display, self.parts = display, parts
        self.total = sum(parts.values())
        self.before = self.given = 0.0  # seconds of work: of the parts that are done, and what was found done
        self.part, self.first = "", True
        self.began = time.monotonic()

    def begin(self, part: str) -> None:
        """The next part of those given."""
        self.before += self.parts.get(self.part, 0.0)
        self.part, self.first = part, True

    def update(self, share: float, note: str) -> None:
        """Show how much of the part is done, 0 to 1, and what is being done."""
        if self.first:
            self.given += share * self.parts[self.part]
            self.first = False
        done, elapsed = self.before + share * self.parts[self.part], time.monotonic() - self.began
        mine = done - self.given
        pace = elapsed / mine if elapsed > SOON and mine > 0 else 1.0
        number = f"{1 + list(self.parts).index(self.part)} of {len(self.parts)}"
        self.display.update(done / self.total, f"{self.part} ({number}), {note}", pace * (self.total - done))

    def say(self, message: str) -> None:
        """A line that stays."""
        self.display.say(f"{self.part}: {message}")
