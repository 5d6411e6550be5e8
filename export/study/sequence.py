"""The sequence study: experiments of "Deep Learning and Sound ~ 02: Generating Audio" (2015), on each corpus.

The post trained on some 250 drum machine kicks to a mean square error below .15, and on one loop to .05. Frames were
real and imaginary parts or samples, with mean and deviation restored or not.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from matplotlib.figure import Figure

from ...host.arrays import Array
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
from ...train.run import Run, trained
from ...train.sampling import evenly_spaced
from ..families.sequence import EDGES, SHOWN, TAIL, compared, frames_after, recording
from ..families.sequence_floors import rhythm_floors, rhythms_beside
from ..reports import clip_figures
from ..reports.floor_tables import FLOORS, floors_table
from ..reports.measure import Measure, measures_across
from ..reports.page import document, figure, joined, players, run_link
from ..reports.report import FORMAT, WIDTH, Figures, Picture, Theme
from .runs import StudyOptions, Training, load_recipes, save_pictures, train_and_evaluate, write_sound, write_study

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
    for corpus in corpora:
        _, trainings = plans[corpus.name]
        for training in trainings:
            training.check(further=True)
        FAMILIES["sequence"].check(corpus, trainings[0].recipe)
        display.say(f"{corpus.name}: {', '.join(training.recipe.name for training in trainings)}")
    figures: Figures = {"format": FORMAT, "study": "sequence", "seeds": SEEDS, "targets": TARGETS, "corpora": []}
    for corpus in corpora:
        corpus_options, trainings = plans[corpus.name]
        display.stage(f"study sequence, {corpus.name}")
        training_seconds = {
            training.recipe.name: training.estimated_seconds(STEP_SECONDS, usual_steps=1) for training in trainings
        }
        reports = train_and_evaluate(corpus_options, trainings, training_seconds, display)
        if reports is None:
            return False
        display.say(f"{corpus.name}: continuing from {', '.join(map(str, SEEDS))} frames")
        figures["corpora"].append(_experiments(options.folder, corpus, reports))
    write_study(options.folder, figures, page(figures))
    return True


def _plan(options: StudyOptions, corpus: Corpus) -> tuple[StudyOptions, list[Training]]:
    """Return a corpus's options and its trainings."""
    corpus_options = replace(options, corpus=corpus.folder, folder=options.folder / corpus.name, more=())
    rate_change = f"frames.sample_rate={corpus.rate}"
    recipes = load_recipes(corpus_options, ("sequence",), RECIPES, lambda plain_recipe: [rate_change])
    completed_recipes = [FAMILIES[recipe.family].complete(recipe, corpus) for recipe in recipes]
    return corpus_options, [
        TimedTraining(recipe, corpus.folder, corpus_options.run_folder(recipe)) for recipe in completed_recipes
    ]


class TimedTraining(Training):
    """Appends each report's loss and the seconds of training so far to `COURSE`."""

    def train(self, options: RunOptions) -> bool:
        earlier_lines = read_losses(self.folder)
        earlier_seconds, start_time = earlier_lines[-1]["seconds"] if earlier_lines else 0.0, time.monotonic()

        def report(status: RunStatus) -> None:
            line = {
                "step": status.step,
                "seconds": round(earlier_seconds + time.monotonic() - start_time, 2),
                "loss": status.terms["mean_square"],
            }
            with (self.folder / COURSE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if options.on_report is not None:
                options.on_report(status)

        return super().train(replace(options, on_report=report))


def read_losses(folder: Path) -> list[Figures]:
    log_path = folder / COURSE
    return [json.loads(line) for line in log_path.read_text(encoding="utf-8").splitlines()] if log_path.exists() else []


def target_times(logged_lines: Sequence[Figures]) -> list[list[float] | None]:
    """Return seconds and steps until the loss reached `TARGETS`."""
    return [
        next(
            (
                [logged_line["seconds"], logged_line["step"]]
                for logged_line in logged_lines
                if logged_line["loss"] <= target
            ),
            None,
        )
        for target in TARGETS
    ]


def _experiments(folder: Path, corpus: Corpus, reports: Mapping[str, Figures]) -> Figures:
    """Continue recordings by each network; write pictures and sounds, and return a corpus's figures."""
    network_figures, continuation_rows, recordings, clip_count = [], [], [], 0
    continued: Continued = {}
    continued_floors: dict[str, Figures] = {}
    for name, report in reports.items():
        run = Run.open(folder / corpus.name / "runs" / name)
        network, _, step = trained(run, "best")
        assert isinstance(network, RecurrentNetwork)
        assert isinstance(run.recipe, SequenceRecipe)
        example_pieces, continuations, comparison_rows, rhythm_figures = _continue(network, run.recipe, corpus)
        recordings, clip_count = (
            [recording(corpus, piece, run.recipe) for piece in example_pieces],
            run.recipe.network.clips,
        )
        continuation_rows += [{"recipe": name, **row} for row in comparison_rows]
        continued_floors |= {f"{name}, {label}": floored for label, floored in rhythm_figures.items()}
        continued |= {(name, restored, seed): sounds for (restored, seed), sounds in continuations.items()}
        logged_lines = read_losses(run.folder)
        network_figures.append(
            {
                "name": name,
                "parameters": report["run"]["parameters"],
                "steps": step,
                "seconds": logged_lines[-1]["seconds"] if logged_lines else None,
                "mean_square": report["mean_square"],
                "first": report["first"],
                "floors": {"mean_square": report["floors"]["mean_square"]},
                "reached": target_times(logged_lines),
                "course": [[line["seconds"], line["loss"]] for line in logged_lines],
            }
        )
    pictures = [losses(corpus.name, network_figures, TARGETS)]
    pictures += waveforms(corpus.name, recordings, continued, corpus.rate)
    return {
        "name": corpus.name,
        "clips": clip_count,
        "networks": network_figures,
        "continued": continuation_rows,
        "floors": continued_floors,
        "pictures": save_pictures(folder, pictures),
        "sounds": _write_sounds(folder, corpus, recordings[0], continued),
    }


@torch.no_grad()
def _continue(
    network: RecurrentNetwork, recipe: SequenceRecipe, corpus: Corpus
) -> tuple[list[Piece], dict[tuple[bool, int], list[Array]], list[Figures], dict[str, Figures]]:
    """Continue pieces; return them, sounds by restored scaling and seed, comparisons with recordings, and floors.

    Floors are by the words for scaling and seed, and in comparisons of onsets those of the recording.
    """
    train_pieces = pieces(corpus, "train", recipe.frames)
    piece_indices = evenly_spaced(len(train_pieces), SHOWN).tolist()
    continuations: dict[tuple[bool, int], list[Array]] = {
        (restored, seed): [] for restored in (True, False) for seed in SEEDS
    }
    comparison_rows = []
    example_pieces = [train_pieces[piece_index] for piece_index in piece_indices]
    recordings = [recording(corpus, piece, recipe) for piece in example_pieces]

    def floored(chosen: slice) -> Figures:
        return rhythm_floors(corpus, train_pieces, example_pieces[chosen], recordings[chosen], corpus.rate)

    onset_floors = [floored(slice(number, number + 1))["onsets"]["floors"] for number in range(len(recordings))]
    for seed in SEEDS:
        for piece_index, piece_floors in zip(piece_indices, onset_floors, strict=True):
            frames = frames_after(network, recipe, corpus, train_pieces[piece_index], piece_index, seed, TAIL)
            for restored in (True, False):
                sound = joined_pieces(
                    network.standard.to_samples(frames, restored=restored).numpy(), recipe.frames.hop_length
                )
                continuations[restored, seed].append(sound)
                figures = compared(corpus, train_pieces[piece_index], sound, recipe)
                comparison_rows.append(
                    {"name": train_pieces[piece_index].name, "seed": seed, "restored": restored, **figures}
                    | {"onset_floors": piece_floors}
                )
    floors_of_all = floored(slice(None))
    floors_by_label = {
        f"{'put back' if restored else 'not put back'}, from {seed}": rhythms_beside(
            floors_of_all, [row for row in comparison_rows if (row["restored"], row["seed"]) == (restored, seed)]
        )
        for restored, seed in continuations
    }
    return example_pieces, continuations, comparison_rows, floors_by_label


def _write_sounds(folder: Path, corpus: Corpus, recording_sound: Array, continued: Continued) -> dict[str, str]:
    captioned_sounds: list[tuple[str, str, Array]] = [(f"{corpus.name}-recording", "The recording", recording_sound)]
    for (name, restored, seed), sounds in continued.items():
        if seed == SEEDS[0]:
            remark = "" if restored else ", scaling not put back"
            ending = "" if restored else "-unrestored"
            captioned_sounds.append((f"{corpus.name}-{name}{ending}", f"{name}{remark}, from one frame on", sounds[0]))
    for file_stem, _, sound in captioned_sounds:
        excerpt = sound[: round(LONGEST_SECONDS * corpus.rate)]
        loud_excerpt = PEAK * excerpt / max(float(np.abs(excerpt).max()), 1e-9)
        write_sound(folder / f"{file_stem}.wav", loud_excerpt, corpus.rate)
    return {f"{file_stem}.wav": f"{corpus.name}: {caption}" for file_stem, caption, _ in captioned_sounds}


def losses(corpus: str, networks: Sequence[Figures], targets: Sequence[float]) -> Picture:
    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.8), layout="constrained")
        axes = figure.subplots()
        for network, colour in zip(networks, (theme.first, theme.second, theme.ink, theme.faint) * 4, strict=False):
            loss_points = np.array(network["course"], float).reshape(-1, 2)
            axes.plot(loss_points[:, 0], loss_points[:, 1], color=colour, linewidth=1.2, label=network["name"])
        for target in targets:
            axes.axhline(target, color=theme.faint, linewidth=0.8, linestyle=":")
        axes.set_yscale("log")
        axes.set_xlabel("seconds")
        axes.set_ylabel("mean square error")
        figure.legend(loc="outside upper right", ncols=4)
        return figure

    target_text = ", ".join(f"{target:g}" for target in targets)
    return Picture(f"{corpus}-losses", f"{corpus}: losses over seconds of training; dotted: {target_text}.", draw)


def waveforms(
    corpus: str, recordings: Sequence[Array], continued: Mapping[tuple[str, bool, int], Sequence[Array]], rate: int
) -> list[Picture]:
    longest_samples, pictures = max(map(len, recordings)), []
    for seed in sorted({seed for _, _, seed in continued}):
        sounds_by_label = {
            "recording": np.stack([np.pad(sound, (0, longest_samples - len(sound))) for sound in recordings])
        }
        first_sounds = {"recording": recordings[0][None]}
        for (name, restored, run_seed), sounds in continued.items():
            if run_seed == seed:
                label = name.removeprefix("sequence-") + ("" if restored else "\nunrestored")
                sounds_by_label[label] = np.stack([sound[:longest_samples] for sound in sounds])
                first_sounds[label] = sounds[0][None]
        frames_text = f"{seed} frame{'s' if seed > 1 else ''}"
        caption = (
            f"{corpus}: recordings, and their continuations from {frames_text}, scaling put back or not, in seconds."
        )
        pictures.append(clip_figures.waveforms(sounds_by_label, rate, f"{corpus}-from-{seed}", caption))
        if seed == 1:
            beyond_caption = f"{corpus}: the first of these, and 600 frames after its end."
            pictures.append(clip_figures.waveforms(first_sounds, rate, f"{corpus}-beyond", beyond_caption))
    return pictures


def page(figures: Figures) -> str:
    sections = {}
    for corpus in figures["corpora"]:
        pictures = joined(figure(name, caption) for name, caption in corpus["pictures"].items())
        markups = [
            _errors(corpus, figures["targets"]),
            floors_table({network["name"]: network["floors"] for network in corpus["networks"]}),
            measures_across(CONTINUED, summed(corpus["continued"]), "Medians over recordings."),
            floors_table(corpus["floors"]),
            pictures,
        ]
        sections[f"{corpus['name']}, {corpus['clips']} sequences"] = joined([*markups, players(corpus["sounds"])])
    corpus_names = " and ".join(corpus["name"] for corpus in figures["corpora"])
    basis_text = "All networks give back what they were trained on; the rows say how long they stay near it."
    return document(f"sequences on {corpus_names}", _verdict(figures), basis_text, sections, "study.json")


def _verdict(figures: Figures) -> str:
    sentences = []
    for corpus in figures["corpora"]:
        best_network = min(corpus["networks"], key=lambda network: float(network["mean_square"]))
        if floor := best_network["floors"]["mean_square"]["not_better_than"]:
            sentences.append(f"on {corpus['name']} no network is better than {FLOORS[floor]}")
            continue
        sentences.append(
            f"{best_network['name']} learns {corpus['name']} to an error of {best_network['mean_square']:.3g}"
        )
    return f"{', '.join(sentences)}."


def _target_time(target_index: int) -> Callable[[Figures], Any]:
    return lambda network: network["reached"][target_index]


def _errors(corpus: Figures, targets: Sequence[float]) -> Markup:
    measures = (
        Measure("Network", lambda network: run_link(network["name"], f"{corpus['name']}/runs")),
        Measure(
            "Error",
            "mean_square",
            ".4f",
            "mean square error of standardised frames, predicted from all frames before them, over the training "
            "length.",
        ),
        Measure(
            "First", "first", ".2f", "that of the first frame, predicted from a code alone and in no other figure."
        ),
        *(
            Measure(f"Seconds to {target:g}", _target_time(target_index), ".0f")
            for target_index, target in enumerate(targets)
        ),
        Measure("Seconds", "seconds", ".0f", "of training; to an error, until a batch’s loss first was as small."),
        Measure("Steps", "steps", "d", "of training; also below the seconds to an error."),
        Measure("Weights", lambda network: f"{network['parameters'] / 1e6:.1f} M"),
    )
    return measures_across(measures, corpus["networks"], kind="narrow")


def summed(rows: Sequence[Figures]) -> list[Figures]:
    """Summarize each network, scaling and seed over recordings: medians, and the largest ``rise_db``.

    ``worst`` is the recording whose onsets agree least, ``worst_floor`` the best floor of its onsets.
    """

    def group_key(row: Figures) -> tuple[str, bool, int]:
        return row["recipe"], not row["restored"], row["seed"]

    summaries = []
    for (recipe, unrestored, seed), group in groupby(sorted(rows, key=group_key), group_key):
        group_rows = list(group)
        medians = {
            name: float(np.median([row[name] for row in group_rows])) for name in ("correlation", "onsets", "edges_db")
        }
        rises_db = [row["tail_db"][1] - row["tail_db"][0] for row in group_rows]
        tail_levels_db = [row["tail_db"][1] - row["recording_db"] for row in group_rows]
        worst_row = min(group_rows, key=lambda row: float(row["onsets"]))
        floor = max(worst_row["onset_floors"], key=worst_row["onset_floors"].__getitem__)
        summaries.append(
            {"recipe": recipe, "restored": not unrestored, "seed": seed, **medians}
            | {"rise_db": max(rises_db), "tail_db": float(np.median(tail_levels_db))}
            | {"worst": worst_row["name"], "worst_onsets": worst_row["onsets"]}
            | {"worst_floor": [floor, worst_row["onset_floors"][floor]]}
        )
    return summaries


def _floor_text(row: Figures) -> str:
    name, onsets = row["worst_floor"]
    return f"{FLOORS[name]} {onsets:.2f}"


CONTINUED = (
    Measure("Network", "recipe"),
    Measure("Scaling", lambda row: "put back" if row["restored"] else "not put back"),
    Measure("Seed", "seed", "d", "frames that were given."),
    Measure("Envelope", "correlation", ".3f", "correlation with the recording’s, in parts of 10 ms."),
    Measure("Onsets", "onsets", ".2f", "F-measure within 30 ms."),
    Measure(
        "Worst",
        lambda row: (f"{row['worst_onsets']:.2f}", f"{row['worst']}: {_floor_text(row)}"),
        "",
        "that of the recording where it is least, with the best floor of that recording.",
    ),
    EDGES,
    Measure(
        "Tail, dB", "tail_db", "+.0f", "the level of the last 100 of 600 frames after the end, over the recording’s."
    ),
    Measure("Rise, dB", "rise_db", "+.1f", "by how much it has risen since the first 100, at the most."),
)
