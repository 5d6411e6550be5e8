"""The sequence study: experiments of "Deep Learning and Sound ~ 02: Generating Audio" (2015), with floors.

DIR/corpora/                the first frames of the loop, different kicks, and synthesised vowels
DIR/runs/ROW-SEED/          a run, with its checkpoints and:
    figures.json, sounds.npz    its measurements, and sounds that it continues
DIR/index.html, study.json  tables, claims and verdicts, with pictures and sounds
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...host.arrays import Array
from ...host.errors import UserError
from ...host.files import check_new_folder, replacing
from ...host.progress import Display
from ...train.corpus.store import Corpus
from ...train.families import FAMILIES
from ...train.families.recipes import load_recipe
from ...train.families.sequence.data import pieces
from ...train.families.sequence.recipe import SequenceRecipe
from ...train.run import Run
from ...train.sampling import evenly_spaced
from ..families.sequence import recording
from ..measures.floors import compare_row
from ..reports import clip_figures
from ..reports.report import FORMAT, Figures, Picture
from .runs import (
    Machines,
    StudyProgress,
    Training,
    parse_folders,
    parse_names,
    save_pictures,
    train_first,
    write_json,
    write_sound,
    write_study,
)
from .sequence_measures import SHOWN, floors, measure_run, spread
from .sequence_page import claims, page
from .sequence_sounds import KICKS, LOOP, ROLES, VOWELS, study_corpora


@dataclass(frozen=True)
class Row:
    """A network to train for the experiment ``role``; ``hours`` of one core, a seed."""

    role: str
    recipe: str
    changes: tuple[str, ...]
    hours: float

    @property
    def is_long(self) -> bool:
        return self.hours > LONGEST_USUAL_HOURS


LONGEST_USUAL_HOURS = 0.03  # of rows that run without being named
NARROW = ("network.size=256", "training.learning_rate=2e-3")  # fewer weights take a higher rate
POST, POST_FFT = "sequence-post", "sequence-post-fft"
ROWS = {
    "loop-256": Row(LOOP, POST, (*NARROW, "training.steps=450"), 0.006),
    "loop-256-fft": Row(LOOP, POST_FFT, (*NARROW, "training.steps=450"), 0.006),
    # Stopped early, before the loop is learned.
    "loop-256-early": Row(LOOP, POST, (*NARROW, "training.steps=80"), 0.003),
    "loop-256-early-fft": Row(LOOP, POST_FFT, (*NARROW, "training.steps=80"), 0.003),
    "kicks-256": Row(KICKS, POST, (*NARROW, "training.steps=300"), 0.012),
    "kicks-256-fft": Row(KICKS, POST_FFT, (*NARROW, "training.steps=600"), 0.024),
    "vowels-256": Row(VOWELS, POST, (*NARROW, "training.steps=450"), 0.006),
    "vowels-256-fft": Row(VOWELS, POST_FFT, (*NARROW, "training.steps=450"), 0.006),
    "loop-2048": Row(LOOP, POST, ("training.steps=100",), 0.08),
    "loop-2048-fft": Row(LOOP, POST_FFT, ("training.steps=50",), 0.05),
    "kicks-2048": Row(KICKS, POST, ("training.steps=400",), 0.5),
    "kicks-2048-fft": Row(KICKS, POST_FFT, ("training.steps=400",), 0.5),
    "vowels-2048": Row(VOWELS, POST, ("training.steps=100",), 0.08),
    "vowels-2048-fft": Row(VOWELS, POST_FFT, ("training.steps=100",), 0.08),
}
USUAL_ROWS = [name for name, row in ROWS.items() if not row.is_long]
MEASURING_SECONDS = 20.0  # rough time for one run
LONGEST_SECONDS = 20.0  # maximum length of a continuation
PEAK = 0.9


@dataclass(frozen=True)
class SequenceStudyOptions(Machines):
    """Settings of the sequence study.

    Args:
        corpora: folders by role: a loop, and kicks of one or several corpora; the study makes the vowels.
        changes: ``key=value``, for all rows.
        seeds: trainings per row, with seeds from 0.
    """

    corpora: Mapping[str, Sequence[Path]]
    folder: Path
    rows: Sequence[str] = tuple(USUAL_ROWS)
    changes: Sequence[str] = ()
    seeds: int = 3


@dataclass(frozen=True)
class Job(Training):
    """A network to train and to measure."""

    recipe: SequenceRecipe
    row: str

    @property
    def figures(self) -> Figures | None:
        """The run's figures; None if it is not measured."""
        path = self.folder / "figures.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def sounds(self) -> dict[str, Array]:
        with np.load(self.folder / "sounds.npz") as arrays:
            return dict(arrays)

    def measure(self) -> None:
        figures, sounds = measure_run(Run.open(self.folder), Corpus.open(self.corpus), ROWS[self.row].role)
        with replacing(self.folder / "sounds.npz", overwrite=True) as file:
            np.savez_compressed(file, **dict[str, Any](sounds))
        write_json(self.folder / "figures.json", figures)


def parse_corpora(texts: Sequence[str]) -> dict[str, list[Path]]:
    """Parse folders by role from ``"loop=DIR"`` and similar; kicks may be given several times.

    Raises:
        UserError: wrong syntax, an unknown role, or a second loop.
    """
    return parse_folders(texts, (LOOP, KICKS), repeatable=(KICKS,))


def parse_rows(text: str) -> list[str]:
    """Parse rows from ``"loop-256,kicks-256"``.

    Raises:
        UserError: a row is unknown or named twice.
    """
    return parse_names("row", text, ROWS)


def study(options: SequenceStudyOptions, display: Display) -> bool:
    """Train, measure and write the page; return False after Ctrl-C, with all progress saved."""
    row_names = [name for name in options.rows if ROWS[name].role in (*options.corpora, VOWELS)]
    if not row_names:
        roles = dict.fromkeys(ROWS[name].role for name in options.rows)
        raise UserError(
            f"--rows {','.join(options.rows)} need corpora that are not given; "
            f"give {' and '.join(f'--corpus {role}=FOLDER' for role in roles)}"
        )
    recipes = {(name, seed): _recipe(name, seed, options) for seed in range(options.seeds) for name in row_names}
    corpora = _corpora(options, next(iter(recipes.values())))
    jobs = [_job(name, seed, options, corpora) for name, seed in recipes]
    for job in jobs:
        job.check()
    for line in _left_out(options, row_names):
        display.say(line)
    display.stage("study sequence")
    unmeasured_jobs = [job for job in jobs if job.figures is None]
    if options.ray is not None and not train_first(unmeasured_jobs, options, display):
        return False
    part_seconds = {job.folder.name: 3600 * ROWS[job.row].hours + MEASURING_SECONDS for job in unmeasured_jobs}
    progress = StudyProgress(display, part_seconds)
    for job in unmeasured_jobs:
        progress.start_part(job.folder.name)
        training_share = 1 - MEASURING_SECONDS / part_seconds[job.folder.name]
        if not progress.train(job, options, training_share):
            return False
        progress.update(training_share, "measuring")
        job.measure()
    _write(options, [*jobs, *_earlier_jobs(options, corpora, jobs)], corpora)
    return True


def _recipe(name: str, seed: int, options: SequenceStudyOptions) -> SequenceRecipe:
    row = ROWS[name]
    recipe = load_recipe(row.recipe, [*row.changes, *options.changes, f"training.seed={seed}"])
    assert isinstance(recipe, SequenceRecipe)
    return recipe


def _job(name: str, seed: int, options: SequenceStudyOptions, corpora: Mapping[str, Corpus]) -> Job:
    corpus = corpora[ROWS[name].role]
    recipe = FAMILIES["sequence"].complete(_recipe(name, seed, options), corpus)
    assert isinstance(recipe, SequenceRecipe)
    return Job(recipe, corpus.folder, options.folder / "runs" / f"{name}-{seed}", name)


def _earlier_jobs(options: SequenceStudyOptions, corpora: Mapping[str, Corpus], jobs: Sequence[Job]) -> list[Job]:
    """Return the other runs in the folder that earlier calls measured with these settings."""
    earlier_jobs = []
    for folder in sorted((options.folder / "runs").iterdir()):
        name, _, seed_text = folder.name.rpartition("-")
        if name in ROWS and ROWS[name].role in corpora and seed_text.isdecimal():
            job = _job(name, int(seed_text), options, corpora)
            with contextlib.suppress(UserError):  # of other settings
                job.check()
                if job not in jobs and job.figures is not None:
                    earlier_jobs.append(job)
    return earlier_jobs


def _corpora(options: SequenceStudyOptions, recipe: SequenceRecipe) -> dict[str, Corpus]:
    """Open or make the corpora of the experiments; raise `UserError` for an unusable one."""
    sources = {
        role: [Corpus.open(folder).all_for_training() for folder in folders]
        for role, folders in options.corpora.items()
    }
    for corpus in [corpus for role_corpora in sources.values() for corpus in role_corpora]:
        if corpus.rate != recipe.frames.sample_rate:
            raise UserError(
                f"corpus {corpus.folder} is at {corpus.rate} Hz, the recipes want {recipe.frames.sample_rate}; "
                f"build it with --rate {recipe.frames.sample_rate}"
            )
        FAMILIES["sequence"].check(corpus, recipe)
    kick_names = [corpus.name for corpus in sources.get(KICKS, ())]
    if repeated_names := {name for name in kick_names if kick_names.count(name) > 1}:
        raise UserError(f"two --corpus {KICKS} are named {min(repeated_names)}; build one again with another --name")
    if not (options.folder / "corpora").is_dir():
        check_new_folder(options.folder)
    return study_corpora(options.folder, sources, recipe.frames)


def _left_out(options: SequenceStudyOptions, row_names: Sequence[str]) -> list[str]:
    """Return a sentence for rows without a corpus, and one for rows that are long."""
    lines = []
    if lacking_rows := [name for name in options.rows if name not in row_names]:
        roles = dict.fromkeys(ROWS[name].role for name in lacking_rows)
        missing_options = " and ".join(f"--corpus {role}=" for role in roles)
        lines.append(f"{', '.join(lacking_rows)} are left out: {missing_options} is not given")
    if tuple(options.rows) == tuple(USUAL_ROWS):
        long_rows = [f"{name} ({row.hours:g})" for name, row in ROWS.items() if row.is_long]
        lines.append(f"--rows names longer rows, with their core hours a seed: {', '.join(long_rows)}")
    return lines


def _write(options: SequenceStudyOptions, jobs: Sequence[Job], corpora: Mapping[str, Corpus]) -> None:
    """Write figures, pictures, sounds and the page."""
    figures: Figures = {"format": FORMAT, "study": "sequence", "experiments": {}}
    for role in ROLES:
        role_jobs = [job for job in jobs if ROWS[job.row].role == role]
        if not role_jobs:
            continue
        corpus = corpora[role]
        recipe = role_jobs[0].recipe
        recordings = [recording(corpus, piece, recipe) for piece in pieces(corpus, "train", recipe.frames)]
        names = [name for name in ROWS if any(job.row == name for job in role_jobs)]
        sounds = {name: next(job for job in role_jobs if job.row == name).sounds() for name in names}
        continued = [recordings[index] for index in evenly_spaced(len(recordings), SHOWN)]
        role_floors = floors(role, recordings, continued, corpus.rate, recipe.frames.hop_length)
        figures["experiments"][role] = {
            "recordings": len(recordings),
            "frames": len(recordings[0]) // recipe.frames.hop_length,
            "floors": role_floors,
            "networks": [_network([job for job in role_jobs if job.row == name], role_floors) for name in names],
            "pictures": save_pictures(options.folder, _pictures(role, recordings[0], sounds, corpus.rate)),
            "sounds": _write_sounds(options.folder, role, recordings[0], sounds, corpus.rate),
        }
    figures["claims"] = claims(figures["experiments"])
    write_study(options.folder, figures, page(figures))


def _network(jobs: Sequence[Job], role_floors: Mapping[str, Figures]) -> Figures:
    """Return the figures of a row, beside floors: mean and deviation over its seeds."""
    run_figures = [figures for job in jobs if (figures := job.figures) is not None]
    first_figures = run_figures[0]
    rows = []
    for same_rows in zip(*(figures["rows"] for figures in run_figures), strict=True):
        row = {key: same_rows[0][key] for key in ("memory", "restored", "read_frames")}
        for key in same_rows[0]:
            values = [same_row[key] for same_row in same_rows]
            if None in values:
                row[key] = None
            elif key in role_floors:
                row[key] = compare_row(role_floors[key], *spread(values))
            elif key not in row:
                row[key] = spread(values)
        rows.append(row)
    network_settings, frame_settings = jobs[0].recipe.network, jobs[0].recipe.frames
    return {
        "name": jobs[0].row,
        "size": network_settings.size,
        "domain": frame_settings.domain,
        "runs": [job.folder.name for job in jobs],
        "steps": jobs[0].recipe.training.steps,
        "parameters": first_figures["parameters"],
        "mean_square": spread([figures["mean_square"] for figures in run_figures]),
        "mean_square_floors": first_figures["mean_square_floors"],
        "rows": rows,
    }


def _pictures(role: str, recorded: Array, sounds: Mapping[str, Mapping[str, Array]], rate: int) -> list[Picture]:
    """Draw the first recording above continuations of its first frame, with and without the tail."""
    continued = {
        f"{name}\n{scaling}": sound for name, row_sounds in sounds.items() for scaling, sound in row_sounds.items()
    }
    as_long = {"recording": recorded[None]} | {
        label: sound[None, : len(recorded)] for label, sound in continued.items()
    }
    beyond = {"recording": recorded[None]} | {label: sound[None] for label, sound in continued.items()}
    caption = f"{role}: a recording, and its continuations from the first frame, scaling put back or not, in seconds."
    return [
        clip_figures.waveforms(as_long, rate, f"{role}-continued", caption),
        clip_figures.waveforms(beyond, rate, f"{role}-beyond", f"{role}: these, and 600 frames after the end."),
    ]


def _write_sounds(
    folder: Path, role: str, recorded: Array, sounds: Mapping[str, Mapping[str, Array]], rate: int
) -> dict[str, str]:
    captioned_sounds = [(f"{role}-recording", f"{role}: the recording", recorded)] + [
        (f"{name}-{scaling}", f"{name}, {scaling}, from one frame on", sound)
        for name, row_sounds in sounds.items()
        for scaling, sound in row_sounds.items()
    ]
    for file_stem, _, sound in captioned_sounds:
        excerpt = sound[: round(LONGEST_SECONDS * rate)]
        write_sound(folder / f"{file_stem}.wav", PEAK * excerpt / max(float(np.abs(excerpt).max()), 1e-9), rate)
    return {f"{file_stem}.wav": caption for file_stem, caption, _ in captioned_sounds}
