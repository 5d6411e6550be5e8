"""Evaluates a partials run on unseen frames, with its HTML page."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from ....host.arrays import Doubles
from ....host.errors import UserError
from ....host.model.card import PITCH_CLASSES
from ....host.preset.library import Patch
from ....train.corpus.clip_table import Split
from ....train.families.partials.network import PartialsAutoencoder, PartialsRows, magnitudes, rows, shifted
from ....train.families.partials.recipe import PartialsFrames, PartialsRecipe
from ....train.frames import sources
from ....train.metrics.clips import frechet
from ....train.run import Run
from ...fidelity import page as pages
from ...fidelity.comparison import NOTES, beside, with_notes
from ...knobs import sensitivity as knobs
from ...knobs.naming import arranged_partials, checked, pitched_ground
from ...measures import codes as latent_statistics
from ...measures.sounds import recordings, silence_message
from ...reports.figures import frames as figures
from ...reports.page import likeness, listening, pressed, report_page, shown, table
from ...reports.report import (
    SEED,
    Figures,
    HeldOutRun,
    Picture,
    Progress,
    Report,
    evaluated_split,
    judged,
    losses,
    origin,
)
from ...reports.verdict import alive
from ...reports.verdict import partials as verdict
from ..chroma.report import latents

MEASURES = {
    "bands_db": ("Mel bands, dB", "Each frame decoded from its own code: the difference in 64 bands, as of notes."),
    "harmonics_db": ("Harmonics, dB", "The difference of the heights of those within 80 dB of the frame."),
    "noise_db": ("Noise, dB", "The difference of the noise between harmonics, over its bands."),
}

SETS = {
    "train": "Training frames, moved to the pitches of the split",
    "reconstruction": "Decoded frames of the split",
    "generated": "Random codes of the knobs’ spans, at the pitches of the split",
}


def page(
    found: Figures,
    pictures: Sequence[Picture],
    instrument: Path | None = None,
    notes: Mapping[str, str] = MappingProxyType({}),
    heard: str | None = None,
) -> str:
    of = shown(pictures)
    rows = [[label, f"{found['reconstruction'][name]:.1f}", told] for name, (label, told) in MEASURES.items()]
    return report_page(
        found,
        {
            "The instrument": listening(heard, found["sounds"])["The instrument"],
            "Notes beside recordings": pages.notes_section(found["notes"], notes, of),
        },
        {
            "Notes beside recordings": pages.figures_section(found["notes"]),
            "Knobs": knobs.section(found["knobs"]) + pressed(of, instrument),
        },
        {
            "Frames": table(["", "Root mean square", "What it says"], rows, 1, "told")
            + likeness(found["spectral_distance"], SETS, "frames"),
            "Latents": latents(found) + of("histograms", "correlation"),
            "Training": of("loss"),
        },
    )


CODES = 4096  # training frames to encode
NEAREST = 8  # the nearest 1 / NEAREST of training frames in pitch may stand beside a test frame
QUIETEST_DB = -60.0  # below a frame's highest band: softer bands are masked by it


def report(
    run: Run,
    network: PartialsAutoencoder,
    checkpoint: str,
    step: int,
    say: Progress,
    exported: Callable[[], Patch] | None = None,
    instrument: Path | None = None,
    heard: str | None = None,
    trial: HeldOutRun | None = None,
) -> Report:
    recipe, corpus = run.recipe, run.corpus()
    assert isinstance(recipe, PartialsRecipe)
    say(0.0, "taking frames apart")
    tested = corpus if trial is None else trial.corpus
    few = recipe.frames.model_copy(update={"rows": CODES})
    silent = silence_message(corpus, "training frame")
    split, test = evaluated_split(lambda split: rows(tested, split, few), silent, lambda found: len(found.pitches))
    train = rows(corpus, "train", few)
    if not len(train.pitches):
        raise UserError(silent)
    knobs = arranged_partials(network, recipe, corpus)
    network = knobs.network
    with torch.no_grad():
        codes = network.encode(*map(torch.from_numpy, train)).numpy()
        unheard = network if trial is None else trial.network
        apart = _apart(unheard, *map(torch.from_numpy, test))
        learned = train if trial is None else rows(tested, "train", few)
        distance = _distance(unheard, learned, test, split, recipe.frames)
    latents, loss = latent_statistics.latent_figures(codes, None), losses(run, recipe.loss)
    pictures = figures.latent_pictures(codes, np.floor(train.pitches + 0.5).astype(np.int64) % PITCH_CLASSES, latents)
    if loss["steps"]:
        pictures.append(figures.loss_curve(loss["steps"], loss["terms"], step))
    found = judged(
        verdict,
        run=origin(run, checkpoint, step),
        split=split,
        clips=len(tested.clips(split)),
        frames=len(test[1]),
        frames_in_split=sum(1 for _ in sources(tested, split, recipe.frames, tonal=True)),
        sounds={},
        recordings=recordings(corpus),
        reconstruction=apart,
        spectral_distance=distance,
        latents=latents,
        knobs=checked(knobs, pitched_ground(network, *test, (knobs.ground.low, knobs.ground.high)), split),
        loss=loss,
    )
    notes = None
    if exported is not None and alive(found):
        notes = beside(
            exported(),
            tested,
            SEED,
            lambda done, what: say(0.3 + 0.7 * done, what),
            NOTES,
            None if trial is None else trial.exported(),
        )
    found["notes"] = None if notes is None else notes.found
    return with_notes(Report(found, pictures, [], ""), notes, page, instrument=instrument, heard=heard)


def _apart(network: PartialsAutoencoder, levels: torch.Tensor, pitches: torch.Tensor) -> Figures:
    decoded = network.decode(network.encode(levels, pitches), pitches)
    asked, given = (network.bands(frames, pitches) for frames in (magnitudes(levels), decoded))
    off = 20 * torch.log10(decoded.clamp_min(1e-6)) - levels.clamp_min(-120.0)
    count = network.harmonics
    heard = (levels[:, :count] > -80.0) & network.bands.inside(pitches)
    return {
        "bands_db": float((given - asked).square().mean(1).sqrt().mean()),
        "harmonics_db": float(off[:, :count][heard].square().mean().sqrt()),
        "noise_db": float(off[:, count:].square().mean(1).sqrt().mean()),
    }


def _distance(
    network: PartialsAutoencoder, train: PartialsRows, test: PartialsRows, split: Split, frames: PartialsFrames
) -> Figures:
    """Training frames, from the eighth nearest in pitch, are resampled to the test pitch, as in a sampler."""
    rng, count = np.random.default_rng(SEED), len(test.pitches)
    near = max(1, len(train.pitches) // NEAREST)
    order = np.argsort(train.pitches, kind="stable")
    first = np.clip(np.searchsorted(train.pitches[order], test.pitches) - near // 2, 0, len(order) - near)
    picked = order[first + rng.integers(near, size=count)]
    moved = shifted(train.levels[picked], test.pitches - train.pitches[picked], frames)
    levels, pitches = map(torch.from_numpy, test)
    codes = network.encode(levels, pitches)
    heard = network.encode(*map(torch.from_numpy, train)).numpy()
    low, high = np.percentile(heard, latent_statistics.SPAN, axis=0)
    drawn = torch.from_numpy(rng.uniform(low, high, codes.shape).astype(np.float32))
    sets = {
        "train": (magnitudes(torch.from_numpy(moved)), pitches),
        "reconstruction": (network.decode(codes, pitches), pitches),
        "generated": (network.decode(drawn, pitches), pitches),
    }
    wanted = _levels(network, magnitudes(levels), pitches)
    found: Figures = {name: frechet(_levels(network, *each), wanted) for name, each in sets.items()}
    found["ratio"] = found["generated"] / found["train"] if split != "train" and found["train"] else None
    return found


def _levels(network: PartialsAutoencoder, frames: torch.Tensor, pitches: torch.Tensor) -> Doubles:
    """In dB below each frame's highest, at least -60."""
    levels = network.bands(frames, pitches).numpy().astype(np.float64)
    levels -= levels.max(1, keepdims=True)
    found: Doubles = np.maximum(levels, QUIETEST_DB)
    return found
