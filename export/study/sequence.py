"""The sequence study: experiments of "Deep Learning and Sound ~ 02: Generating Audio" (2015), on each corpus.

The post trained on some 250 drum machine kicks to a mean square error below .15, and on one loop to .05. Frames were
real and imaginary parts or samples, with mean and deviation restored or not.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ...host.arrays import Array
from ...host.audio.sound_files import sound_writer
from ...host.errors import UserError
from ...host.files import check_new_folder
from ...host.progress import Display
from ...train.corpus.store import Corpus
from ...train.families import FAMILIES
from ...train.families.sequence.data import Piece, pieces
from ...train.families.sequence.data import joined as joined_pieces
from ...train.families.sequence.network import RecurrentNetwork
from ...train.families.sequence.recipe import SequenceRecipe
from ...train.loop import RunOptions, RunStatus
from ...train.recipe import Recipe
from ...train.run import Run, trained
from ...train.sampling import evenly_spaced
from ..families.sequence import SHOWN, TAIL, compared, frames_after, recording
from ..reports.report import FORMAT, Figures
from .runs import StudyOptions, StudyProgress, check_run, load_recipes, train, train_and_evaluate, write_study
from .sequence_page import losses, page, waveforms

Continued = dict[tuple[str, bool, int], list[Array]]  # sounds by recipe, whether scaling was restored, and seed

RECIPES = ("sequence-samples", "sequence-fft")
SEEDS = (1, 4, 16)  # given frames
TARGETS = (0.15, 0.05, 0.01)  # mean square errors: the post's for kicks and for its loop, and a lower one for both
COURSE = "course.jsonl"  # in a run: reported losses over seconds
STEP_SECONDS = 1.0  # rough time of a step: the progress display corrects it
LONGEST_SECONDS = 20.0  # maximum length of a continuation
PEAK = 0.9


def study(options: StudyOptions, display: Display) -> bool:
    corpora = [Corpus.open(folder) for folder in (options.corpus, *options.more)]
    plans = {corpus.name: _plan(options, corpus) for corpus in corpora}
    if len(plans) < len(corpora):
        raise UserError("two --corpus have one name; build one of them again with another --name")
    if not any((options.folder / name).is_dir() for name in plans):
        check_new_folder(options.folder)
    for name, (corpus_options, recipes) in plans.items():
        for recipe in recipes:
            check_run(corpus_options.folder / "runs" / recipe.name, recipe, corpus_options.corpus, further=True)
        FAMILIES[recipes[0].family].check(Corpus.open(corpus_options.corpus), recipes[0])
        display.say(f"{name}: {', '.join(recipe.name for recipe in recipes)}")
    figures: Figures = {"format": FORMAT, "study": "sequence", "seeds": SEEDS, "targets": TARGETS, "corpora": []}
    for corpus in corpora:
        corpus_options, recipes = plans[corpus.name]
        display.stage(f"study sequence, {corpus.name}")
        seconds = {recipe.name: _seconds(recipe) for recipe in recipes}
        reports = train_and_evaluate(corpus_options, recipes, seconds, display, _timed)
        if reports is None:
            return False
        display.say(f"{corpus.name}: continuing from {', '.join(map(str, SEEDS))} frames")
        figures["corpora"].append(_experiments(options.folder, corpus, reports))
    write_study(options.folder, figures, page(figures))
    return True


def _plan(options: StudyOptions, corpus: Corpus) -> tuple[StudyOptions, list[Recipe]]:
    corpus_options = replace(options, corpus=corpus.folder, folder=options.folder / corpus.name, more=())
    fit = f"frames.sample_rate={corpus.rate}"
    recipes = load_recipes(corpus_options, ("sequence",), RECIPES, lambda plain: [fit], by_steps=False)
    return corpus_options, [FAMILIES[recipe.family].complete(recipe, corpus) for recipe in recipes]


def _seconds(recipe: Recipe) -> float:
    minutes, steps = recipe.training.minutes, recipe.training.steps
    return 60 * minutes if minutes is not None else STEP_SECONDS * (steps or 1)


def _timed(
    recipe: Recipe, corpus: Path, folder: Path, options: RunOptions, course: StudyProgress, share: float
) -> bool:
    lines = read_losses(folder)
    earlier_seconds, began = lines[-1]["seconds"] if lines else 0.0, time.monotonic()

    def report(now: RunStatus) -> None:
        line = {
            "step": now.step,
            "seconds": round(earlier_seconds + time.monotonic() - began, 2),
            "loss": now.terms["mean_square"],
        }
        with (folder / COURSE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    return train(recipe, corpus, folder, replace(options, on_report=report), course, share)


def read_losses(folder: Path) -> list[Figures]:
    file = folder / COURSE
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def target_times(course: Sequence[Figures]) -> list[list[float] | None]:
    """Return seconds and steps until the loss reached `TARGETS`."""
    return [
        next(([line["seconds"], line["step"]] for line in course if line["loss"] <= target), None) for target in TARGETS
    ]


def _experiments(folder: Path, corpus: Corpus, reports: Mapping[str, Figures]) -> Figures:
    networks, rows, recordings, count = [], [], [], 0
    continued: Continued = {}
    for name, report in reports.items():
        run = Run.open(folder / corpus.name / "runs" / name)
        network, _, step = trained(run, "best")
        assert isinstance(network, RecurrentNetwork)
        assert isinstance(run.recipe, SequenceRecipe)
        examples, continuations, compare = _continue(network, run.recipe, corpus)
        recordings, count = [recording(corpus, piece, run.recipe) for piece in examples], run.recipe.network.clips
        rows += [{"recipe": name, **row} for row in compare]
        continued |= {(name, restored, seed): sounds for (restored, seed), sounds in continuations.items()}
        course = read_losses(run.folder)
        networks.append(
            {
                "name": name,
                "parameters": report["run"]["parameters"],
                "steps": step,
                "seconds": course[-1]["seconds"] if course else None,
                "mean_square": report["mean_square"],
                "first": report["first"],
                "reached": target_times(course),
                "course": [[line["seconds"], line["loss"]] for line in course],
            }
        )
    pictures = [losses(corpus.name, networks, TARGETS)]
    pictures += waveforms(corpus.name, recordings, continued, corpus.rate)
    for picture in pictures:
        picture.save(folder)
    return {
        "name": corpus.name,
        "clips": count,
        "networks": networks,
        "continued": rows,
        "pictures": {picture.name: picture.caption for picture in pictures},
        "sounds": _write_sounds(folder, corpus, recordings[0], continued),
    }


@torch.no_grad()
def _continue(
    network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus
) -> tuple[list[Piece], dict[tuple[bool, int], list[Array]], list[Figures]]:
    train_pieces = pieces(corpus, "train", recipe.frames)
    numbers = evenly_spaced(len(train_pieces), SHOWN).tolist()
    continuations: dict[tuple[bool, int], list[Array]] = {
        (restored, seed): [] for restored in (True, False) for seed in SEEDS
    }
    rows = []
    for seed in SEEDS:
        for number in numbers:
            frames = frames_after(network, recipe, corpus, train_pieces[number], number, seed, TAIL)
            for restored in (True, False):
                sound = joined_pieces(
                    network.standard.to_samples(frames, restored=restored).numpy(), recipe.frames.hop_length
                )
                continuations[restored, seed].append(sound)
                figures = compared(corpus, train_pieces[number], sound, recipe)
                rows.append({"name": train_pieces[number].name, "seed": seed, "restored": restored, **figures})
    return [train_pieces[number] for number in numbers], continuations, rows


def _write_sounds(folder: Path, corpus: Corpus, source: Array, continued: Continued) -> dict[str, str]:
    sound_files: list[tuple[str, str, Array]] = [(f"{corpus.name}-recording", "The recording", source)]
    for (name, restored, seed), sounds in continued.items():
        if seed == SEEDS[0]:
            remark = "" if restored else ", scaling not put back"
            ending = "" if restored else "-unrestored"
            sound_files.append((f"{corpus.name}-{name}{ending}", f"{name}{remark}, from one frame on", sounds[0]))
    for file, _, sound in sound_files:
        excerpt = sound[: round(LONGEST_SECONDS * corpus.rate)]
        with sound_writer(folder / f"{file}.wav", corpus.rate, channels=1, overwrite=True) as opened:
            opened.write((PEAK * excerpt / max(float(np.abs(excerpt).max()), 1e-9))[None].astype(np.float32))
    return {f"{file}.wav": f"{corpus.name}: {caption}" for file, caption, _ in sound_files}
