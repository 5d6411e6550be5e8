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
ROWS_FOLDER = "found"  # folder of the measured rows
SECONDS_A_STEP, SECONDS_A_SOUND = 1.5, 20.0  # rough values: the progress display corrects them
EXAMPLES = 3  # examples per figure, as in the publication


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


def study(options: RecoveryStudyOptions, display: Display) -> bool:
    corpus, judge = Corpus.open(options.corpus), trained(Run.open(options.classifier), "best")[0]
    if not isinstance(judge, Classifier):
        raise UserError(f"--classifier {options.classifier} is no run of a classifier; train one on labelled clips")
    display.stage("study recovery")
    if isinstance(options.subject, Model):
        bench: RecoveryBench | None = _bench_of(options.subject, options, corpus, judge)
        course = StudyProgress(display, _searches(options, ROWS))
    else:
        bench, course = _inverted(options, options.subject, corpus, judge, display)
    if bench is None:
        return False
    tables = {table: [_table(options, bench, table, seed, course) for seed in range(options.seeds)] for table in TABLES}
    _write_figures(options, corpus, bench, tables)
    return True


def _bench_of(model: Model, options: RecoveryStudyOptions, corpus: Corpus, judge: Classifier) -> RecoveryBench:
    card = model.card
    if not kind_of(card).of_clips:
        raise UserError(f"--model {card.name} is of kind {card.kind!r}; give a model of clips")
    if corpus.rate != card.sample_rate:
        raise UserError(
            f"--corpus {options.corpus} has {corpus.rate} Hz, and model {card.name!r} {card.sample_rate}; build it "
            f"with --rate {card.sample_rate}"
        )
    if options.changes or options.minutes is not None:
        raise UserError("--set and --minutes change trainings, and --model needs none; leave them out")
    if not (options.folder / ROWS_FOLDER).is_dir():
        check_new_folder(options.folder)
    bench = RecoveryBench(corpus, model, judge)
    if not bench.recordings:
        raise UserError(
            f"--corpus {options.corpus} has no recording in its test split with a label of model {card.name!r}; give "
            f"one with labels such as {', '.join(card.labels[:3])}"
        )
    return bench


def _inverted(
    options: RecoveryStudyOptions, generator: Path, corpus: Corpus, judge: Classifier, display: Display
) -> tuple[RecoveryBench | None, StudyProgress]:
    recipes, source_runs = _recipes(options, generator, corpus)
    check_folder(Trainings(options.corpus, options.folder, None, options.changes, None), recipes, further=True)
    course = StudyProgress(
        display, {recipe.name: _seconds(recipe) for recipe in recipes} | _searches(options, InvertedBench.rows)
    )
    runs = {recipe.name: options.folder / "runs" / recipe.name for recipe in recipes}
    if options.ray is not None:
        untrained = [recipe for recipe in recipes if not is_trained(runs[recipe.name], recipe)]
        trainings = [
            _training(recipe, options.corpus, runs[recipe.name], source_runs.get(recipe.name, {}))
            for recipe in untrained
        ]
        if not train_first(trainings, options.ray, options.accelerator, display):
            return None, course
    models = {}
    for recipe in recipes:
        run = runs[recipe.name]
        course.start_part(recipe.name)
        run_options = RunOptions(options.accelerator, options.devices)
        if not is_trained(run, recipe) and not train(
            recipe, options.corpus, run, run_options, course, 1.0, source_runs.get(recipe.name, {})
        ):
            course.stopped(run)
            return None, course
        models[recipe.name] = _up_to_date(Run.open(run), options.folder / "models" / f"{recipe.name}.onnx")
    return InvertedBench(corpus, Run.open(runs[INVERT]), models[INVERT], models[TUNED], judge), course


def _training(recipe: Recipe, corpus: Path, run: Path, source_runs: Mapping[str, Path]) -> Training:
    """Other machines have other current folders."""
    absolute_runs = {name: folder.resolve() for name, folder in source_runs.items()}
    return Training(recipe, corpus, run, functools.partial(train, source_runs=absolute_runs))


def _searches(options: RecoveryStudyOptions, rows: Mapping[str, str]) -> dict[str, float]:
    seconds = SECONDS_A_SOUND * options.clips * len(rows)
    return {f"{table} {seed}": seconds for table in TABLES for seed in range(options.seeds)}


def _recipes(
    options: RecoveryStudyOptions, generator: Path, corpus: Corpus
) -> tuple[list[Recipe], dict[str, dict[str, Path]]]:
    source_recipes = {"generator": Run.open(generator).recipe, "judge": Run.open(options.classifier).recipe}
    FAMILIES[INVERT].follow(load_recipe(INVERT), source_recipes)  # refuses unsuitable runs before reading them
    frames, words = source_recipes["generator"].frames, getattr(source_recipes["generator"], "network", None)
    labelled = bool(getattr(words, "words", []))
    frame_changes = [f"frames.{name}={getattr(frames, name)}" for name in ("sample_rate", "frame_length", "hop_length")]
    frame_changes.append(f"network.labels={str(labelled).lower()}")
    trainings = Trainings(
        options.corpus, options.folder, [INVERT, TUNED], options.changes, None, minutes=options.minutes
    )
    recipes = []
    for recipe in load_recipes(
        trainings,
        (INVERT, "clip"),
        (INVERT, TUNED),
        lambda plain: [] if plain.name == INVERT else [*EXPORTED[plain.family].changes(corpus), *frame_changes],
        by_steps=False,
    ):
        family = FAMILIES[recipe.family]
        recipe = family.complete(family.follow(recipe, source_recipes) if family.reads else recipe, corpus)
        family.check(corpus, recipe)
        recipes.append(recipe)
    return recipes, {INVERT: {"generator": generator, "judge": options.classifier}}


def _seconds(recipe: Recipe) -> float:
    training = recipe.training
    return 60 * training.minutes if training.minutes else SECONDS_A_STEP * (training.steps or 10_000)


def _up_to_date(run: Run, path: Path) -> Model:
    if not path.exists() or path.stat().st_mtime < run.last.stat().st_mtime:
        path.parent.mkdir(exist_ok=True)
        export(run, path, overwrite=True)
    return Model(path)


def _table(
    options: RecoveryStudyOptions, bench: RecoveryBench, table: str, seed: int, course: StudyProgress
) -> dict[str, MeasuredRow]:
    folder = options.folder / ROWS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    course.start_part(f"{table} {seed}")
    rows: dict[str, MeasuredRow] = {}
    for number, row in enumerate(bench.rows):
        file = folder / f"{bench.stamp}-{table}-{seed}-{row}.npz"
        course.update(number / len(bench.rows), row)
        measured_row = MeasuredRow.read(file, options.clips)
        if measured_row is None:
            measured_row = bench.measured(table, row, seed, options.clips)
            with replacing(file, overwrite=True) as temporary:
                measured_row.write(temporary)
        rows[row] = measured_row
    return rows


def _write_figures(
    options: RecoveryStudyOptions,
    corpus: Corpus,
    bench: RecoveryBench,
    tables: Mapping[str, list[dict[str, MeasuredRow]]],
) -> None:
    captions: dict[str, str] = {}
    for number, (table_name, seeds) in enumerate(tables.items()):
        examples = {row: measured.sounds[:EXAMPLES] for row, measured in seeds[0].items()}
        for picture in pictures(f"figure-{number + 2}", TABLES[table_name], examples, bench.rate):
            picture.save(options.folder)
            captions[picture.name] = picture.caption
    figures: Figures = {
        "format": FORMAT,
        "study": "recovery",
        "corpus": corpus.name,
        "sounds": options.clips,
        "seeds": options.seeds,
        "steps": {
            name: Run.open(options.folder / "runs" / name).logged()[-1]["step"]
            for name in (INVERT, TUNED)
            if not isinstance(options.subject, Model)
        },
        "rows": dict(bench.rows),
        "tables": {
            table: {
                row: bench.figures([seed[row] for seed in seeds], [seed["asked"] for seed in seeds])
                for row in bench.rows
            }
            for table, seeds in tables.items()
        },
        "pictures": captions,
    }
    write_study(options.folder, figures, page(figures))
