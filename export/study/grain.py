"""The study of grains: repeats the Ambisynth post "10 gruesome images of adversarial networks fighting to the death".


The post's Figures 2 and 4 to 11 and its two sounds appear beside those of the best network, trained toward a prior.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from markupsafe import Markup
from torch.utils.flop_counter import FlopCounterMode

from ...host.errors import UserError
from ...host.progress import Display
from ...train.families import FAMILIES
from ...train.families.grain.data import overlapped
from ...train.families.grain.network import GrainAutoencoder
from ...train.families.grain.recipe import GrainRecipe
from ...train.recipe import Recipe
from ...train.run import Run, trained
from ..families.grain_report import PICTURED_SECONDS, resynthesised
from ..families.grain_tables import level_text
from ..measures.grains import Part, decode, encode, filtered, sequence, stretch
from ..reports.floor_tables import FLOORS, floors_table
from ..reports.measure import Measure, measures_across
from ..reports.page import basis, document, figure, joined, players, run_link
from ..reports.report import FORMAT, SEED, Figures
from .runs import StudyOptions, Training, check_folder, load_recipes, train_and_evaluate, write_sound, write_study


class Panel(NamedTuple):
    number: int
    recipe: str
    picture: str
    caption: str


FIGURES = (
    Panel(2, "grain-plain", "waveforms", "windows that went in, and came out of the plain autoencoder"),
    Panel(4, "grain-adversarial", "loss", "losses of the adversarial autoencoder"),
    Panel(5, "grain-adversarial", "codes", "codes, against the prior that they are trained toward"),
    Panel(6, "grain-adversarial", "code_space", "the space of codes; the post’s is hypothetical, this one measured"),
    Panel(7, "grain-adversarial", "waveforms", "windows that went in, and came out of the adversarial autoencoder"),
    Panel(8, "grain-adversarial", "resynthesis", "ten seconds, in windows without overlap (Example 1)"),
    Panel(9, "grain-adversarial", "grain_spectrum", "spectrum of a grain, in and out"),
    Panel(10, "grain-adversarial", "filtered", "windows without the upper 85 % of the bins of what came out"),
    Panel(11, "grain-spectral", "phases", "magnitudes, phases and waveform of the spectral autoencoder"),
)


def page(figures: Figures, report: Figures, folder: Path) -> str:
    sections = {
        "Networks": measures_across(
            [*NETWORK, *(WORDS if figures["judge"] else ())],
            figures["networks"],
            "Each name leads to its report, which says more.",
            kind="narrow",
        ),
        "Floors": floors_table({network["name"]: network["floors"] for network in figures["networks"]}),
        "Codes": _codes(figures),
        "Sounds": players(figures["sounds"]),
        **{f"Figure {panel.number}": html for panel in FIGURES if (html := _figure(figures, panel, folder))},
    }
    return document(f"grains on {figures['corpus']}", _verdict(figures), basis(report), sections, "study.json")


def _verdict(figures: Figures) -> str:
    networks_by_name = {network["name"]: network for network in figures["networks"]}
    best_network, post_network = networks_by_name[figures["best"]], networks_by_name[figures["post"]]
    text = f"Random codes of {best_network['name']} come nearest to the recordings"
    if floor := best_network["floors"]["generated"]["not_better_than"]:
        return f"{text}, and are not better than {FLOORS[floor]}."
    if best_network["spectral_distance_ratio"] is None:
        return f"{text}."
    text += f": {best_network['spectral_distance_ratio']:.1f} times as far from unheard ones as training’s"
    if best_network is not post_network:
        text += f", where those of {post_network['name']} are {post_network['spectral_distance_ratio']:.1f} times"
    return f"{text}."


NETWORK = (
    Measure("Network", lambda network: run_link(network["name"])),
    Measure(
        "Mean square",
        "sample_mean_square",
        ".3g",
        "of samples; networks that decode a filter for noise have about twice the sound’s energy, which says nothing.",
    ),
    Measure("Convergence", "spectral_convergence_db", ".1f", "spectral, in dB."),
    Measure("Distance", "log_spectral_distance_db", ".1f", "of levels in mel bands, in dB."),
    Measure("Level", "level_above_3_khz_db", "+.1f", "above 3 kHz, in dB against the sound’s own, mean over clips."),
    Measure(
        "Added",
        lambda network: tuple(
            level_text(network[f"excess_above_3_khz{filtered}_db"]) for filtered in ("", "_filtered")
        ),
        "",
        "power beyond the sound’s own there, below it that without the upper 85 % of the bins.",
    ),
    Measure(
        "Random",
        lambda network: (
            f"{network['spectral_distance']:.0f}"
            if network["spectral_distance_ratio"] is None
            else f"{network['spectral_distance_ratio']:.2f} ×"
        ),
        "",
        "Fréchet distance of random codes from unheard sounds, against that of training’s; they are drawn from the "
        "prior, or without one from a normal distribution fitted to training’s.",
    ),
    Measure("Seconds", "seconds", ".0f", "of training."),
    Measure("Weights", lambda network: f"{network['parameters'] / 1e6:.2f} M"),
)
WORDS = (
    Measure(
        "Words",
        "words",
        ".1%",
        "recordings, rebuilt of overlapping grains, that a classifier hears as their label; below it the recordings.",
    ),
)


def _codes(figures: Figures) -> Markup:
    split_labels = {"held_out": "ends", "test": "test", "val": "validation", "train": "training"}
    measures = [
        Measure(
            "Network",
            lambda network: run_link(network["name"]) + ("" if network["adversarial"] else " (no prior)"),
        )
    ]
    for split in figures["networks"][0]["codes"]:
        measures += [
            Measure(f"Mean, {split_labels[split]}", f"codes.{split}.largest_mean", ".2f"),
            Measure(f"Deviations, {split_labels[split]}", functools.partial(_deviations, split=split)),
            Measure(f"Correlation, {split_labels[split]}", f"codes.{split}.largest_correlation", ".2f"),
        ]
    note = (
        "The largest mean of a latent, the smallest and largest deviation, the largest correlation of two: of codes at "
        "the ends of training clips, which were not trained on, and of other clips. Below each: 95 % of a bootstrap "
        "over clips."
    )
    return measures_across(measures, figures["networks"], note, kind="narrow")


def _deviations(network: Figures, split: str) -> tuple[str, str]:
    """Return the smallest and largest deviation of a latent, and below it their bootstrap bounds."""
    smallest, largest = network["codes"][split]["smallest_std"], network["codes"][split]["largest_std"]
    return f"{smallest['value']:.2f} to {largest['value']:.2f}", f"{smallest['low']:.2f} to {largest['high']:.2f}"


def _figure(figures: Figures, panel: Panel, folder: Path) -> Markup:
    """Show a picture of a panel's recipe beside that of the best network; empty if the recipe is missing."""
    network_names = [network["name"] for network in figures["networks"]]
    if panel.recipe not in network_names:
        return Markup()
    pictures = []
    for name in dict.fromkeys((panel.recipe, figures["best"])):
        picture_path = f"runs/{name}/report/{panel.picture}"
        if (folder / f"{picture_path}.png").exists():
            caption = panel.caption if name == panel.recipe else "the same of the best network"
            pictures.append(figure(picture_path, f"{name}: {caption}."))
    return joined(pictures)


POST = "grain-adversarial"
RECIPES = (
    "grain-plain",
    POST,
    "grain-spectral",
    "grain-aligned",
    "grain-heard",
    "grain-convolutional",
    "grain-noise",
)
OPERATIONS = 3e10  # a second, roughly, of one core; the progress display corrects it
OVERLAP = 10  # overlapping grains: the post's 90 %


def study(options: StudyOptions, display: Display) -> bool:
    recipes = load_recipes(options, ("grain",), RECIPES)
    for recipe in recipes:
        if recipe.training.steps is None:
            raise UserError(f"recipe {recipe.name} has no training.steps, by which a study counts; give --steps")
    trainings = [Training(recipe, options.corpus, options.run_folder(recipe)) for recipe in recipes]
    check_folder(options.folder, trainings)
    display.stage("study grain")
    training_seconds = {recipe.name: _operations(recipe) / OPERATIONS for recipe in recipes}
    reports = train_and_evaluate(options, trainings, training_seconds, display)
    if reports is None:
        return False
    post_name = POST if POST in reports else recipes[0].name
    candidate_names = [name for name, report in reports.items() if report["run"]["adversarial"]] or list(reports)
    best_name = min(candidate_names, key=lambda name: float(reports[name]["spectral_distance"]["generated"]))
    sounds = _write_sounds(options.folder, post_name, best_name, reports[best_name]["split"])
    figures = {
        "format": FORMAT,
        "study": "grain",
        "corpus": reports[best_name]["run"]["corpus"],
        "post": post_name,
        "best": best_name,
        "judge": None if options.classifier is None else Run.open(options.classifier).recipe.name,
        "networks": [{"name": name, **_row(report)} for name, report in reports.items()],
        "sounds": sounds,
    }
    write_study(options.folder, figures, page(figures, reports[best_name], options.folder))
    return True


def _operations(recipe: Recipe) -> float:
    """Count the floating-point operations of a training."""
    assert isinstance(recipe, GrainRecipe)
    assert recipe.training.steps is not None
    network = FAMILIES["grain"].network(recipe).eval()
    windows = torch.zeros(recipe.training.batch_size, recipe.frames.frame_length)
    generator = torch.Generator().manual_seed(0)
    with FlopCounterMode(display=False) as counter:
        for objective in network.objectives:
            network.total(network(objective.name, windows, generator)).backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) * recipe.training.steps


def _row(report: Figures) -> Figures:
    """Return a network's row of figures from its report."""
    error_figures, filtered_top_band = report["reconstruction"]["unfiltered"], report["bands"]["filtered"][-1]
    top_band = report["bands"]["unfiltered"][-1]
    code_figure_names = (
        "largest_mean",
        "smallest_std",
        "largest_std",
        "largest_correlation",
        "kolmogorov_smirnov",
        "energy",
    )
    splits = [split for split in ("held_out", report["split"]) if split in report["codes"]]
    return {
        "split": report["split"],
        "adversarial": report["run"]["adversarial"],
        "steps": report["run"]["step"],
        "seconds": report["run"]["seconds"],
        "parameters": report["run"]["parameters"],
        "sample_mean_square": error_figures["sample_mean_square"]["value"],
        "sample_error_db": error_figures["sample_error_db"]["value"],
        "spectral_convergence_db": error_figures["spectral_convergence_db"]["value"],
        "log_spectral_distance_db": error_figures["log_spectral_distance_db"]["value"],
        "level_above_3_khz_db": top_band["level_db"]["mean"],
        "excess_above_3_khz_db": top_band["excess_db"]["mean"],
        "excess_above_3_khz_filtered_db": filtered_top_band["excess_db"]["mean"],
        "spectral_distance": report["spectral_distance"]["generated"],
        "spectral_distance_ratio": report["spectral_distance"]["ratio"],
        "floors": report["floors"],
        "words": (words := report["floors"].get("words")) and [words["value"], words["recorded"]],
        "codes": {split: {name: report["codes"][split][name] for name in code_figure_names} for split in splits},
    }


def _write_sounds(folder: Path, post_name: str, best_name: str, split: Part) -> dict[str, str]:
    """The post's Example 2 lacks the upper 85 % of bins."""
    captions_by_file = {"example-1-source.wav": "Example 1: the recording"}
    for name in dict.fromkeys((post_name, best_name)):
        run = Run.open(folder / "runs" / name)
        network, recipe = trained(run, "best")[0], run.recipe
        assert isinstance(network, GrainAutoencoder)
        assert isinstance(recipe, GrainRecipe)
        rng, length, rate = np.random.default_rng(SEED), recipe.frames.frame_length, recipe.frames.sample_rate
        sound = stretch(run.corpus(), split, recipe.frames, PICTURED_SECONDS)
        if name == post_name:
            write_sound(folder / "example-1-source.wav", sound, rate)
        write_sound(folder / f"example-1-{name}.wav", resynthesised(network, recipe, sound, rng), rate)
        captions_by_file[f"example-1-{name}.wav"] = f"Example 1: {name}, windows one after another"
        hop = max(1, length // OVERLAP)
        grains = decode(network, encode(network, sequence(sound, length, hop)), recipe, rng)
        grains_by_version = {"filtered": filtered(grains)} if name == post_name else {}
        if name == best_name:
            grains_by_version["unfiltered"] = grains
        for version, windows in grains_by_version.items():
            write_sound(folder / f"example-2-{name}-{version}.wav", overlapped(windows, hop, "blackman"), rate)
            captions_by_file[f"example-2-{name}-{version}.wav"] = f"Example 2: {name}, overlapping by 90 %, {version}"
    return dict(sorted(captions_by_file.items(), key=lambda item: item[0][: len("example-1")]))
