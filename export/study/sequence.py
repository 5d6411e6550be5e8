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
HEARD_SECONDS = 20.0  # maximum length of a continuation
PEAK = 0.9


def study(asked: StudyOptions, display: Display) -> bool:
    corpora = [Corpus.open(folder) for folder in (asked.corpus, *asked.more)]
    plans = {corpus.name: _plan(asked, corpus) for corpus in corpora}
    if len(plans) < len(corpora):
        raise UserError("two --corpus have one name; build one of them again with another --name")
    if not any((asked.folder / name).is_dir() for name in plans):
        check_new_folder(asked.folder)
    for name, (own, recipes) in plans.items():
        for recipe in recipes:
            check_run(own.folder / "runs" / recipe.name, recipe, own.corpus, further=True)
        FAMILIES[recipes[0].family].check(Corpus.open(own.corpus), recipes[0])
        display.say(f"{name}: {', '.join(recipe.name for recipe in recipes)}")
    found: Figures = {"format": FORMAT, "study": "sequence", "seeds": SEEDS, "targets": TARGETS, "corpora": []}
    for corpus in corpora:
        own, recipes = plans[corpus.name]
        display.stage(f"study sequence, {corpus.name}")
        seconds = {recipe.name: _seconds(recipe) for recipe in recipes}
        reports = train_and_evaluate(own, recipes, seconds, display, _timed)
        if reports is None:
            return False
        display.say(f"{corpus.name}: continuing from {', '.join(map(str, SEEDS))} frames")
        found["corpora"].append(_experiments(asked.folder, corpus, reports))
    write_study(asked.folder, found, page(found))
    return True


def _plan(asked: StudyOptions, corpus: Corpus) -> tuple[StudyOptions, list[Recipe]]:
    own = replace(asked, corpus=corpus.folder, folder=asked.folder / corpus.name, more=())
    fit = f"frames.sample_rate={corpus.rate}"
    recipes = load_recipes(own, ("sequence",), RECIPES, lambda plain: [fit], by_steps=False)
    return own, [FAMILIES[recipe.family].complete(recipe, corpus) for recipe in recipes]


def _seconds(recipe: Recipe) -> float:
    minutes, steps = recipe.training.minutes, recipe.training.steps
    return 60 * minutes if minutes is not None else STEP_SECONDS * (steps or 1)


def _timed(
    recipe: Recipe, corpus: Path, folder: Path, options: RunOptions, course: StudyProgress, share: float
) -> bool:
    so_far = read_losses(folder)
    before, began = so_far[-1]["seconds"] if so_far else 0.0, time.monotonic()

    def report(now: RunStatus) -> None:
        line = {
            "step": now.step,
            "seconds": round(before + time.monotonic() - began, 2),
            "loss": now.terms["mean_square"],
        }
        with (folder / COURSE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    return train(recipe, corpus, folder, replace(options, on_report=report), course, share)


def read_losses(folder: Path) -> list[Figures]:
    file = folder / COURSE
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def reached(course: Sequence[Figures]) -> list[list[float] | None]:
    """Return seconds and steps until the loss reached `TARGETS`."""
    return [
        next(([line["seconds"], line["step"]] for line in course if line["loss"] <= target), None) for target in TARGETS
    ]


def _experiments(folder: Path, corpus: Corpus, reports: Mapping[str, Figures]) -> Figures:
    networks, rows, asked, count = [], [], [], 0
    continued: Continued = {}
    for name, report in reports.items():
        run = Run.open(folder / corpus.name / "runs" / name)
        network, _, step = trained(run, "best")
        assert isinstance(network, RecurrentNetwork)
        assert isinstance(run.recipe, SequenceRecipe)
        chosen, made, compare = _continue(network, run.recipe, corpus)
        asked, count = [recording(corpus, piece, run.recipe) for piece in chosen], run.recipe.network.clips
        rows += [{"recipe": name, **row} for row in compare]
        continued |= {(name, restored, seed): sounds for (restored, seed), sounds in made.items()}
        course = read_losses(run.folder)
        networks.append(
            {
                "name": name,
                "parameters": report["run"]["parameters"],
                "steps": step,
                "seconds": course[-1]["seconds"] if course else None,
                "mean_square": report["mean_square"],
                "first": report["first"],
                "reached": reached(course),
                "course": [[line["seconds"], line["loss"]] for line in course],
            }
        )
    pictures = [losses(corpus.name, networks, TARGETS)]
    pictures += waveforms(corpus.name, asked, continued, corpus.rate)
    for picture in pictures:
        picture.save(folder)
    return {
        "name": corpus.name,
        "clips": count,
        "networks": networks,
        "continued": rows,
        "pictures": {picture.name: picture.caption for picture in pictures},
        "sounds": _write_sounds(folder, corpus, asked[0], continued),
    }


@torch.no_grad()
def _continue(
    network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus
) -> tuple[list[Piece], dict[tuple[bool, int], list[Array]], list[Figures]]:
    found = pieces(corpus, "train", recipe.frames)
    numbers = evenly_spaced(len(found), SHOWN).tolist()
    made: dict[tuple[bool, int], list[Array]] = {(back, seed): [] for back in (True, False) for seed in SEEDS}
    rows = []
    for seed in SEEDS:
        for number in numbers:
            frames = frames_after(network, recipe, corpus, found[number], number, seed, TAIL)
            for restored in (True, False):
                sound = joined_pieces(
                    network.standard.back(frames, restored=restored).numpy(), recipe.frames.hop_length
                )
                made[restored, seed].append(sound)
                figures = compared(corpus, found[number], sound, recipe)
                rows.append({"name": found[number].name, "seed": seed, "restored": restored, **figures})
    return [found[number] for number in numbers], made, rows


def _write_sounds(folder: Path, corpus: Corpus, asked: Array, continued: Continued) -> dict[str, str]:
    named: list[tuple[str, str, Array]] = [(f"{corpus.name}-recording", "The recording", asked)]
    for (name, restored, seed), sounds in continued.items():
        if seed == SEEDS[0]:
            how = "" if restored else ", scaling not put back"
            ending = "" if restored else "-unrestored"
            named.append((f"{corpus.name}-{name}{ending}", f"{name}{how}, from one frame on", sounds[0]))
    for file, _, sound in named:
        heard = sound[: round(HEARD_SECONDS * corpus.rate)]
        with sound_writer(folder / f"{file}.wav", corpus.rate, channels=1, overwrite=True) as opened:
            opened.write((PEAK * heard / max(float(np.abs(heard).max()), 1e-9))[None].astype(np.float32))
    return {f"{file}.wav": f"{corpus.name}: {caption}" for file, caption, _ in named}
