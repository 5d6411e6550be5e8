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
        progress = StudyProgress(display, _searches(options, ROWS))
    else:
        bench, progress = _inverted(options, options.subject, corpus, judge, display)
    if bench is None:
        return False
    tables = {
        table: [_table(options, bench, table, seed, progress) for seed in range(options.seeds)] for table in TABLES
    }
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
    """Train the inverting network and the tuned autoencoder; return their bench, None after Ctrl-C, and progress."""
    recipes, source_runs = _recipes(options, generator, corpus)
    check_folder(Trainings(options.corpus, options.folder, None, options.changes, None), recipes, further=True)
    progress = StudyProgress(
        display, {recipe.name: _seconds(recipe) for recipe in recipes} | _searches(options, InvertedBench.rows)
    )
    run_folders = {recipe.name: options.folder / "runs" / recipe.name for recipe in recipes}
    if options.ray is not None:
        untrained_recipes = [recipe for recipe in recipes if not is_trained(run_folders[recipe.name], recipe)]
        trainings = [
            _training(recipe, options.corpus, run_folders[recipe.name], source_runs.get(recipe.name, {}))
            for recipe in untrained_recipes
        ]
        if not train_first(trainings, options.ray, options.accelerator, display):
            return None, progress
    models = {}
    for recipe in recipes:
        run_folder = run_folders[recipe.name]
        progress.start_part(recipe.name)
        run_options = RunOptions(options.accelerator, options.devices)
        if not is_trained(run_folder, recipe) and not train(
            recipe, options.corpus, run_folder, run_options, progress, 1.0, source_runs.get(recipe.name, {})
        ):
            progress.stopped(run_folder)
            return None, progress
        models[recipe.name] = _up_to_date(Run.open(run_folder), options.folder / "models" / f"{recipe.name}.onnx")
    return InvertedBench(corpus, Run.open(run_folders[INVERT]), models[INVERT], models[TUNED], judge), progress


def _training(recipe: Recipe, corpus: Path, run_folder: Path, source_runs: Mapping[str, Path]) -> Training:
    """Other machines have other current folders."""
    absolute_runs = {name: folder.resolve() for name, folder in source_runs.items()}
    return Training(recipe, corpus, run_folder, functools.partial(train, source_runs=absolute_runs))


def _searches(options: RecoveryStudyOptions, rows: Mapping[str, str]) -> dict[str, float]:
    """Return the estimated seconds of each table's searches, by progress part."""
    table_seconds = SECONDS_A_SOUND * options.clips * len(rows)
    return {f"{table} {seed}": table_seconds for table in TABLES for seed in range(options.seeds)}


def _recipes(
    options: RecoveryStudyOptions, generator: Path, corpus: Corpus
) -> tuple[list[Recipe], dict[str, dict[str, Path]]]:
    """Load both recipes; return with them the folders of the runs that one reads, by recipe and role."""
    source_recipes = {"generator": Run.open(generator).recipe, "judge": Run.open(options.classifier).recipe}
    FAMILIES[INVERT].follow(load_recipe(INVERT), source_recipes)  # refuses unsuitable runs before reading them
    frame_settings, network_settings = (
        source_recipes["generator"].frames,
        getattr(source_recipes["generator"], "network", None),
    )
    has_labels = bool(getattr(network_settings, "words", []))
    frame_changes = [
        f"frames.{name}={getattr(frame_settings, name)}" for name in ("sample_rate", "frame_length", "hop_length")
    ]
    frame_changes.append(f"network.labels={str(has_labels).lower()}")
    training_options = Trainings(
        options.corpus, options.folder, [INVERT, TUNED], options.changes, None, minutes=options.minutes
    )
    recipes = []
    for recipe in load_recipes(
        training_options,
        (INVERT, "clip"),
        (INVERT, TUNED),
        lambda plain_recipe: (
            [] if plain_recipe.name == INVERT else [*EXPORTED[plain_recipe.family].changes(corpus), *frame_changes]
        ),
        by_steps=False,
    ):
        family = FAMILIES[recipe.family]
        recipe = family.complete(family.follow(recipe, source_recipes) if family.reads else recipe, corpus)
        family.check(corpus, recipe)
        recipes.append(recipe)
    return recipes, {INVERT: {"generator": generator, "judge": options.classifier}}


def _seconds(recipe: Recipe) -> float:
    training_settings = recipe.training
    return (
        60 * training_settings.minutes
        if training_settings.minutes
        else SECONDS_A_STEP * (training_settings.steps or 10_000)
    )


def _up_to_date(run: Run, path: Path) -> Model:
    """Open a run's exported model; export it first if the run is newer."""
    if not path.exists() or path.stat().st_mtime < run.last.stat().st_mtime:
        path.parent.mkdir(exist_ok=True)
        export(run, path, overwrite=True)
    return Model(path)


def _table(
    options: RecoveryStudyOptions, bench: RecoveryBench, table: str, seed: int, course: StudyProgress
) -> dict[str, MeasuredRow]:
    """Return a table's measured rows by name; measure those that no file holds."""
    folder = options.folder / ROWS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    course.start_part(f"{table} {seed}")
    measured_rows: dict[str, MeasuredRow] = {}
    for row_index, row_name in enumerate(bench.rows):
        row_path = folder / f"{bench.stamp}-{table}-{seed}-{row_name}.npz"
        course.update(row_index / len(bench.rows), row_name)
        measured_row = MeasuredRow.read(row_path, options.clips)
        if measured_row is None:
            measured_row = bench.measured(table, row_name, seed, options.clips)
            with replacing(row_path, overwrite=True) as temporary_path:
                measured_row.write(temporary_path)
        measured_rows[row_name] = measured_row
    return measured_rows


def _write_figures(
    options: RecoveryStudyOptions,
    corpus: Corpus,
    bench: RecoveryBench,
    tables: Mapping[str, list[dict[str, MeasuredRow]]],
) -> None:
    captions: dict[str, str] = {}
    for table_index, (table_name, rows_by_seed) in enumerate(tables.items()):
        example_sounds = {
            row_name: measured_row.sounds[:EXAMPLES] for row_name, measured_row in rows_by_seed[0].items()
        }
        for picture in pictures(f"figure-{table_index + 2}", TABLES[table_name], example_sounds, bench.rate):
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
                row_name: bench.figures(
                    [seed_rows[row_name] for seed_rows in rows_by_seed],
                    [seed_rows["asked"] for seed_rows in rows_by_seed],
                )
                for row_name in bench.rows
            }
            for table, rows_by_seed in tables.items()
        },
        "pictures": captions,
    }
    write_study(options.folder, figures, page(figures))
