"""The family of learned paths: the graphs of its grains with a path, and its report."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure

from ...host.arrays import Array, Doubles
from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...train.corpus.clip_table import Split
from ...train.corpus.store import Corpus
from ...train.data import audible
from ...train.families.grain.data import overlapped
from ...train.families.grain.recipe import GrainRecipe
from ...train.families.path.network import PathNetwork
from ...train.families.path.recipe import PathRecipe
from ..graphs import Graphs, PathGraph
from ..measures.codes import SPAN
from ..measures.grains import decode, encode, sequence
from ..measures.paths import (
    MEASURES,
    PathFeatures,
    Walker,
    autoregression,
    autoregressive_walker,
    differences,
    features,
    path_rows,
    random_walker,
    shuffled,
)
from ..reports.clip_figures import loss_parts
from ..reports.floor_tables import FLOORS, floors_table
from ..reports.measure import Sentence, Verdict, verdict_of
from ..reports.page import faint, report_page
from ..reports.report import (
    SEED,
    Figures,
    Picture,
    Report,
    ReportRequest,
    ReportSound,
    Theme,
    evaluated_split,
    judged,
    line_colours,
    listed,
    losses,
    panels,
)
from .family import ExportFamily
from .grain import grain_graphs

FEWEST_STEPS = 32  # of a recording: its spectrum of levels has some octaves
WALKS = 3  # of each recording
SOUND_RECORDINGS = 2
QUIETEST = 1e-10  # power of a grain
NETWORK = "network"
NOTE = (
    "Each walk goes on for as long as a held-out recording, from its end. Own codes and shuffled ones are the ends of "
    "the scale; 0 is the recording itself. Steps: difference of the distributions of step sizes; dwell times: of the "
    "times until the path is a deviation a latent away; levels: difference of the spectra of levels in octaves from "
    "0.2 Hz, in the mean over recordings."
)


class PathExport(ExportFamily[PathRecipe, PathNetwork]):
    def graphs(self, network: PathNetwork, recipe: PathRecipe, corpus: Corpus, tonal: bool) -> Graphs:
        path = network.path
        graph = PathGraph(path, recipe.frames.hop_length, sum(path.sizes), path.latents + 1)
        return replace(grain_graphs(network.grains, recipe.frames, corpus), path=graph)

    def playing(self, preset: Preset, model: Model, tonal: bool) -> str:
        return "keys move its grains in pitch, its learned path walks its sounds"

    def report(self, request: ReportRequest) -> Report:
        """Report how walks on from unseen recordings compare with these, and with other walks."""
        run, network = request.run, request.network
        grain_recipe = run.source_runs()["grains"].recipe
        assert isinstance(grain_recipe, GrainRecipe)
        assert isinstance(run.recipe, PathRecipe)
        corpus, frames = run.corpus(), run.recipe.frames
        rng, step_hz = np.random.default_rng(SEED), frames.sample_rate / frames.hop_length

        def sounds_of(codes: Doubles) -> Array:
            return decode(network.grains, codes.astype(np.float32), grain_recipe, rng)

        def levels(codes: Doubles) -> Doubles:
            powers = np.square(sounds_of(codes), dtype=np.float64).mean(1)
            levels_db: Doubles = 10 * np.log10(np.maximum(powers, QUIETEST))
            return levels_db

        request.progress(0.0, "encoding")
        paths = {split: _paths(network, corpus, split, frames.frame_length, frames.hop_length) for split in SPLITS}
        split, recordings = evaluated_split(
            lambda split: paths[split],
            f"corpus {corpus.folder} has no audible recording of {FEWEST_STEPS} steps of {frames.hop_length} samples; "
            "build one of longer recordings",
        )
        train_codes = np.concatenate(paths["train"])
        deviations, (low, high) = train_codes.std(0), np.percentile(train_codes, SPAN, axis=0)
        fit = autoregression(paths["train"], paths["val"] or paths["train"])
        walkers: dict[str, Walker] = {
            NETWORK: _learned_walker(network, (low, high)),
            "random_walk": random_walker(paths["train"], (low, high)),
            "autoregression": autoregressive_walker(fit, (low, high)),
            "shuffled": shuffled,
        }
        differences_by_name: dict[str, list[dict[str, Doubles]]] = {name: [] for name in walkers}
        spectra_by_name: dict[str, list[Doubles]] = {name: [] for name in ("own", *walkers)}
        for recording_index, codes in enumerate(recordings):
            request.progress(0.1 + 0.8 * recording_index / len(recordings), "walking")
            own = features(codes, deviations, levels, step_hz)
            spectra_by_name["own"].append(own.levels)
            for name, walker in walkers.items():
                walks: list[PathFeatures] = [
                    features(walker(codes, WALKS * recording_index + number), deviations, levels, step_hz)
                    for number in range(WALKS)
                ]
                differences_by_name[name].append(differences(own, walks))
                spectra_by_name[name] += [walk.levels for walk in walks]
        terms_by_name = {
            name: {measure: np.array([row[measure] for row in rows]) for measure in MEASURES}
            for name, rows in differences_by_name.items()
        }
        rows = path_rows(terms_by_name, NETWORK, network.path.latents)
        spectra_db = {
            name: [None if np.isnan(level_db) else float(level_db) for level_db in np.mean(spectra, 0)]
            for name, spectra in spectra_by_name.items()
        }
        sounds = _sounds(recordings, walkers[NETWORK], sounds_of, frames.hop_length, frames.sample_rate)
        figures = judged(
            _verdict,
            run=request.training_origin(sum(p.numel() for p in network.path.parameters())),
            split=split,
            clips=len(recordings),
            sounds=listed(sounds),
            steps_a_second=step_hz,
            autoregression_order=fit.order,
            floors=rows,
            level_spectra_db=spectra_db,
            loss=losses(run, run.recipe.loss),
        )
        pictures = [_spectra_picture(spectra_db), *loss_parts(figures["loss"], request.step)]
        page = report_page(
            request,
            figures,
            pictures,
            {"Paths": [floors_table({"This network": rows}), faint(NOTE), "level_spectra"]},
            {"Training": ["loss"]},
        )
        return Report(figures, pictures, sounds, page)


SPLITS: tuple[Split, ...] = ("train", "val", "test")


def _paths(network: PathNetwork, corpus: Corpus, split: Split, length: int, hop: int) -> list[Doubles]:
    """Return the codes of a split's audible recordings that are long enough, [steps, n] each."""
    all_windows = [sequence(np.array(corpus.samples(clip)), length, hop) for clip in audible(corpus, split)]
    return [
        encode(network.grains, windows).astype(np.float64) for windows in all_windows if len(windows) >= FEWEST_STEPS
    ]


def _learned_walker(network: PathNetwork, spans: tuple[Doubles, Doubles]) -> Walker:
    low, high = (torch.from_numpy(ends.astype(np.float32)) for ends in spans)

    def walk(codes: Doubles, number: int) -> Doubles:
        generator = torch.Generator().manual_seed(SEED + number)
        batch = torch.from_numpy(codes.astype(np.float32))[None]
        return network.walk(batch, len(codes), generator, (low, high))[0].numpy().astype(np.float64)

    return walk


def _sounds(
    recordings: Sequence[Doubles], walker: Walker, sounds_of: Callable[[Doubles], Array], hop: int, rate: int
) -> list[ReportSound]:
    """Return sounds of some recordings' codes, each before the walk that goes on from it."""
    return [
        ReportSound(
            f"path_{index}",
            "the codes of a recording, then the path that goes on from them",
            overlapped(sounds_of(np.concatenate([codes, walker(codes, index)])), hop, "blackman"),
            rate,
        )
        for index, codes in enumerate(recordings[:SOUND_RECORDINGS])
    ]


def _verdict(figures: Figures) -> Verdict:
    weak_rows = {name: row for name, row in figures["floors"].items() if row["not_better_than"]}
    sentence = Sentence(
        "By steps, dwell times and levels its paths are nearer to unseen recordings than other walks are."
    )
    if weak_rows:
        measures = " and ".join(MEASURES[name][0].partition(",")[0] for name in weak_rows)
        floors = " and ".join(dict.fromkeys(FLOORS[row["not_better_than"]] for row in weak_rows.values()))
        sentence = Sentence(f"{measures} of its paths are not better than those of {floors}.", False)
    seen = f"It was measured on the split {figures['split']}, for want of a test split."
    return verdict_of([sentence], [] if figures["split"] == "test" else [seen])


def _spectra_picture(spectra_db: Figures) -> Picture:
    def draw(theme: Theme) -> Figure:
        figure, [axes] = panels(1, 1, 2.8)
        octaves_hz = 0.2 * 2.0 ** np.arange(len(spectra_db["own"]))
        for (name, levels_db), colour in zip(spectra_db.items(), line_colours(len(spectra_db)), strict=True):
            axes.plot(octaves_hz, np.array(levels_db, np.float64), color=colour, marker=".", label=NAMES[name])
        axes.set_xscale("log")
        axes.set_xlabel("Hz, the beginning of an octave")
        axes.set_ylabel("power of levels, dB")
        axes.grid(axis="y")
        figure.legend(loc="outside right center")
        return figure

    return Picture("level_spectra", "Spectra of levels: of recordings, of this network and of other walks.", draw)


NAMES = {"own": "recordings", NETWORK: "this network", **FLOORS}
