"""The study of clip generators: networks of two posts beside `tuned-clip`.

Like Alencar ("Audio Generation with GANs", 2019), it shows the first and last epoch, both sides' losses, and
reconstructions by an autoencoder of the halves.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from matplotlib.figure import Figure

from ...host.arrays import Array
from ...host.files import replacing
from ...host.progress import Display
from ...train import checkpoint
from ...train.corpus.store import Corpus
from ...train.data import Data
from ...train.families import FAMILIES
from ...train.families.gan.generator import ClipGenerator
from ...train.loop import RunOptions
from ...train.network import Network
from ...train.recipe import Recipe
from ...train.run import Run
from ...train.sampling import evenly_spaced
from ..families import FAMILIES as EXPORTED
from ..families.clip import evaluated_clips
from ..families.gan import generator_reporter
from ..reports.clip_figures import spectrograms, waveforms
from ..reports.floor_tables import FLOORS, floors_table
from ..reports.measure import Measure, measures_across
from ..reports.page import basis, document, figure, joined, players, run_link
from ..reports.report import FORMAT, SEED, WIDTH, Figures, Picture, Theme
from .runs import (
    StudyOptions,
    Training,
    check_folder,
    load_recipes,
    save_pictures,
    train_and_evaluate,
    write_sound,
    write_study,
)

RECIPES = ("clip-dcgan", "clip-dcgan-halves", "clip-wavegan", "tuned-clip")
COMPARED = ("dcgan", "halves", "gan", "clip")  # families
ALONE = 0.5  # a batch costs less per clip than a single clip, by this factor; the progress display corrects it
STAGES = 10  # losses are logged after each
SHOWN = 4  # clips in a picture and in a sound file
GAP_SECONDS, PEAK = 0.25, 0.9
FIRST = "first.ckpt"  # in a run: checkpoint after the first epoch


def study(options: StudyOptions, display: Display) -> bool:
    corpus = Corpus.open(options.corpus)
    trainings, steps_per_epoch, training_seconds = [], {}, {}
    for recipe in load_recipes(options, COMPARED, RECIPES, lambda plain_recipe: _fitting(plain_recipe, corpus)):
        family = FAMILIES[recipe.family]
        recipe = family.complete(recipe, corpus)
        family.check(corpus, recipe)
        network = family.network(recipe)
        data = family.data(corpus, recipe, Path())  # no family here keeps files
        steps_per_epoch[recipe.name] = epoch_steps = _epoch_steps(network, recipe, len(data))
        if recipe.training.epochs is not None:
            recipe = _budgeted(recipe, steps=recipe.training.epochs * epoch_steps)
        training_seconds[recipe.name] = _seconds(network.eval(), recipe, data)
        trainings.append(StagedTraining(recipe, options.corpus, options.run_folder(recipe), epoch_steps))
    check_folder(options.folder, trainings, further=True)
    display.stage("study gan")
    reports = train_and_evaluate(options, trainings, training_seconds, display)
    if reports is None:
        return False
    exhibits = {name: _exhibits(options.folder, name, steps_per_epoch[name], reports[name]) for name in reports}
    figures = {
        "format": FORMAT,
        "study": "gan",
        "corpus": corpus.name,
        "judge": None if options.classifier is None else Run.open(options.classifier).recipe.name,
        "networks": [
            {"name": name, "epoch_steps": steps_per_epoch[name], **row(report)} for name, report in reports.items()
        ],
        "sounds": {file: caption for sounds, _ in exhibits.values() for file, caption in sounds.items()},
        "pictures": {picture: caption for _, pictures in exhibits.values() for picture, caption in pictures.items()},
    }
    write_study(options.folder, figures, page(figures, next(iter(reports.values()))))
    return True


def _fitting(recipe: Recipe, corpus: Corpus) -> list[str]:
    """Return the changes by which export fits its recipe to a corpus."""
    family = EXPORTED[recipe.family]
    return family.changes(corpus) if family.recipe == recipe.name else []


def _epoch_steps(network: Network, recipe: Recipe, clip_count: int) -> int:
    batches_per_step = network.batches_a_step
    return max(
        1, clip_count // max(1, batches_per_step * min(recipe.training.batch_size, clip_count // batches_per_step))
    )


def _budgeted(recipe: Recipe, steps: int | None = None, minutes: float | None = None) -> Recipe:
    """Replace a recipe's budget."""
    training_settings = recipe.training.model_copy(update={"epochs": None, "steps": steps, "minutes": minutes})
    return recipe.model_copy(update={"training": training_settings})


def _seconds(network: Network, recipe: Recipe, data: Data[Any]) -> float:
    """Estimate a training's seconds by one step on a single clip."""
    if recipe.training.minutes is not None:
        return 60 * recipe.training.minutes
    assert recipe.training.steps is not None
    network.initialise(data)
    batch = data.batch(np.zeros(1, np.int64), np.random.default_rng(0))
    start_time = time.monotonic()
    for objective in network.objectives:
        for _ in range(max(1, objective.batches)):
            network.total(network(objective.name, *batch, torch.Generator().manual_seed(0))).backward()  # type: ignore[no-untyped-call]
    return (time.monotonic() - start_time) * ALONE * recipe.training.batch_size * recipe.training.steps


@dataclass(frozen=True)
class StagedTraining(Training):
    """Stops after the first epoch, which is kept, and after each tenth; a falling learning rate needs one part."""

    epoch_steps: int

    def train(self, options: RunOptions) -> bool:
        if self.recipe.training.schedule != "constant":
            return super().train(options)
        for stage_index, (recipe, budget_share) in enumerate(_stages(self.recipe, self.epoch_steps)):
            stage = Training(recipe, self.corpus, self.folder)
            if stage.is_finished:
                continue
            if not stage.train(_with_share(options, budget_share)):
                return False
            if not stage_index:
                with replacing(self.folder / FIRST, overwrite=True) as file:
                    shutil.copyfile(stage.folder / "last.ckpt", file)
        return True


def _with_share(options: RunOptions, budget_share: float) -> RunOptions:
    """Report shares of all stages' budget, of which one stage has ``budget_share``."""
    report = options.on_report
    if report is None:
        return options
    return replace(
        options, on_report=lambda status: report(replace(status, budget_share=budget_share * status.budget_share))
    )


def _stages(recipe: Recipe, epoch_steps: int) -> list[tuple[Recipe, float]]:
    """Stops: one epoch, and each tenth."""
    steps, minutes = recipe.training.steps, recipe.training.minutes
    if steps is None:
        assert minutes is not None
        timed_stages = [
            (_budgeted(recipe, minutes=minutes * stage_number / STAGES), stage_number / STAGES)
            for stage_number in range(1, STAGES + 1)
        ]
        return [(_budgeted(recipe, steps=epoch_steps), 0.0), *timed_stages]
    stop_steps = {
        min(epoch_steps, steps),
        *(max(1, steps * stage_number // STAGES) for stage_number in range(1, STAGES + 1)),
    }
    return [
        (_budgeted(recipe, steps=stop_step), stop_step / steps)
        for stop_step in sorted(stop_steps)
        if stop_step >= min(epoch_steps, steps)
    ]


def row(report: Figures) -> Figures:
    """Return a network's row of figures from its report."""
    generated, reconstruction, judged = report["generated"], report["reconstruction"], report["generated"]["told"]
    return {
        "split": report["split"],
        "steps": report["run"]["step"],
        "seconds": report["run"]["seconds"],
        "parameters": report["run"]["parameters"],
        "collapsed": report["collapsed"],
        "frechet_ratio": generated["ratio"],
        "frechet_db2": [generated["likeness"]["made"], generated["likeness"]["train"]],
        "nearest_db": [generated["nearest"]["median"], generated["test_nearest"]["median"]],
        "diversity_db": [generated["diversity_db"], generated["test_diversity_db"]],
        "silent_share": [generated["silent_share"], generated["test_silent_share"]],
        "log_mel_db": reconstruction and reconstruction["log_mel_db"]["median"],
        "relative_error": reconstruction and reconstruction.get("relative_error"),
        "inception_score": judged and [judged["score"], judged["real_score"]],
        "frechet_features": judged and [judged["likeness"]["made"], judged["likeness"]["train"]],
        "accuracy": judged and judged["accuracy"],
        "floors": report["floors"],
    }


def _exhibits(folder: Path, name: str, epoch_steps: int, report: Figures) -> tuple[dict[str, str], dict[str, str]]:
    """Write a run's sounds and pictures; return their captions by file."""
    report_path = f"runs/{name}/report"
    sound_files = [file for file in report["sounds"] if file in ("recording-1.wav", "decoded-1.wav")]
    sounds = {
        f"{report_path}/{file}": f"{name}: {report['sounds'][file]}" for file in sound_files if report["reconstruction"]
    }
    pictures = {}
    if (folder / report_path / "zoom.png").exists():
        pictures[f"{report_path}/zoom"] = (
            f"{name}: twenty milliseconds of recordings, and what is decoded of their codes."
        )
    run = Run.open(folder / "runs" / name)
    if not isinstance(network := FAMILIES[run.recipe.family].network(run.recipe), ClipGenerator):
        return sounds, pictures
    clips_by_name = _rows(run, network)
    rate = run.recipe.frames.sample_rate
    drawn_pictures = [*over_epochs(name, clips_by_name, rate), losses(name, report["loss"], epoch_steps)]
    for picture_name, caption in save_pictures(folder, drawn_pictures).items():
        pictures[picture_name] = f"{name}: {caption}"
    for clip_name, clips in clips_by_name.items():
        file = f"{name}-{clip_name.replace(' ', '-')}.wav"
        _write_clips(folder / file, clips, rate)
        sounds[file] = f"{name}: {clip_name}"
    return sounds, pictures


@torch.no_grad()
def _rows(run: Run, network: ClipGenerator) -> dict[str, Array]:
    """Return recordings, and clips generated after the first and the last epoch, [clips, samples], by caption."""
    reporter = generator_reporter(network, run)
    split_sample = evaluated_clips(run.corpus(), reporter, fewest=1)
    clip_indices = evenly_spaced(len(split_sample.clips), SHOWN)
    clips_by_name = {"recordings": split_sample.clips[clip_indices]}
    for epoch_name, checkpoint_path in (("first epoch", run.folder / FIRST), ("last epoch", run.last)):
        if checkpoint_path.exists():
            checkpoint.restore(checkpoint_path, network)
            network.eval()
            clips_by_name[epoch_name] = reporter.generate(split_sample.labels[clip_indices], SEED)
    return clips_by_name


def _write_clips(path: Path, clips: Array, rate: int) -> None:
    clip_peaks = np.maximum(np.abs(clips).max(1, keepdims=True), 1e-9)
    gap_padding = ((0, 0), (0, round(GAP_SECONDS * rate)))
    padded_clips = np.pad(PEAK * clips / clip_peaks, gap_padding).astype(np.float32, copy=False)
    write_sound(path, padded_clips.ravel(), rate)


def over_epochs(name: str, clips_by_name: Mapping[str, Array], rate: int) -> list[Picture]:
    """Draw clips [clips, samples], a row for each name."""
    subject = "recordings, and clips of the same codes after the first and after the last epoch"
    return [
        waveforms(clips_by_name, rate, f"{name}-waveforms", f"Waveforms of {subject}, in seconds."),
        spectrograms(clips_by_name, rate, f"{name}-spectrograms", f"Levels of mel bands of {subject}."),
    ]


def losses(name: str, logged: Mapping[str, Any], epoch_steps: int) -> Picture:
    logged_epochs = np.array(logged["steps"]) / epoch_steps

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.6), layout="constrained")
        axes = figure.subplots()
        for (side, side_losses), colour in zip(logged["sides"].items(), (theme.second, theme.first), strict=True):
            axes.plot(logged_epochs, side_losses, ".-", color=colour, linewidth=1.2, label=side)
        axes.set_xlabel("epoch")
        axes.grid(axis="y")
        figure.legend(loc="outside upper right", ncols=2)
        return figure

    return Picture(f"{name}-losses", "Losses of both sides on validation clips, over epochs.", draw)


def page(figures: Figures, report: Figures) -> str:
    sections = {
        "Networks": _networks(figures),
        "Floors": floors_table({network["name"]: network["floors"] for network in figures["networks"]}),
        "Sounds": players(figures["sounds"]),
        "Pictures": joined(figure(path, caption) for path, caption in figures["pictures"].items()),
    }
    return document(f"clips on {figures['corpus']}", _verdict(figures), _basis(report), sections, "study.json")


def _basis(report: Figures) -> str:
    return f"{basis(report)} That is of {report['run']['recipe']}; each network has its own report."


def _verdict(figures: Figures) -> str:
    collapsed_names = [network["name"] for network in figures["networks"] if network["collapsed"]]
    standing_networks = [network for network in figures["networks"] if not network["collapsed"]]
    collapse_note = (
        f"{' and '.join(collapsed_names)} {'has' if len(collapsed_names) == 1 else 'have'} collapsed."
        if collapsed_names
        else ""
    )
    if not standing_networks:
        return collapse_note
    best = min(standing_networks, key=lambda network: float(network["frechet_ratio"]))
    if floor := best["floors"]["frechet"]["not_better_than"]:
        return f"Random codes of no network are better than {FLOORS[floor]}. {collapse_note}".strip()
    text = f"Random codes of {best['name']} come nearest to the recordings: {best['frechet_ratio']:.3g} times as far"
    return f"{text} as these are from each other. {collapse_note}".strip()


NETWORK = (
    Measure("Network", lambda network: run_link(network["name"]) + (" (collapsed)" if network["collapsed"] else "")),
    Measure(
        "Fréchet, dB²",
        "frechet_db2",
        ".0f",
        "distance on log-mel frames to unheard clips, below it that of as many training clips.",
    ),
    Measure(
        "Nearest, dB",
        "nearest_db",
        ".1f",
        "the median distance to the nearest training clip; where it is less than the recordings' own, some are "
        "remembered.",
    ),
    Measure("Diversity, dB", "diversity_db", ".1f", "how far clips lie apart."),
    Measure("Silent", "silent_share", ".0%", "time, more than 50 dB under a clip's loudest moment."),
    Measure("Back, dB", "log_mel_db", ".1f", "how far recordings lie from what is decoded of their codes."),
    Measure("Error", "relative_error", ".2f", "its energy against theirs, sample by sample."),
)
JUDGED = (
    Measure("Score", "inception_score", ".2f", "inception score of a thousand clips at most, in one part."),
    Measure("Features", "frechet_features", ".1f", "Fréchet distance on the classifier's."),
    Measure("Label", "accuracy", ".0%", "clips that are taken for the label that was asked for."),
)
TRAINING = (
    Measure("Steps", "steps", "d", "up to the best checkpoint."),
    Measure("Seconds", "seconds", ".0f", "of all training."),
    Measure("Weights", lambda network: f"{network['parameters'] / 1e6:.2f} M"),
)


def _networks(figures: Figures) -> Markup:
    judged_measures = JUDGED if any(network["inception_score"] for network in figures["networks"]) else ()
    note = (
        "Figures are of clips of random codes; below each stands that of recordings, cut to the network's clip length. "
        "Each name leads to its report."
    )
    return measures_across([*NETWORK, *judged_measures, *TRAINING], figures["networks"], note, kind="narrow")
