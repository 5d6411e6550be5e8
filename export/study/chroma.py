"""The chroma study: tables, figures and claims of Colonel & Keene (2020) on freely available corpora.

DIR/corpora/CORPUS/              one velocity of a corpus whose velocities are copies
DIR/runs/CORPUS-RECIPE-SEED/     a run, with its checkpoints and:
    figures.json, codes.npz      its measurements
    model.onnx                   the exported file, for the mesh
    mesh.json, mesh.npz          results on the mesh
DIR/report/                      index.html, report.json and pictures
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...host.errors import UserError
from ...host.files import check_new_folder, replacing, replacing_folder
from ...host.model.model import Model
from ...host.progress import Display
from ...host.units import PITCH_CLASSES
from ...train.corpus.clip_table import SPLITS
from ...train.corpus.store import Corpus
from ...train.families import FAMILIES
from ...train.families.chroma.recipe import ChromaRecipe
from ...train.families.recipes import load_recipe
from ...train.frames import is_tonal
from ...train.run import Run
from ..export import export
from ..reports.measure import two_digits
from ..reports.report import Figures, Picture
from .chroma_claims import (
    DIVERGENCES,
    OCTAVE,
    OCTAVES,
    PERFORMERS,
    VAES,
    VIOLIN,
    RunKey,
    sweep,
    swept_run,
    verdicts,
)
from .chroma_corpora import chroma_agreement, has_copies, write_loudest
from .chroma_measures import Answers, TrainingCodes, accuracy, measure, mesh, strongest
from .chroma_page import LatentPanel, accounting, embeddings, page
from .runs import Machines, StudyProgress, Training, check_folder, parse_folders, parse_names, train_first, write_json

CORPORA = (OCTAVE, OCTAVES, VIOLIN, *PERFORMERS)
SIDES = {2: 350, 3: 50, 8: 5}  # points along each latent, by the number of latents: section V-A
LARGEST_MESH = 10_000_000  # points: 320 MB of codes


def _rows(corpora: Sequence[str], *recipes: str) -> tuple[RunKey, ...]:
    return tuple((corpus, recipe) for corpus in corpora for recipe in recipes)


# By name: corpus and recipe of each row, with a tuned recipe beside the paper's. The paper has no beta-VAE table, and
# its violin is another: single notes for training, performances for validation and test, as "performances" has them.
TABLES: dict[str, tuple[RunKey, ...]] = {
    "1": _rows([OCTAVES], "chroma-8-lrelu-none", "chroma-8-lrelu-difference", "chroma-8-lrelu", "tuned-8"),
    "2": _rows([OCTAVE], "chroma-2-lrelu-noskip", "chroma-2-lrelu", "chroma-2-noskip", "chroma-2", "tuned-2"),
    "3": _rows([VIOLIN], "chroma-2-lrelu-noskip", "chroma-2-lrelu", "chroma-2-noskip", "chroma-2", "tuned-2"),
    "4": _rows([OCTAVE, VIOLIN], "chroma-3-noskip", "chroma-3", "tuned-3"),
    "5": _rows([OCTAVE, VIOLIN], "chroma-2", "chroma-3", "chroma-8", "tuned-2", "tuned-3", "tuned-8"),
    "vae": _rows([OCTAVE], "chroma-8-vae-noskip", "chroma-8-vae", "chroma-8", "tuned-8"),
    "beta": tuple(swept_run(vae, divergence) for divergence in DIVERGENCES for vae in VAES),
    "performances": _rows(
        PERFORMERS,
        "chroma-2-lrelu-noskip",
        "chroma-2-lrelu",
        "chroma-2-noskip",
        "chroma-2",
        "chroma-3-noskip",
        "chroma-3",
    ),
}
EMBEDDINGS = {2: ("2", OCTAVE), 3: ("3", VIOLIN)}  # by figure: table and corpus
ACCOUNTS = {4: OCTAVE, 5: VIOLIN}
PANELS = {
    "chroma-2-lrelu-noskip": (0, 0, "LReLU, no skip"),
    "chroma-2-lrelu": (0, 1, "LReLU, skip"),
    "chroma-2-noskip": (1, 0, "sigmoid, no skip"),
    "chroma-2": (1, 1, "sigmoid, skip"),
    "tuned-2": (1, 2, "tuned-2"),
}


@dataclass(frozen=True)
class ChromaStudyOptions(Machines):
    """Settings of the chroma study.

    Args:
    corpora: folders by role, from `CORPORA`.
    changes: ``key=value``, for all recipes.
    seeds: trainings per network, with seeds from 0.
    epochs: per network; the paper's by default.
    """

    corpora: Mapping[str, Path]
    folder: Path
    tables: Sequence[str] = tuple(TABLES)
    changes: Sequence[str] = ()
    seeds: int = 3
    epochs: int = 300
    sides: Mapping[int, int] = field(default_factory=lambda: SIDES)


@dataclass(frozen=True)
class Job(Training):
    """A network to train and to measure, on the corpus of a role; ``meshed``: in Table V."""

    recipe: ChromaRecipe
    run_key: RunKey
    meshed: bool

    @property
    def role(self) -> str:
        return self.run_key[0]

    @property
    def figures(self) -> Figures:
        figures = self.read("figures.json")
        assert figures is not None
        return figures

    def read(self, file_name: str) -> Figures | None:
        """Read a JSON file of the run; None if it is missing."""
        path = self.folder / file_name
        if not path.exists():
            return None
        figures: Figures = json.loads(path.read_text(encoding="utf-8"))
        return figures

    @property
    def is_measured(self) -> bool:
        """The run has its figures, with floors."""
        figures = self.read("figures.json")
        return figures is not None and "floors" in figures

    def save(self, file_name: str, **arrays: Any) -> None:
        with replacing(self.folder / file_name, overwrite=True) as file:
            np.savez_compressed(file, **arrays)


def parse_corpora(texts: Sequence[str]) -> dict[str, Path]:
    """Parse folders by role from ``"octave=DIR"`` and similar.

    Raises:
        UserError: wrong syntax, an unknown role, or a role given twice.
    """
    return {role: folders[0] for role, folders in parse_folders(texts, CORPORA).items()}


def parse_tables(text: str) -> list[str]:
    """Parse tables from ``"1,2"``.

    Raises:
        UserError: a table is unknown or named twice.
    """
    return parse_names("table", text, TABLES)


def parse_mesh(text: str) -> dict[int, int]:
    """Parse mesh sides of two, three and eight latents from ``"350,50,5"``.

    Raises:
        UserError: not three integers of at least 2, or a mesh too large for memory.
    """
    number_texts = [number_text.strip() for number_text in text.split(",")]
    if len(number_texts) != len(SIDES) or not all(
        number_text.isdecimal() and len(number_text) < 6 and int(number_text) >= 2 for number_text in number_texts
    ):
        raise UserError(
            f"--mesh {text!r} must be three whole numbers from 2 on: points along each of 2, 3 and 8 latents, "
            "such as 350,50,5"
        )
    sides = dict(zip(SIDES, map(int, number_texts), strict=True))
    for latents, side in sides.items():
        if side**latents > LARGEST_MESH:
            raise UserError(
                f"--mesh {text!r}: {side} points along {latents} latents are {side**latents} in all, "
                f"{LARGEST_MESH} are allowed; give fewer"
            )
    return sides


FORMAT = 2  # 1 had no floors
OPERATIONS = 1e11  # a second, roughly, of one core; the progress display corrects it
MEASURING_SECONDS = 10.0  # rough time for one run


def study(options: ChromaStudyOptions, display: Display) -> bool:
    tables = _tables(options)
    _check_corpora(options, _jobs(options, tables))  # before the study's folder has files
    options = _with_one_velocity(options, tables, display)
    jobs = _jobs(options, tables)
    frame_counts = _check_corpora(options, jobs)
    check_folder(options.folder, jobs)
    for line in _left_out(options, tables):
        display.say(line)
    display.stage("study chroma")
    if options.ray is not None:
        unmeasured_jobs = [job for job in jobs if not job.is_measured]
        if not train_first(unmeasured_jobs, options, display):
            return False
    progress = StudyProgress(
        display, {job.folder.name: sum(_seconds(job, frame_counts[job.role], options)) for job in jobs}
    )
    for job in jobs:
        progress.start_part(job.folder.name)
        if not _make(job, frame_counts[job.role], options, progress):
            return False
    _write_report(options, tables, jobs)
    return True


def _tables(options: ChromaStudyOptions) -> dict[str, list[RunKey]]:
    run_keys_by_table = {
        name: [run_key for run_key in run_keys if run_key[0] in options.corpora]
        for name, run_keys in TABLES.items()
        if name in options.tables
    }
    if not any(run_keys_by_table.values()):
        needed_corpora = dict.fromkeys(corpus for name in options.tables for corpus, _ in TABLES[name])
        raise UserError(
            f"--tables {','.join(options.tables)} need corpora that are not given; "
            f"give {' or '.join(f'--corpus {name}=FOLDER' for name in needed_corpora)}"
        )
    return {name: run_keys for name, run_keys in run_keys_by_table.items() if run_keys}


def _with_one_velocity(
    options: ChromaStudyOptions, tables: Mapping[str, Sequence[RunKey]], display: Display
) -> ChromaStudyOptions:
    """Replace corpora whose velocities are copies of one waveform by their loudest velocity, in the study's folder."""
    corpora = dict(options.corpora)
    for role in dict.fromkeys(role for run_keys in tables.values() for role, _ in run_keys):
        corpus = Corpus.open(corpora[role])
        if has_copies(corpus):
            runs_folder = options.folder / "runs"
            if not runs_folder.is_dir():
                check_new_folder(options.folder)
                runs_folder.mkdir(parents=True)
            corpora[role] = write_loudest(corpus, options.folder / "corpora" / role).folder
            display.say(f"{role}: its velocities are copies of one waveform; the loudest is taken")
    return replace(options, corpora=corpora)


def _left_out(options: ChromaStudyOptions, tables: Mapping[str, Sequence[RunKey]]) -> list[str]:
    """Return a sentence for each table that lacks rows, or all of them, for want of a corpus."""
    lines = []
    for name in options.tables:
        lacking_corpora = dict.fromkeys(corpus for corpus, _ in TABLES[name] if corpus not in options.corpora)
        if lacking_corpora:
            complaint = f"table {name} lacks its rows on" if name in tables else f"table {name} is left out: it is on"
            missing_options = " and ".join(f"--corpus {corpus}=" for corpus in lacking_corpora)
            lines.append(f"{complaint} {' and '.join(lacking_corpora)}, and {missing_options} is not given")
    return lines


def _jobs(options: ChromaStudyOptions, tables: Mapping[str, Sequence[RunKey]]) -> list[Job]:
    """Seed by seed, so that a stopped study has whole tables."""
    jobs = []
    for seed in range(options.seeds):
        changes = [f"training.epochs={options.epochs}", *options.changes, f"training.seed={seed}"]
        for run_key in dict.fromkeys(run_key for run_keys in tables.values() for run_key in run_keys):
            role, row_text = run_key
            folder = options.folder / "runs" / "-".join([role, *row_text.split(), str(seed)])
            is_meshed = run_key in tables.get("5", ())
            jobs.append(Job(load_row(row_text, changes), options.corpora[role], folder, run_key, is_meshed))
    return jobs


def _check_corpora(options: ChromaStudyOptions, jobs: Sequence[Job]) -> dict[str, int]:
    """Return the number of training frames by role, as `_check_corpus`."""
    return {role: _check_corpus(role, options.corpora[role], jobs) for role in {job.role for job in jobs}}


def load_row(row_text: str, changes: Sequence[str] = ()) -> ChromaRecipe:
    """Load the recipe of a row, with ``changes`` and then the row's own."""
    recipe_name, *row_changes = row_text.split()
    recipe = load_recipe(recipe_name, [*changes, *row_changes])
    assert isinstance(recipe, ChromaRecipe)
    return recipe


def _check_corpus(role: str, folder: Path, jobs: Iterable[Job]) -> int:
    """Estimate the number of training frames; raise `UserError` for an unusable corpus."""
    corpus = Corpus.open(folder)
    frame_settings = next(job.recipe.frames for job in jobs if job.role == role)
    if corpus.rate != frame_settings.sample_rate:
        raise UserError(
            f"corpus {folder} is at {corpus.rate} Hz, the recipes want {frame_settings.sample_rate}; "
            f"build it with --rate {frame_settings.sample_rate}"
        )
    for split in SPLITS:
        if not corpus.clips(split):
            patch_count = len({clip.group for clip in corpus.clips()})
            raise UserError(
                f"corpus {folder} has no clip in its part {split!r} (patches: {patch_count}); the study needs some in "
                f"each of {', '.join(SPLITS)}: build it from more patches, with --split 0.875/0.0625/0.0625"
            )
    if not is_tonal(corpus):
        raise UserError(
            f"corpus {folder} has no pitch in most of its sound, but --corpus {role} must say which notes sound; "
            "give recordings of single notes"
        )
    return round(corpus.seconds("train") * corpus.rate / frame_settings.hop_length)


def _seconds(job: Job, frame_count: int, options: ChromaStudyOptions) -> tuple[float, float, float]:
    """Estimate the seconds of training, of measuring and of the mesh, each 0 if it is done."""
    training_settings = job.recipe.training
    weight_count = sum(p.numel() for p in FAMILIES["chroma"].network(job.recipe).parameters())
    step_count = training_settings.steps or (training_settings.epochs or 1) * frame_count / training_settings.batch_size
    decoded_rows = len(PITCH_CLASSES) * options.sides.get(job.recipe.network.latents, 0) ** job.recipe.network.latents
    # Forward, and two products backward.
    training_seconds = 6 * weight_count * step_count * training_settings.batch_size / OPERATIONS
    mesh_seconds = weight_count * decoded_rows / OPERATIONS  # half of the weights, two operations
    is_unmeasured = not job.is_measured
    return (
        training_seconds * is_unmeasured,
        MEASURING_SECONDS * is_unmeasured,
        mesh_seconds * _mesh_is_due(job, options),
    )


def _mesh_is_due(job: Job, options: ChromaStudyOptions) -> bool:
    figures, mesh_figures = job.read("figures.json"), job.read("mesh.json")
    if not job.meshed or (figures and figures["dead"]):
        return False
    return mesh_figures is None or mesh_figures["mesh"] != options.sides[job.recipe.network.latents]


def _make(job: Job, frame_count: int, options: ChromaStudyOptions, progress: StudyProgress) -> bool:
    """Train, measure and mesh what is due of a job; return False after Ctrl-C."""
    part_seconds = _seconds(job, frame_count, options)
    total_seconds = max(sum(part_seconds), 1e-9)
    trained_share, measured_share = part_seconds[0] / total_seconds, (part_seconds[0] + part_seconds[1]) / total_seconds
    if not job.is_measured:
        if not progress.train(job, options, trained_share):
            return False
        progress.update(trained_share, "measuring")
        figures, codes = measure(Run.open(job.folder))
        job.save("codes.npz", latents=codes.latents, notes=codes.notes)
        write_json(job.folder / "figures.json", figures)
    if _mesh_is_due(job, options):
        _account(job, options, lambda share: progress.update_rest(measured_share, share, "mesh"))
    return True


def _account(job: Job, options: ChromaStudyOptions, progress: Callable[[float], None]) -> None:
    """Write the accuracy of a job's exported model on the mesh."""
    pitch_classes: list[int] = job.figures["notes"]
    model_path = job.folder / "model.onnx"
    export(Run.open(job.folder), model_path, weights="float32", overwrite=True)
    model, latent_count = Model(model_path), job.recipe.network.latents
    side = options.sides[latent_count]
    points = mesh(side, latent_count)
    answers: dict[int, Answers] = {}
    for note_index, pitch_class in enumerate(pitch_classes):

        def advance(share: float, finished_notes: int = note_index) -> None:
            progress((finished_notes + share) / len(pitch_classes))

        answers[pitch_class] = strongest(model, points, pitch_class, advance)
    if latent_count == 2:
        job.save("mesh.npz", **{PITCH_CLASSES[k]: strongest_classes for k, strongest_classes in answers.items()})
    write_json(job.folder / "mesh.json", accuracy(answers, side, latent_count))


def _write_report(options: ChromaStudyOptions, tables: Mapping[str, Sequence[RunKey]], jobs: Sequence[Job]) -> None:
    figures_by_run: dict[RunKey, list[Figures]] = {}
    for job in jobs:
        mesh_figures = job.read("mesh.json") if job.meshed else None
        figures_by_run.setdefault(job.run_key, []).append(
            {"seed": job.recipe.training.seed, **job.figures, "mesh": mesh_figures}
        )
    claims, undecided = verdicts(figures_by_run)
    report: Figures = {
        "format": FORMAT,
        "study": "chroma",
        "seeds": options.seeds,
        "epochs": jobs[0].recipe.training.epochs,
        "corpora": {
            role: _corpus(next(job for job in jobs if job.role == role))
            for role in dict.fromkeys(job.role for job in jobs)
        },
        "left_out": _left_out(options, tables),
        "claims": claims,
        "undecided": undecided,
        "sweep": sweep(figures_by_run) if "beta" in tables else [],
        "tables": {name: [list(row) for row in rows] for name, rows in tables.items()},
        "runs": [
            {"corpus": c, "recipe": r, **run} for (c, r), seed_figures in figures_by_run.items() for run in seed_figures
        ],
    }
    pictures = _pictures(tables, jobs, figures_by_run)
    with replacing_folder(options.folder / "report") as folder:
        for picture in pictures:
            picture.save(folder)
        write_json(folder / "report.json", report)
        (folder / "index.html").write_text(page(report, figures_by_run, pictures), encoding="utf-8")


def _corpus(job: Job) -> Figures:
    """Return the name of a job's corpus, its seconds, patches by split, and how chroma agrees with pitch."""
    corpus = Corpus.open(job.corpus)
    clips_by_split = {split: corpus.clips(split) for split in SPLITS}
    return {
        "name": corpus.name,
        "seconds": corpus.seconds(),
        "patches": {split: len({clip.group for clip in clips}) for split, clips in clips_by_split.items()},
        "chroma": chroma_agreement(corpus, job.recipe.frames),
    }


def _pictures(
    tables: Mapping[str, Sequence[RunKey]], jobs: Sequence[Job], runs: Mapping[RunKey, Sequence[Figures]]
) -> list[Picture]:
    first_jobs = {job.run_key: job for job in jobs if job.recipe.training.seed == 0}
    pictures = []
    for figure_number, (table_name, corpus) in EMBEDDINGS.items():
        if table_name in tables:
            panels = [
                _panel(first_jobs[corpus, recipe_name], runs[corpus, recipe_name][0])
                for _, recipe_name in tables[table_name]
            ]
            caption = (
                f"Figure {figure_number}: training codes on {corpus}, coloured by the note that sounded; r is the "
                "correlation of the two latents."
            )
            pictures.append(embeddings(figure_number, caption, panels))
    for figure_number, corpus in ACCOUNTS.items():
        for recipe_name in ("chroma-2", "tuned-2"):
            job = first_jobs.get((corpus, recipe_name))
            if job and job.meshed and (job.folder / "mesh.npz").exists():
                with np.load(job.folder / "mesh.npz") as archive:
                    answers_by_class = {PITCH_CLASSES.index(note): archive[note] for note in archive.files}
                caption = (
                    f"Figure {figure_number}{'' if recipe_name == 'chroma-2' else f', the same of {recipe_name}'}: the "
                    f"strongest pitch class all over the latent square of {recipe_name} on {corpus}, for each one "
                    "asked; mismatches are hatched."
                )
                suffix = "" if recipe_name == "chroma-2" else "-tuned"
                pictures.append(accounting(f"figure-{figure_number}{suffix}", caption, answers_by_class))
    return pictures


def _panel(job: Job, figures: Figures) -> LatentPanel:
    row, column, title_start = PANELS[job.recipe.name]
    with np.load(job.folder / "codes.npz") as archive:
        codes = TrainingCodes(archive["latents"], archive["notes"])
    correlation = figures["latents"]["correlation"][0][1]
    return LatentPanel(row, column, f"{title_start}: r = {two_digits(correlation)}", codes)
