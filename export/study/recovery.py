"""The recovery study: tables and figures of Keyes et al., "Latent Vector Recovery of Audio GANs" (2020).

Each seed draws other sounds and searches. Added rows have least squares instead of the publication's 200 slopes, also
with the perceptual term, and `tuned-clip`, whose encoder is trained with its decoder.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...host.errors import UserError
from ...host.files import check_new_folder, replacing
from ...host.kinds.table import kind_of
from ...host.model.model import Model
from ...host.progress import Display
from ...train.corpus.store import Corpus
from ...train.families import FAMILIES
from ...train.families.classifier.network import Classifier
from ...train.families.recipes import load_recipe
from ...train.loop import RunOptions
from ...train.recipe import Recipe
from ...train.run import Run, trained
from ..export import export
from ..families import FAMILIES as EXPORTED
from ..reports.report import FORMAT, Figures
from .recovery_page import page, pictures
from .recovery_rows import ROWS, TABLES, InvertedBench, MeasuredRow, RecoveryBench
from .runs import StudyOptions as Trainings
from .runs import StudyProgress, Training, check_folder, is_trained, load_recipes, train, train_first, write_study

INVERT, TUNED = "invert", "tuned-clip"
FOUND = "found"  # folder of the measured rows
SECONDS_A_STEP, SECONDS_A_SOUND = 1.5, 20.0  # rough values: the progress display corrects them
SHOWN = 3  # examples per figure, as in the publication


@dataclass(frozen=True)
class RecoveryStudyOptions:
    """``subject`` is a generator's run, to be inverted, or a model with an encoder.

    ``clips`` counts sounds per table and seed.
    """

    corpus: Path
    folder: Path
    subject: Path | Model
    classifier: Path
    changes: list[str]
    seeds: int = 3
    clips: int = 60
    minutes: float | None = None
    accelerator: str = "auto"
    devices: int = 1
    ray: str | None = None


def study(asked: RecoveryStudyOptions, display: Display) -> bool:
    corpus, judge = Corpus.open(asked.corpus), trained(Run.open(asked.classifier), "best")[0]
    if not isinstance(judge, Classifier):
        raise UserError(f"--classifier {asked.classifier} is no run of a classifier; train one on labelled clips")
    display.stage("study recovery")
    if isinstance(asked.subject, Model):
        bench: RecoveryBench | None = _bench_of(asked.subject, asked, corpus, judge)
        course = StudyProgress(display, _searches(asked, ROWS))
    else:
        bench, course = _inverted(asked, asked.subject, corpus, judge, display)
    if bench is None:
        return False
    found = {table: [_table(asked, bench, table, seed, course) for seed in range(asked.seeds)] for table in TABLES}
    _write_figures(asked, corpus, bench, found)
    return True


def _bench_of(model: Model, asked: RecoveryStudyOptions, corpus: Corpus, judge: Classifier) -> RecoveryBench:
    card = model.card
    if not kind_of(card).of_clips:
        raise UserError(f"--model {card.name} is of kind {card.kind!r}; give a model of clips")
    if corpus.rate != card.sample_rate:
        raise UserError(
            f"--corpus {asked.corpus} has {corpus.rate} Hz, and model {card.name!r} {card.sample_rate}; build it with "
            f"--rate {card.sample_rate}"
        )
    if asked.changes or asked.minutes is not None:
        raise UserError("--set and --minutes change trainings, and --model needs none; leave them out")
    if not (asked.folder / FOUND).is_dir():
        check_new_folder(asked.folder)
    bench = RecoveryBench(corpus, model, judge)
    if not bench.recordings:
        raise UserError(
            f"--corpus {asked.corpus} has no recording in its test split with a label of model {card.name!r}; give one "
            f"with labels such as {', '.join(card.labels[:3])}"
        )
    return bench


def _inverted(
    asked: RecoveryStudyOptions, generator: Path, corpus: Corpus, judge: Classifier, display: Display
) -> tuple[RecoveryBench | None, StudyProgress]:
    recipes, others = _recipes(asked, generator, corpus)
    check_folder(Trainings(asked.corpus, asked.folder, None, asked.changes, None), recipes, further=True)
    course = StudyProgress(
        display, {recipe.name: _seconds(recipe) for recipe in recipes} | _searches(asked, InvertedBench.rows)
    )
    runs = {recipe.name: asked.folder / "runs" / recipe.name for recipe in recipes}
    if asked.ray is not None:
        due = [recipe for recipe in recipes if not is_trained(runs[recipe.name], recipe)]
        trainings = [_training(recipe, asked.corpus, runs[recipe.name], others.get(recipe.name, {})) for recipe in due]
        if not train_first(trainings, asked.ray, asked.accelerator, display):
            return None, course
    models = {}
    for recipe in recipes:
        run = runs[recipe.name]
        course.start_part(recipe.name)
        options = RunOptions(asked.accelerator, asked.devices)
        if not is_trained(run, recipe) and not train(
            recipe, asked.corpus, run, options, course, 1.0, others.get(recipe.name, {})
        ):
            course.stopped(run)
            return None, course
        models[recipe.name] = _up_to_date(Run.open(run), asked.folder / "models" / f"{recipe.name}.onnx")
    return InvertedBench(corpus, Run.open(runs[INVERT]), models[INVERT], models[TUNED], judge), course


def _training(recipe: Recipe, corpus: Path, run: Path, others: Mapping[str, Path]) -> Training:
    """Other machines have other current folders."""
    there = {name: folder.resolve() for name, folder in others.items()}
    return Training(recipe, corpus, run, functools.partial(train, others=there))


def _searches(asked: RecoveryStudyOptions, rows: Mapping[str, str]) -> dict[str, float]:
    each = SECONDS_A_SOUND * asked.clips * len(rows)
    return {f"{table} {seed}": each for table in TABLES for seed in range(asked.seeds)}


def _recipes(
    asked: RecoveryStudyOptions, generator: Path, corpus: Corpus
) -> tuple[list[Recipe], dict[str, dict[str, Path]]]:
    others = {"generator": Run.open(generator).recipe, "judge": Run.open(asked.classifier).recipe}
    FAMILIES[INVERT].follow(load_recipe(INVERT), others)  # refuses unsuitable runs before reading them
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
        recipe = family.complete(family.follow(recipe, others) if family.reads else recipe, corpus)
        family.check(corpus, recipe)
        recipes.append(recipe)
    return recipes, {INVERT: {"generator": generator, "judge": asked.classifier}}


def _seconds(recipe: Recipe) -> float:
    training = recipe.training
    return 60 * training.minutes if training.minutes else SECONDS_A_STEP * (training.steps or 10_000)


def _up_to_date(run: Run, path: Path) -> Model:
    if not path.exists() or path.stat().st_mtime < run.last.stat().st_mtime:
        path.parent.mkdir(exist_ok=True)
        export(run, path, overwrite=True)
    return Model(path)


def _table(
    asked: RecoveryStudyOptions, bench: RecoveryBench, table: str, seed: int, course: StudyProgress
) -> dict[str, MeasuredRow]:
    folder = asked.folder / FOUND
    folder.mkdir(parents=True, exist_ok=True)
    course.start_part(f"{table} {seed}")
    found: dict[str, MeasuredRow] = {}
    for number, row in enumerate(bench.rows):
        file = folder / f"{bench.stamp}-{table}-{seed}-{row}.npz"
        course.update(number / len(bench.rows), row)
        known = MeasuredRow.read(file, asked.clips)
        if known is None:
            known = bench.measured(table, row, seed, asked.clips)
            with replacing(file, overwrite=True) as temporary:
                known.write(temporary)
        found[row] = known
    return found


def _write_figures(
    asked: RecoveryStudyOptions,
    corpus: Corpus,
    bench: RecoveryBench,
    tables: Mapping[str, list[dict[str, MeasuredRow]]],
) -> None:
    shown: dict[str, str] = {}
    for number, (table_name, seeds) in enumerate(tables.items()):
        first = {row: measured.sounds[:SHOWN] for row, measured in seeds[0].items()}
        for picture in pictures(f"figure-{number + 2}", TABLES[table_name], first, bench.rate):
            picture.save(asked.folder)
            shown[picture.name] = picture.caption
    found: Figures = {
        "format": FORMAT,
        "study": "recovery",
        "corpus": corpus.name,
        "sounds": asked.clips,
        "seeds": asked.seeds,
        "steps": {
            name: Run.open(asked.folder / "runs" / name).logged()[-1]["step"]
            for name in (INVERT, TUNED)
            if not isinstance(asked.subject, Model)
        },
        "rows": dict(bench.rows),
        "tables": {
            table: {
                row: bench.figures([seed[row] for seed in seeds], [seed["asked"] for seed in seeds])
                for row in bench.rows
            }
            for table, seeds in tables.items()
        },
        "pictures": shown,
    }
    write_study(asked.folder, found, page(found))
