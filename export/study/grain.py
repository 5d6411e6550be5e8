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

from ...host.arrays import Array
from ...host.audio.sound_files import sound_writer
from ...host.progress import Display
from ...train.families import FAMILIES
from ...train.families.grain.data import overlapped
from ...train.families.grain.network import GrainAutoencoder
from ...train.families.grain.recipe import GrainRecipe
from ...train.recipe import Recipe
from ...train.run import Run, trained
from ..families.grain import LEAST_DB, PICTURED_SECONDS, resynthesised, signed
from ..measures.grains import Part, decode, encode, filtered, sequence, stretch
from ..reports.measure import Measure, measures_across
from ..reports.page import basis, document, figure, joined, players, run_link
from ..reports.report import FORMAT, SEED, Figures
from .runs import StudyOptions, check_folder, load_recipes, train_and_evaluate, write_study


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
            NETWORK, figures["networks"], "Each name leads to its report, which says more.", kind="narrow"
        ),
        "Codes": _codes(figures),
        "Sounds": players(figures["sounds"]),
        **{f"Figure {panel.number}": html for panel in FIGURES if (html := _figure(figures, panel, folder))},
    }
    return document(f"grains on {figures['corpus']}", _verdict(figures), basis(report), sections, "study.json")


def _verdict(figures: Figures) -> str:
    by_name = {network["name"]: network for network in figures["networks"]}
    best, post = by_name[figures["best"]], by_name[figures["post"]]
    text = f"Random codes of {best['name']} come nearest to the recordings"
    if best["spectral_distance_ratio"] is None:
        return f"{text}."
    text += f": {best['spectral_distance_ratio']:.1f} times as far from unheard ones as training’s"
    if best is not post:
        text += f", where those of {post['name']} are {post['spectral_distance_ratio']:.1f} times"
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
            _bounded_level(network[f"excess_above_3_khz{filtered}_db"]) for filtered in ("", "_filtered")
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


def _codes(figures: Figures) -> Markup:
    names = {"held_out": "ends", "test": "test", "val": "validation", "train": "training"}
    measures = [
        Measure(
            "Network",
            lambda network: run_link(network["name"]) + ("" if network["adversarial"] else " (no prior)"),
        )
    ]
    for part in figures["networks"][0]["codes"]:
        measures += [
            Measure(f"Mean, {names[part]}", f"codes.{part}.largest_mean", ".2f"),
            Measure(f"Deviations, {names[part]}", functools.partial(_deviations, part=part)),
            Measure(f"Correlation, {names[part]}", f"codes.{part}.largest_correlation", ".2f"),
        ]
    note = (
        "The largest mean of a latent, the smallest and largest deviation, the largest correlation of two: of codes at "
        "the ends of training clips, which were not trained on, and of other clips. Below each: 95 % of a bootstrap "
        "over clips."
    )
    return measures_across(measures, figures["networks"], note, kind="narrow")


def _deviations(network: Figures, part: str) -> tuple[str, str]:
    low, high = network["codes"][part]["smallest_std"], network["codes"][part]["largest_std"]
    return f"{low['value']:.2f} to {high['value']:.2f}", f"{low['low']:.2f} to {high['high']:.2f}"


def _bounded_level(level: float) -> str:
    return "≤ −40" if level <= LEAST_DB else signed(level)


def _figure(figures: Figures, panel: Panel, folder: Path) -> Markup:
    names = [network["name"] for network in figures["networks"]]
    if panel.recipe not in names:
        return Markup()
    pictures = []
    for name in dict.fromkeys((panel.recipe, figures["best"])):
        path = f"runs/{name}/report/{panel.picture}"
        if (folder / f"{path}.png").exists():
            caption = panel.caption if name == panel.recipe else "the same of the best network"
            pictures.append(figure(path, f"{name}: {caption}."))
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
    check_folder(options, recipes)
    display.stage("study grain")
    seconds = {recipe.name: _operations(recipe) / OPERATIONS for recipe in recipes}
    reports = train_and_evaluate(options, recipes, seconds, display)
    if reports is None:
        return False
    post = POST if POST in reports else recipes[0].name
    drawable = [name for name, report in reports.items() if report["run"]["adversarial"]] or list(reports)
    best = min(drawable, key=lambda name: float(reports[name]["spectral_distance"]["generated"]))
    sounds = _write_sounds(options.folder, post, best, reports[best]["split"])
    figures = {
        "format": FORMAT,
        "study": "grain",
        "corpus": reports[best]["run"]["corpus"],
        "post": post,
        "best": best,
        "networks": [{"name": name, **_row(report)} for name, report in reports.items()],
        "sounds": sounds,
    }
    write_study(options.folder, figures, page(figures, reports[best], options.folder))
    return True


def _operations(recipe: Recipe) -> float:
    assert isinstance(recipe, GrainRecipe)
    assert recipe.training.steps is not None
    network = FAMILIES["grain"].network(recipe).eval()
    windows = torch.zeros(recipe.training.batch_size, recipe.frames.frame_length)
    generator = torch.Generator().manual_seed(0)
    with FlopCounterMode(display=False) as counter:
        for turn in network.objectives:
            network.total(network(turn.name, windows, generator)).backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) * recipe.training.steps


def _row(report: Figures) -> Figures:
    plain, filtered_top = report["reconstruction"]["unfiltered"], report["bands"]["filtered"][-1]
    top = report["bands"]["unfiltered"][-1]
    names = ("largest_mean", "smallest_std", "largest_std", "largest_correlation", "kolmogorov_smirnov", "energy")
    parts = [part for part in ("held_out", report["split"]) if part in report["codes"]]
    return {
        "split": report["split"],
        "adversarial": report["run"]["adversarial"],
        "steps": report["run"]["step"],
        "seconds": report["run"]["seconds"],
        "parameters": report["run"]["parameters"],
        "sample_mean_square": plain["sample_mean_square"]["value"],
        "sample_error_db": plain["sample_error_db"]["value"],
        "spectral_convergence_db": plain["spectral_convergence_db"]["value"],
        "log_spectral_distance_db": plain["log_spectral_distance_db"]["value"],
        "level_above_3_khz_db": top["level_db"]["mean"],
        "excess_above_3_khz_db": top["excess_db"]["mean"],
        "excess_above_3_khz_filtered_db": filtered_top["excess_db"]["mean"],
        "spectral_distance": report["spectral_distance"]["generated"],
        "spectral_distance_ratio": report["spectral_distance"]["ratio"],
        "codes": {part: {name: report["codes"][part][name] for name in names} for part in parts},
    }


def _write_sounds(folder: Path, post: str, best: str, part: Part) -> dict[str, str]:
    """The post's Example 2 lacks the upper 85 % of bins."""
    written = {"example-1-source.wav": "Example 1: the recording"}
    for name in dict.fromkeys((post, best)):
        run = Run.open(folder / "runs" / name)
        network, recipe = trained(run, "best")[0], run.recipe
        assert isinstance(network, GrainAutoencoder)
        assert isinstance(recipe, GrainRecipe)
        rng, length = np.random.default_rng(SEED), recipe.frames.frame_length
        sound = stretch(run.corpus(), part, recipe.frames, PICTURED_SECONDS)
        if name == post:
            _write_sound(folder / "example-1-source.wav", sound, recipe)
        _write_sound(folder / f"example-1-{name}.wav", resynthesised(network, recipe, sound, rng), recipe)
        written[f"example-1-{name}.wav"] = f"Example 1: {name}, windows one after another"
        hop = max(1, length // OVERLAP)
        grains = decode(network, encode(network, sequence(sound, length, hop)), recipe, rng)
        versions = {"filtered": filtered(grains)} if name == post else {}
        if name == best:
            versions["unfiltered"] = grains
        for version, windows in versions.items():
            _write_sound(folder / f"example-2-{name}-{version}.wav", overlapped(windows, hop, "blackman"), recipe)
            written[f"example-2-{name}-{version}.wav"] = f"Example 2: {name}, overlapping by 90 %, {version}"
    return dict(sorted(written.items(), key=lambda item: item[0][: len("example-1")]))


def _write_sound(path: Path, sound: Array, recipe: GrainRecipe) -> None:
    with sound_writer(path, recipe.frames.sample_rate, channels=1, overwrite=True) as file:
        file.write(sound[None])
