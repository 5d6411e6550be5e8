"""The recovery study: tables and figures of Keyes et al., "Latent Vector Recovery of Audio GANs" (2020).

Each seed draws other sounds and searches. Added rows search from sixteen codes instead of one, have least squares
instead of the publication's 200 slopes, also with the perceptual term, a network trained without the perceptual loss,
and `tuned-clip`, whose encoder is trained with its decoder. Rows are data of `recovery_rows`.
"""

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
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
from ...train.families.gan.generator import ClipGenerator
from ...train.families.gan.recipe import ClipFrames
from ...train.families.invert.recipe import InvertRecipe
from ...train.families.recipes import load_recipe
from ...train.run import Run, trained
from ..export import export
from ..families import FAMILIES as EXPORTED
from ..measures.floors import compare_row, jackknife_deviation, mean_error
from ..reports.clip_figures import spectrograms, waveforms
from ..reports.floor_tables import floor_sentences, floors_table
from ..reports.measure import Measure, measures_across
from ..reports.page import document, figure, joined
from ..reports.report import FORMAT, Figures, Picture
from .recovery_rows import (
    FOUND_AGAIN,
    FURTHER,
    JUDGES,
    ROWS,
    TABLES,
    MeasuredRow,
    RecoveryBench,
    RecoverySize,
    deviation_of,
)
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

INVERT, CODES, TUNED = "invert", "invert-codes", "tuned-clip"
ROWS_FOLDER = "found"  # folder of the measured rows
SECONDS_A_STEP, SECONDS_A_SOUND = 1.5, 20.0  # rough values: the progress display corrects them
USUAL_STEPS = 10_000
EXAMPLES = 3  # examples per figure, as in the publication
ROW_LABELS = {"asked": "asked for", "network": "network", "gradient-one": "gradient", "hybrid": "hybrid"}
KEPT_SHARE = 0.6  # of recordings' digits that the network keeps: below, a search has too little to lose
# Tables 1 and 2 of the publication: inception score, mean squared error of raw audio, SSIM, accuracy.
PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "generated": {
        "asked": {"inception_score": 7.23},
        "gradient-one": {"inception_score": 3.96, "mse": 0.00489, "ssim": 0.9618},
        "network": {"inception_score": 7.50, "mse": 0.00196, "ssim": 0.9731},
        "hybrid": {"inception_score": 7.23, "mse": 0.00003, "ssim": 0.9979},
    },
    "recorded": {
        "asked": {"inception_score": 9.20, "accuracy": 0.9541},
        "gradient-one": {"inception_score": 2.20, "mse": 0.00959, "ssim": 0.953, "accuracy": 0.1717},
        "network": {"inception_score": 7.93, "mse": 0.01176, "ssim": 0.946, "accuracy": 0.7106},
        "hybrid": {"inception_score": 3.89, "mse": 0.00887, "ssim": 0.954, "accuracy": 0.3693},
    },
}
MEASURES = {
    "sounds": ("Sounds", "d", "of all seeds."),
    "inception_score": ("Score", ".2f", "inception score, all sounds as one part."),
    "recorded_score": ("Recordings’", ".2f", "score of as many recordings."),
    "second_inception_score": ("Score, second", ".2f", "by the second classifier."),
    "second_recorded_score": ("Recordings’, second", ".2f", ""),
    "mse": ("MSE", ".5f", "of samples."),
    "spectrogram_mse": ("MSE, spectra", ".6f", ""),
    "ssim": ("SSIM", ".4f", "mean structural similarity of spectrograms whose largest value is 1, as for their MSE."),
    "log_mel_db": ("Log-mel, dB", ".1f", ""),
    "accuracy": (
        "Digit",
        ".1%",
        "sounds taken for the digit that they are; generated without labels, for that of the sound asked for.",
    ),
    "second_accuracy": ("Digit, second", ".1%", "by the second classifier."),
    "share": ("Of its own", ".1%", "how many these are of those that are so taken as they are asked for."),
    FOUND_AGAIN: ("Code", ".0%", "codes whose correlation with the true ones is .99 or more."),
    "seconds": ("Seconds", ".2f", "of one sound, all of a seed's searched in one batch."),
}
OF_ALL_SOUNDS = ("sounds", "score")  # ends of the keys of figures that are no means over seeds
TITLES = {"generated": "Table 1: generated sounds", "recorded": "Table 2: recordings"}


@dataclass(frozen=True)
class RecoveryStudyOptions(Machines):
    """``subject`` is a generator's run, to be inverted, or a model with an encoder.

    The first of the ``classifiers`` is the perceptual term; each judges. ``clips`` counts sounds per table and seed.
    """

    corpus: Path
    folder: Path
    subject: Path | Model
    classifiers: Sequence[Path]
    changes: list[str]
    seeds: int = 3
    clips: int = 60
    minutes: float | None = None


def study(options: RecoveryStudyOptions, display: Display) -> bool:
    corpus, judges = Corpus.open(options.corpus), _judges(options.classifiers)
    display.stage("study recovery")
    if isinstance(options.subject, Model):
        bench: RecoveryBench | None = _bench_of(options.subject, options, corpus, judges)
        progress = StudyProgress(display, _searches(options, ROWS))
    else:
        bench, progress = _inverted(options, options.subject, corpus, judges, display)
    if bench is None:
        return False
    tables = {
        table: [_table(options, bench, table, seed, progress) for seed in range(options.seeds)] for table in TABLES
    }
    _write_figures(options, corpus, bench, tables)
    return True


def _judges(folders: Sequence[Path]) -> list[Classifier]:
    """Open the classifiers.

    Raises:
        UserError: there are too many, one is no classifier, or they tell other labels.
    """
    if len(folders) > len(JUDGES):
        raise UserError(f"--classifier {folders[-1]} is one too many; this study takes one or two")
    judges: list[Classifier] = []
    for folder in folders:
        judge = trained(Run.open(folder), "best")[0]
        if not isinstance(judge, Classifier):
            raise UserError(f"--classifier {folder} is no run of a classifier; train one on labelled clips")
        if judges and judge.words != judges[0].words:
            raise UserError(
                f"--classifier {folder} tells {', '.join(judge.words[:3])} and so on, {folders[0]} other labels; "
                "train both on one corpus"
            )
        judges.append(judge)
    return judges


def _bench_of(
    model: Model, options: RecoveryStudyOptions, corpus: Corpus, judges: Sequence[Classifier]
) -> RecoveryBench:
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
    return RecoveryBench(corpus, model, judges, _size(options))


def _size(options: RecoveryStudyOptions) -> RecoverySize:
    return RecoverySize(options.seeds, options.clips)


def _inverted(
    options: RecoveryStudyOptions, generator: Path, corpus: Corpus, judges: Sequence[Classifier], display: Display
) -> tuple[RecoveryBench | None, StudyProgress]:
    """Train the inverting networks and the tuned autoencoder; return their bench, None after Ctrl-C, and progress."""
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
    further = {"network-codes": models[CODES], "tuned-clip": models[TUNED]}
    return RecoveryBench(corpus, models[INVERT], judges, _size(options), frames, further), progress


def _searches(options: RecoveryStudyOptions, rows: Mapping[str, str]) -> dict[str, float]:
    """Return the estimated seconds of each table's searches, by progress part."""
    table_seconds = SECONDS_A_SOUND * options.clips * len(rows)
    return {f"{table} {seed}": table_seconds for table in TABLES for seed in range(options.seeds)}


def _trainings(options: RecoveryStudyOptions, generator: Path, corpus: Corpus) -> list[Training]:
    """Load the recipes; both inverting networks, one without the perceptual loss, read the generator and the judge."""
    source_runs = {"generator": generator, "judge": options.classifiers[0]}
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
    invert_recipe, tuned_recipe = load_recipes(
        study_options,
        (INVERT, "clip"),
        (INVERT, TUNED),
        lambda plain_recipe: (
            [] if plain_recipe.name == INVERT else [*EXPORTED[plain_recipe.family].changes(corpus), *frame_changes]
        ),
    )
    assert isinstance(invert_recipe, InvertRecipe)
    loss_of_codes = invert_recipe.loss.model_copy(update={"recorded": 0.0, "generated": 0.0})
    codes_recipe = invert_recipe.model_copy(update={"name": CODES, "loss": loss_of_codes})
    trainings = []
    for recipe in (invert_recipe, codes_recipe, tuned_recipe):
        family = FAMILIES[recipe.family]
        recipe = family.complete(family.follow(recipe, source_recipes) if family.reads else recipe, corpus)
        family.check(corpus, recipe)
        read_runs = source_runs if family.reads else {}
        trainings.append(Training(recipe, options.corpus, study_options.run_folder(recipe), source_runs=read_runs))
    return trainings


def _up_to_date(run: Run, path: Path) -> Model:
    """Open a run's exported model; export it first if the run is newer."""
    if not path.exists() or path.stat().st_mtime < run.last.stat().st_mtime:
        path.parent.mkdir(exist_ok=True)
        export(run, path, knob_names=False, overwrite=True)
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
        row_path = folder / f"{bench.stamp(table, row_name)}-{table}-{seed}-{row_name}.npz"
        course.update(row_index / len(bench.rows), row_name)
        measured_row = MeasuredRow.read(row_path, bench.count(table, row_name))
        if measured_row is None:
            measured_row = bench.measured(table, row_name, seed)
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
        "generator": _generator_figures(options.subject),
        "steps": {
            name: Run.open(options.folder / "runs" / name).logged()[-1]["step"]
            for name in (INVERT, CODES, TUNED)
            if not isinstance(options.subject, Model)
        },
        "rows": dict(bench.rows),
        "tables": {
            table: {
                row_name: bench.figures(
                    table,
                    [seed_rows[row_name] for seed_rows in rows_by_seed],
                    [seed_rows["asked"] for seed_rows in rows_by_seed],
                )
                for row_name in bench.rows
            }
            for table, rows_by_seed in tables.items()
        },
        "floors": {table: beside_floors(bench, table, rows_by_seed) for table, rows_by_seed in tables.items()},
        "pictures": captions,
    }
    write_study(options.folder, figures, page(figures))


def _generator_figures(subject: Path | Model) -> Figures:
    """Return a generator's number of labels, and of latents; its size and steps if it is a run."""
    if isinstance(subject, Model):
        return {"labels": len(subject.card.labels), "latents": len(subject.card.latents), "size": None, "steps": None}
    run = Run.open(subject)
    network, step = trained(run, "best")[::2]
    assert isinstance(network, ClipGenerator)
    size = getattr(getattr(run.recipe, "network", None), "model_size", None)
    return {"labels": network.words, "latents": network.latents, "size": size, "steps": step}


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
    sections = {
        TITLES[name]: _table_of_rows(name, rows, figures["floors"][name], figures["rows"])
        for name, rows in figures["tables"].items()
    }
    sections["Examples"] = joined(figure(path, caption) for path, caption in figures["pictures"].items())
    return document(f"recovery on {figures['corpus']}", _verdict(figures), _basis(figures), sections, "study.json")


def _verdict(figures: Figures) -> str:
    """Return the publication's claim, that the hybrid search loses the digit, as these figures have it.

    Rows that keep no more digits than their floor come first, and no verdict is drawn from them.
    """
    floored = [
        f"{figures['rows'][row]}: {text[0].lower()}{text[1:]}"
        for row in ("network", "hybrid")
        for text in floor_sentences(figures["floors"]["recorded"][row], [f"{prefix}accuracy" for prefix in JUDGES])
    ]
    floored_text = f"Of recordings, {' '.join(floored)} " if floored else ""
    network_figures, hybrid_figures = (figures["tables"]["recorded"][row] for row in ("network", "hybrid"))
    network_shares, hybrid_shares = (
        [row[f"{prefix}accuracy"][0] for prefix in JUDGES if f"{prefix}accuracy" in row]
        for row in (network_figures, hybrid_figures)
    )
    kept_text = f"the network keeps {_shares(network_shares)} of the digits of recordings"
    if figures["generator"]["labels"]:
        return (
            f"{floored_text}Not testable here: the generator has labels, and a search keeps the label that the network "
            f"predicts ({kept_text}, the hybrid search {_shares(hybrid_shares)})."
        )
    generated_figures = figures["tables"]["generated"]["asked"]
    if min(network_shares) < KEPT_SHARE:
        return (
            f"{floored_text}Not testable here: {kept_text}, and the claim that a search loses the digit needs "
            f"{KEPT_SHARE:.0%}. The generator's inception score is {generated_figures['inception_score']:.2f}, that of "
            f"as many recordings {generated_figures['recorded_score']:.2f}."
        )
    if floored:
        return f"{floored_text}No verdict is drawn from it."
    judges_text = "" if len(network_shares) > 1 else " By one classifier: a second --classifier tells more."
    is_lost = all(hybrid < network for hybrid, network in zip(hybrid_shares, network_shares, strict=True))
    return (
        f"{kept_text[0].upper()}{kept_text[1:]}, the hybrid search {_shares(hybrid_shares)}: it "
        f"{'loses' if is_lost else 'does not lose'} digits, as the publication's does, from 71 to 37 %.{judges_text}"
    )


def _shares(shares: Sequence[float]) -> str:
    return " and ".join(f"{share:.0%}" for share in shares)


def _basis(figures: Figures) -> str:
    steps_text = " and ".join(f"{name} for {step_count} steps" for name, step_count in figures["steps"].items())
    training_text = f"networks were trained once, {steps_text}" if steps_text else "nothing was trained for it"
    generator = figures["generator"]
    size_text = f"size {generator['size']}, " if generator["size"] else ""
    step_text = f", after {generator['steps']} steps" if generator["steps"] else ""
    labels_text = f"{generator['labels']} labels" if generator["labels"] else "no labels"
    return (
        f"{figures['sounds']} sounds a table with each of {figures['seeds']} seeds, more in rows without a search; "
        f"{training_text}. The generator has {size_text}{generator['latents']} latents and {labels_text}{step_text}; "
        "the publication's WaveGAN has size 64, 100 latents, no labels, and speech commands at 16 kHz (SC09)."
    )


def _table_of_rows(
    name: str,
    figures_by_row: Mapping[str, Figures],
    rows_beside_floors: Mapping[str, Figures],
    labels: Mapping[str, str],
) -> Markup:
    def measured_and_published(row: str, key: str) -> Any:
        measured_figure, published_figure = figures_by_row[row].get(key), PUBLISHED[name].get(row, {}).get(key)
        if row == "asked" and not key.endswith((*OF_ALL_SOUNDS, "accuracy")):
            measured_figure = None
        return measured_figure if published_figure is None else (measured_figure, published_figure)

    measures = [
        Measure(
            label,
            functools.partial(measured_and_published, key=key),
            number_format if key.endswith(OF_ALL_SOUNDS) else f"±{number_format}",
            explanation,
        )
        for key, (label, number_format, explanation) in MEASURES.items()
        if any(key in row for row in figures_by_row.values())
    ]
    note = "Means over seeds and their deviations, scores of all sounds together; below in grey, the publication's."
    markup = measures_across([Measure("", labels.__getitem__), *measures], list(labels), note, kind="narrow")
    return markup + floors_table({labels[row]: floors for row, floors in rows_beside_floors.items()})


def beside_floors(
    bench: RecoveryBench, table: str, rows_by_seed: Sequence[Mapping[str, MeasuredRow]]
) -> dict[str, Figures]:
    """Return the figures of a table's rows, but for the sounds themselves, beside their floors, by row and measure."""
    counts = {row_name: bench.count(table, row_name) for row_name in bench.rows if row_name != "asked"}
    floors_by_count = {count: bench.floors(table, count) for count in set(counts.values())}
    return {
        row_name: {
            measure: _compare_seeds(floors, [VALUES[measure](seed_rows[row_name]) for seed_rows in rows_by_seed])
            for measure, floors in floors_by_count[count].items()
            if measure != FOUND_AGAIN or all(seed_rows[row_name].has_codes for seed_rows in rows_by_seed)
        }
        for row_name, count in counts.items()
    }


def _compare_seeds(floors: Figures, seed_values: Sequence[Array]) -> Figures:
    """Return floors beside a row's values, [sounds] of each seed; a single seed's deviation is over sounds."""
    means = [float(values.mean()) for values in seed_values]
    sounds = np.arange(len(seed_values[0]))
    row_deviation = deviation_of(means) if len(means) > 1 else jackknife_deviation(mean_error, seed_values[0], sounds)
    return compare_row(floors, float(np.mean(means)), row_deviation)


# By measure with floors: the values of a row's sounds, [sounds].
VALUES: dict[str, Callable[[MeasuredRow], Array]] = {
    "mse": operator.attrgetter("mse"),
    "spectrogram_mse": operator.attrgetter("spectrogram_mse"),
    "ssim": operator.attrgetter("ssim"),
    "log_mel_db": operator.attrgetter("log_mel_db"),
    "accuracy": lambda row: row.right[0],
    "second_accuracy": lambda row: row.right[1],
    FOUND_AGAIN: operator.attrgetter(FOUND_AGAIN),
}
