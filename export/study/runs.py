"""The runs of a study: trained one after another, gone on with where they were stopped, and evaluated."""

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...host.errors import UserError
from ...host.files import check_new_folder
from ...host.progress import Display
from ...train import checkpoint
from ...train.launch import resume, start
from ...train.loop import Options, Status
from ...train.recipes.base import Recipe
from ...train.recipes.load import load_recipe
from ...train.run import Run
from ..evaluate import evaluate
from ..reports.report import FORMAT, Figures

EVALUATION_SECONDS = 15.0  # about, of one run
SOON = 5.0  # seconds of work, before which its pace is a guess


@dataclass(frozen=True)
class Asked:
    """The settings of a study: a corpus, the study's own folder, recipes and changes to all of them."""

    corpus: Path
    folder: Path
    recipes: Sequence[str] | None
    changes: Sequence[str]
    steps: int | None
    accelerator: str = "auto"
    devices: int = 1


def load_recipes(asked: Asked, family: str, usual: Sequence[str]) -> list[Recipe]:
    """Return the recipes of a study, ``usual`` ones where none is named.

    Raises:
        UserError: a recipe is unknown, wrong, of another family, named twice, or has no budget of steps.
    """
    changes = [*asked.changes, *([f"training.steps={asked.steps}"] if asked.steps else [])]
    recipes = [load_recipe(name, changes) for name in asked.recipes or usual]
    for number, recipe in enumerate(recipes):
        if recipe.family != family:
            raise UserError(
                f"recipe {recipe.name} is of family {recipe.family!r}, this study compares {family!r}; "
                f"give others, such as --recipes {','.join(usual[:2])}"
            )
        if recipe.training.steps is None:
            raise UserError(f"recipe {recipe.name} has no training.steps, by which a study counts; give --steps")
        if recipe.name in (other.name for other in recipes[:number]):
            raise UserError(f"recipe {recipe.name} is named twice in --recipes; name it once")
    return recipes


def check_folder(asked: Asked, recipes: Sequence[Recipe]) -> None:
    """Make sure that the study's folder is new, or that the runs in it are those of the study.

    Raises:
        UserError: the folder holds something else or cannot be made, or its runs are of another corpus or recipe.
    """
    runs = asked.folder / "runs"
    if not runs.is_dir():
        check_new_folder(asked.folder)
    for recipe in recipes:
        check_run(runs / recipe.name, recipe, asked.corpus)


def check_run(folder: Path, recipe: Recipe, corpus: Path) -> None:
    """Make sure that a run does not exist yet, or is that of a recipe on a corpus.

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
    if run.recipe != recipe:
        raise UserError(
            f"run {folder} was trained with other settings than are asked for; "
            "give the same --set, --steps and --epochs, or another -o"
        )


def train_and_evaluate(
    asked: Asked, recipes: Sequence[Recipe], seconds: Mapping[str, float], display: Display
) -> dict[str, Figures] | None:
    """The figures of each recipe's run, by its name; None where Ctrl-C stopped one, with all that was done saved.

    Args:
        asked: its folder is one that `check_folder` passes.
        recipes: what to train; runs that are finished, and reports on them, stay as they are.
        seconds: about how long each is trained, by name: what part of the work it is.
        display: shows all of the work as one stage.

    Raises:
        UserError: the corpus cannot be used.
        Failure: a run diverged, or the disk is full.
    """
    folders = {recipe.name: asked.folder / "runs" / recipe.name for recipe in recipes}
    trained = {name for name, folder in folders.items() if _is_trained(folder)}
    found = {name: figures for name, folder in folders.items() if name in trained and (figures := _reported(folder))}
    work = {}
    for name in folders:
        if name not in found:
            work[name] = EVALUATION_SECONDS + (0 if name in trained else seconds[name])
    course = Course(display, work)
    for recipe in recipes:
        name, folder = recipe.name, folders[recipe.name]
        if name in found:
            continue
        course.begin(name)
        share = 1 - EVALUATION_SECONDS / work[name]
        options = Options(asked.accelerator, asked.devices)
        if name not in trained and not train(recipe, asked.corpus, folder, options, course, share):
            display.say(f"stopped, all is saved; the same command goes on with {folder}")
            return None
        found[name] = _evaluate(Run.open(folder), course, share)
    return {name: found[name] for name in folders}


def train(recipe: Recipe, corpus: Path, folder: Path, options: Options, course: "Course", share: float) -> bool:
    """Begin a run, or go on with it, as the first ``share`` of a part of the course.

    Args:
        options: accelerator and devices; several processes cannot share a display, and stay silent.

    Returns:
        Whether the run came to its end.

    Raises:
        UserError: the corpus or the accelerator cannot be used; nothing is left behind.
        Failure: the run diverged, or the disk is full.
    """

    def report(now: Status) -> None:
        course.update(share * now.done, f"step {now.step}, loss {now.loss:.4g}")

    if options.devices == 1:
        options = replace(options, on_report=report, on_message=course.say)
    if folder.exists():
        return not resume(folder, recipe, options).interrupted
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        return not start(recipe, corpus, folder, options).interrupted
    except UserError:
        with contextlib.suppress(OSError):  # what was made for nothing goes; where other runs are, all stays
            folder.parent.rmdir()
            folder.parent.parent.rmdir()
        raise


def _evaluate(run: Run, course: "Course", before: float) -> Figures:
    return evaluate(run, progress=lambda done, what: course.update(before + (1 - before) * done, what))


def _is_trained(folder: Path) -> bool:
    if not folder.exists():
        return False
    run = Run.open(folder)
    steps = run.recipe.training.steps
    return run.last.exists() and checkpoint.progress_of(checkpoint.load(run.last)).step >= (steps or 0)


def _reported(folder: Path) -> Figures | None:
    """Return what an earlier evaluation found of a run that was not trained since."""
    file = folder / "report" / "report.json"
    if not file.exists() or file.stat().st_mtime < (folder / "last.ckpt").stat().st_mtime:
        return None
    found: Figures = json.loads(file.read_text(encoding="utf-8"))
    return found if found["format"] == FORMAT else None


class Course:
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
