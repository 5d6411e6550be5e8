"""The study of recovery: the tables and figures of Keyes et al., "Latent Vector Recovery of Audio GANs" (2020).

A generator is inverted by a network, by a search, and by both, for sounds that it made (table 1) and for recordings
(table 2). Networks are trained once; sounds and searches are drawn anew for each seed. Beside the publication's rows
are ours: least squares in place of its 200 slopes, the same with the perceptual term kept, and `tuned-clip`, whose
encoder was trained with its decoder.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...host.contract.model import Model
from ...host.errors import UserError
from ...host.files import replacing
from ...host.progress import Display
from ...train.corpus.store import Corpus
from ...train.families import FAMILIES, trained
from ...train.loop import Options
from ...train.models.classifier import Classifier
from ...train.recipes.base import Recipe
from ...train.recipes.load import load_recipe
from ...train.run import Run
from ..export import export
from ..families import FAMILIES as EXPORTED
from ..reports.report import FORMAT, Figures
from .recovery_page import page, pictures
from .recovery_rows import ROWS, TABLES, Bench, Measured
from .runs import Asked as Trainings
from .runs import Course, check_folder, is_trained, load_recipes, train

Array = npt.NDArray[np.float32]

INVERT, TUNED = "invert", "tuned-clip"
SECONDS_A_STEP, SECONDS_A_SOUND = 1.5, 20.0  # about: the progress display corrects them
SHOWN = 3  # examples in each figure, as the publication has


@dataclass(frozen=True)
class Asked:
    """The settings of the study: a corpus, its own folder, the runs of a generator and of a classifier.

    ``changes`` are ``KEY=VALUE`` of both recipes, or ``RECIPE:KEY=VALUE`` of one; ``clips`` how many sounds of each
    table are looked for with each of ``seeds``.
    """

    corpus: Path
    folder: Path
    generator: Path
    classifier: Path
    changes: list[str]
    seeds: int = 3
    clips: int = 60
    minutes: float | None = None
    accelerator: str = "auto"
    devices: int = 1


def study(asked: Asked, display: Display) -> bool:
    """Train what is to be trained, recover the sounds, and write index.html, study.json and pictures into the folder.

    Returns:
        Whether it came to its end; where Ctrl-C stopped training, the same call goes on, and it goes on too after
        whatever ended it else: each row that is done is kept.

    Raises:
        UserError: a recipe, a run, the folder or the corpus cannot be used.
        Failure: a run diverged, or the disk is full.
    """
    corpus, judge = Corpus.open(asked.corpus), trained(Run.open(asked.classifier), "best")[0]
    if not isinstance(judge, Classifier):
        raise UserError(f"--classifier {asked.classifier} is no run of a classifier; train one on labelled clips")
    recipes, others = _recipes(asked, corpus)
    trainings = Trainings(asked.corpus, asked.folder, None, asked.changes, None)
    check_folder(trainings, recipes, further=True)
    display.stage("study recovery")
    work = {recipe.name: _seconds(recipe) for recipe in recipes}
    for seed in range(asked.seeds):
        work |= {f"{table} {seed}": SECONDS_A_SOUND * asked.clips * len(ROWS) for table in TABLES}
    course = Course(display, work)
    models = {}
    for recipe in recipes:
        run = asked.folder / "runs" / recipe.name
        course.begin(recipe.name)
        options = Options(asked.accelerator, asked.devices)
        if not is_trained(run, recipe) and not train(
            recipe, asked.corpus, run, options, course, 1.0, others.get(recipe.name, {})
        ):
            display.say(f"stopped, all is saved; the same command goes on with {run}")
            return False
        models[recipe.name] = _exported(Run.open(run), asked.folder / "models" / f"{recipe.name}.onnx")
    bench = Bench(corpus, Run.open(asked.folder / "runs" / INVERT), models[INVERT], models[TUNED], judge)
    found = {table: [_table(asked, bench, table, seed, course) for seed in range(asked.seeds)] for table in TABLES}
    _write(asked, corpus, bench, found)
    return True


def _recipes(asked: Asked, corpus: Corpus) -> tuple[list[Recipe], dict[str, dict[str, Path]]]:
    """Return what is to be trained, complete, and the runs that recipes are built on."""
    others = {"generator": Run.open(asked.generator).recipe, "judge": Run.open(asked.classifier).recipe}
    FAMILIES[INVERT].follows(load_recipe(INVERT), others)  # refuses other runs, before what is made of them is
    frames, words = others["generator"].frames, getattr(others["generator"], "network", None)
    labelled = bool(getattr(words, "words", []))
    like = [f"frames.{name}={getattr(frames, name)}" for name in ("sample_rate", "frame_length", "hop_length")]
    like.append(f"network.labels={str(labelled).lower()}")
    trainings = Trainings(asked.corpus, asked.folder, [INVERT, TUNED], asked.changes, None, minutes=asked.minutes)
    recipes = []
    for recipe in load_recipes(
        trainings,
        (INVERT, "clip"),
        (INVERT, TUNED),
        lambda plain: [] if plain.name == INVERT else [*EXPORTED[plain.family].changes(corpus), *like],
        by_steps=False,
    ):
        family = FAMILIES[recipe.family]
        recipe = family.complete(family.follows(recipe, others) if family.reads else recipe, corpus)
        family.check(corpus, recipe)
        recipes.append(recipe)
    return recipes, {INVERT: {"generator": asked.generator, "judge": asked.classifier}}


def _seconds(recipe: Recipe) -> float:
    training = recipe.training
    return 60 * training.minutes if training.minutes else SECONDS_A_STEP * (training.steps or 10_000)


def _exported(run: Run, path: Path) -> Model:
    """Return the model of a run, which is written unless it is there already."""
    if not path.exists() or path.stat().st_mtime < run.last.stat().st_mtime:
        path.parent.mkdir(exist_ok=True)
        export(run, path, overwrite=True)
    return Model(path)


def _table(asked: Asked, bench: Bench, table: str, seed: int, course: Course) -> dict[str, Measured]:
    """Return the rows of a table for a seed; those that an earlier call has measured are read."""
    folder = asked.folder / "found"
    folder.mkdir(exist_ok=True)
    course.begin(f"{table} {seed}")
    found: dict[str, Measured] = {}
    for number, row in enumerate(ROWS):
        file = folder / f"{table}-{seed}-{row}.npz"
        course.update(number / len(ROWS), row)
        known = Measured.read(file, asked.clips)
        if known is None:
            known = bench.measured(table, row, seed, asked.clips)
            with replacing(file, overwrite=True) as temporary:
                known.write(temporary)
        found[row] = known
    return found


def _write(asked: Asked, corpus: Corpus, bench: Bench, tables: Mapping[str, list[dict[str, Measured]]]) -> None:
    """Write the study's figures, pictures and page."""
    shown: dict[str, str] = {}
    for number, (table, seeds) in enumerate(tables.items()):
        first = {row: measured.sounds[:SHOWN] for row, measured in seeds[0].items()}
        for picture in pictures(f"figure-{number + 2}", TABLES[table], first, bench.rate):
            picture.save(asked.folder)
            shown[picture.name] = picture.caption
    found: Figures = {
        "format": FORMAT,
        "study": "recovery",
        "corpus": corpus.name,
        "sounds": asked.clips,
        "seeds": asked.seeds,
        "steps": {name: Run.open(asked.folder / "runs" / name).logged()[-1]["step"] for name in (INVERT, TUNED)},
        "tables": {
            table: {row: bench.figures([seed[row] for seed in seeds]) for row in ROWS}
            for table, seeds in tables.items()
        },
        "pictures": shown,
    }
    with replacing(asked.folder / "study.json", overwrite=True) as file:
        file.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with replacing(asked.folder / "index.html", overwrite=True) as file:
        file.write_text(page(found), encoding="utf-8")
