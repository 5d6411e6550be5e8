"""The study of grains: repeats the Ambisynth post "10 gruesome images of adversarial networks fighting to the death".

The post's Figures 2 and 4 to 11 and its two sounds appear beside those of the best network, trained toward a prior.
"""

from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ....host.arrays import Array
from ....host.audio.sound_files import sound_writer
from ....host.progress import Display
from ....train.families.grain.network import GrainAutoencoder
from ....train.families.grain.recipe import GrainRecipe
from ....train.families.table import FAMILIES
from ....train.grain_synthesis import overlapped
from ....train.recipes.base import Recipe
from ....train.run import Run, trained
from ...measures.grain_sample import Part, decode, encode, filtered, sequence, stretch
from ...reports.report import FORMAT, SEED, Figures
from ...study.runs import StudyOptions, check_folder, load_recipes, train_and_evaluate, write_study
from .report import PICTURED_SECONDS, resynthesised
from .study_page import page

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


def study(asked: StudyOptions, display: Display) -> bool:
    recipes = load_recipes(asked, ("grain",), RECIPES)
    check_folder(asked, recipes)
    display.stage("study grain")
    seconds = {recipe.name: _operations(recipe) / OPERATIONS for recipe in recipes}
    reports = train_and_evaluate(asked, recipes, seconds, display)
    if reports is None:
        return False
    post = POST if POST in reports else recipes[0].name
    drawable = [name for name, report in reports.items() if report["run"]["adversarial"]] or list(reports)
    best = min(drawable, key=lambda name: float(reports[name]["spectral_distance"]["generated"]))
    sounds = _write_sounds(asked.folder, post, best, reports[best]["split"])
    found = {
        "format": FORMAT,
        "study": "grain",
        "corpus": reports[best]["run"]["corpus"],
        "post": post,
        "best": best,
        "networks": [{"name": name, **_row(report)} for name, report in reports.items()],
        "sounds": sounds,
    }
    write_study(asked.folder, found, page(found, reports[best], asked.folder))
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
    plain, without = report["reconstruction"]["unfiltered"], report["bands"]["filtered"][-1]
    above = report["bands"]["unfiltered"][-1]
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
        "level_above_3_khz_db": above["level_db"]["mean"],
        "excess_above_3_khz_db": above["excess_db"]["mean"],
        "excess_above_3_khz_filtered_db": without["excess_db"]["mean"],
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
        ways = {"filtered": filtered(grains)} if name == post else {}
        if name == best:
            ways["unfiltered"] = grains
        for way, heard in ways.items():
            _write_sound(folder / f"example-2-{name}-{way}.wav", overlapped(heard, hop, "blackman"), recipe)
            written[f"example-2-{name}-{way}.wav"] = f"Example 2: {name}, overlapping by 90 %, {way}"
    return dict(sorted(written.items(), key=lambda item: item[0][: len("example-1")]))


def _write_sound(path: Path, sound: Array, recipe: GrainRecipe) -> None:
    with sound_writer(path, recipe.frames.sample_rate, channels=1, overwrite=True) as file:
        file.write(sound[None])
