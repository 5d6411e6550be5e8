"""The recovery study: tables and figures of Keyes et al., "Latent Vector Recovery of Audio GANs" (2020).

Each seed draws other sounds and searches. Added rows have least squares instead of the publication's 200 slopes, also
with the perceptual term, and `tuned-clip`, whose encoder is trained with its decoder.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ...host.arrays import Array
from ...host.errors import UserError
from ...host.files import check_new_folder, replacing
from ...host.kinds.table import kind_of
from ...host.model.model import Model
from ...host.progress import Display
from ...train.corpus.store import Corpus
from ...train.families import FAMILIES
from ...train.families.classifier.network import Classifier
from ...train.families.gan.recipe import ClipFrames
from ...train.families.recipes import load_recipe
from ...train.run import Run, trained
from ..export import export
from ..families import FAMILIES as EXPORTED
from ..reports.clip_figures import spectrograms, waveforms
from ..reports.measure import Measure, measures_across
from ..reports.page import document, figure, joined
from ..reports.report import FORMAT, Figures, Picture
from .recovery_rows import FURTHER, ROWS, TABLES, MeasuredRow, RecoveryBench
from .runs import (
    Machines,
    StudyOptions,
    StudyProgress,
    Training,
    check_folder,
    load_recipes,
    save_pictures,
    train_first,
    write_study,
)

INVERT, TUNED = "invert", "tuned-clip"
ROWS_FOLDER = "found"  # folder of the measured rows
SECONDS_A_STEP, SECONDS_A_SOUND = 1.5, 20.0  # rough values: the progress display corrects them
USUAL_STEPS = 10_000
EXAMPLES = 3  # examples per figure, as in the publication
ROW_LABELS = {"asked": "asked for", "network": "network", "gradient": "gradient", "hybrid": "hybrid"}
# Tables 1 and 2 of the publication: inception score, mean squared error of raw audio, SSIM, accuracy.
PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "generated": {
        "asked": {"inception_score": 7.23},
        "gradient": {"inception_score": 3.96, "mse": 0.00489, "ssim": 0.9618},
        "network": {"inception_score": 7.50, "mse": 0.00196, "ssim": 0.9731},
        "hybrid": {"inception_score": 7.23, "mse": 0.00003, "ssim": 0.9979},
    },
    "recorded": {
        "asked": {"inception_score": 9.20, "accuracy": 0.9541},
        "gradient": {"inception_score": 2.20, "mse": 0.00959, "ssim": 0.953, "accuracy": 0.1717},
        "network": {"inception_score": 7.93, "mse": 0.01176, "ssim": 0.946, "accuracy": 0.7106},
        "hybrid": {"inception_score": 3.89, "mse": 0.00887, "ssim": 0.954, "accuracy": 0.3693},
    },
}
MEASURES = {
    "inception_score": ("Score", ".2f", "inception score of what the classifier takes sounds for."),
    "mse": ("MSE", ".5f", "of samples."),
    "spectrogram_mse": ("MSE, spectra", ".6f", ""),
    "ssim": ("SSIM", ".4f", "mean structural similarity of spectrograms whose largest value is 1, as for their MSE."),
    "log_mel_db": ("Log-mel, dB", ".1f", ""),
    "accuracy": ("Digit", ".1%", "sounds taken for the digit that they are."),
    "share": ("Of its own", ".1%", "how many these are of those that are so taken as they are asked for."),
    "found_again": ("Code", ".0%", "codes whose correlation with the true ones is .99 or more."),
    "seconds": ("Seconds", ".2f", "of one sound, all of a seed's searched in one batch."),
}
TITLES = {"generated": "Table 1: generated sounds", "recorded": "Table 2: recordings"}


@dataclass(frozen=True)
class RecoveryStudyOptions(Machines):
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
    trainings = _trainings(options, generator, corpus)
    check_folder(options.folder, trainings, further=True)
    progress = StudyProgress(
        display,
        {training.recipe.name: training.estimated_seconds(SECONDS_A_STEP, USUAL_STEPS) for training in trainings}
        | _searches(options, ROWS | FURTHER),
    )
    if options.ray is not None and not train_first(
        [training for training in trainings if not training.is_finished], options, display
    ):
        return None, progress
    models = {}
    for training in trainings:
        name = training.recipe.name
        progress.start_part(name)
        if not training.is_finished and not progress.train(training, options):
            return None, progress
        models[name] = _up_to_date(Run.open(training.folder), options.folder / "models" / f"{name}.onnx")
    frames = Run.open(options.folder / "runs" / INVERT).recipe.frames
    assert isinstance(frames, ClipFrames)
    return RecoveryBench(corpus, models[INVERT], judge, frames, models[TUNED]), progress


def _searches(options: RecoveryStudyOptions, rows: Mapping[str, str]) -> dict[str, float]:
    """Return the estimated seconds of each table's searches, by progress part."""
    table_seconds = SECONDS_A_SOUND * options.clips * len(rows)
    return {f"{table} {seed}": table_seconds for table in TABLES for seed in range(options.seeds)}


def _trainings(options: RecoveryStudyOptions, generator: Path, corpus: Corpus) -> list[Training]:
    """Load both recipes; the inverting network reads the runs of the generator and of the judge."""
    source_runs = {"generator": generator, "judge": options.classifier}
    source_recipes = {role: Run.open(folder).recipe for role, folder in source_runs.items()}
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
    study_options = StudyOptions(
        options.corpus, options.folder, [INVERT, TUNED], options.changes, minutes=options.minutes
    )
    trainings = []
    for recipe in load_recipes(
        study_options,
        (INVERT, "clip"),
        (INVERT, TUNED),
        lambda plain_recipe: (
            [] if plain_recipe.name == INVERT else [*EXPORTED[plain_recipe.family].changes(corpus), *frame_changes]
        ),
    ):
        family = FAMILIES[recipe.family]
        recipe = family.complete(family.follow(recipe, source_recipes) if family.reads else recipe, corpus)
        family.check(corpus, recipe)
        read_runs = source_runs if recipe.name == INVERT else {}
        trainings.append(Training(recipe, options.corpus, study_options.run_folder(recipe), source_runs=read_runs))
    return trainings


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
        drawn_pictures = pictures(f"figure-{table_index + 2}", TABLES[table_name], example_sounds, bench.rate)
        captions |= save_pictures(options.folder, drawn_pictures)
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


def pictures(name: str, subject: str, sounds_by_row: Mapping[str, Array], rate: int) -> list[Picture]:
    sounds_by_label = {label: sounds_by_row[row] for row, label in ROW_LABELS.items()}
    caption = (
        f"{subject[0].upper()}{subject[1:]} above; below, what came of their codes by network, gradient and hybrid"
    )
    return [
        waveforms(sounds_by_label, rate, f"{name}-waveforms", f"{caption}: waveforms, in seconds."),
        spectrograms(sounds_by_label, rate, f"{name}-spectrograms", f"{caption}: levels of mel bands."),
    ]


def page(figures: Figures) -> str:
    sections = {TITLES[name]: _table_of_rows(name, rows, figures["rows"]) for name, rows in figures["tables"].items()}
    sections["Examples"] = joined(figure(path, caption) for path, caption in figures["pictures"].items())
    return document(f"recovery on {figures['corpus']}", _verdict(figures), _basis(figures), sections, "study.json")


def _verdict(figures: Figures) -> str:
    figures_by_row = figures["tables"]["recorded"]
    network_figures, our_figures = figures_by_row["network"], figures_by_row["perceptual"]
    error_ratio = our_figures["spectrogram_mse"][0] / network_figures["spectrogram_mse"][0]
    opening = f"Of recordings the network keeps {network_figures['accuracy'][0]:.0%} of the digits"
    return f"{opening}, our refinement {our_figures['accuracy'][0]:.0%} at {error_ratio:.2f} of its error."


def _basis(figures: Figures) -> str:
    steps_text = " and ".join(f"{name} for {step_count} steps" for name, step_count in figures["steps"].items())
    training_text = f"networks were trained once, {steps_text}" if steps_text else "nothing was trained for it"
    return (
        f"{figures['sounds']} sounds a table with each of {figures['seeds']} seeds; {training_text}. "
        "The publication has speech commands at 16 kHz (SC09), here are the digits of the corpus."
    )


def _table_of_rows(name: str, figures_by_row: Mapping[str, Figures], labels: Mapping[str, str]) -> Markup:
    def measured_and_published(row: str, key: str) -> Any:
        measured_figure, published_figure = figures_by_row[row].get(key), PUBLISHED[name].get(row, {}).get(key)
        if row == "asked" and key not in ("inception_score", "accuracy"):
            measured_figure = None
        return measured_figure if published_figure is None else (measured_figure, published_figure)

    measures = [
        Measure(label, functools.partial(measured_and_published, key=key), f"±{number_format}", explanation)
        for key, (label, number_format, explanation) in MEASURES.items()
        if any(key in row for row in figures_by_row.values())
    ]
    note = "Means over seeds and their deviations; below in grey, the publication's."
    return measures_across([Measure("", labels.__getitem__), *measures], list(labels), note, kind="narrow")
