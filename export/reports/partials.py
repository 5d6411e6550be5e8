"""A run of the partials family becomes figures, pictures and a page, measured anew on what training never saw."""

from collections.abc import Callable
from pathlib import Path

import torch

from ...host.errors import UserError
from ...host.patch.library import Patch
from ...train.batches.frames import sources
from ...train.batches.partials import Row, rows
from ...train.corpus.store import Corpus, Split
from ...train.models.partials import PartialsAutoencoder, magnitudes
from ...train.recipes.partials import PartialsFrames, PartialsRecipe
from ...train.run import Run
from ..fidelity.comparison import NOTES, Beside, beside
from ..knobs.arrange import arranged_partials, checked, pitched_ground
from ..measures import frames as measures
from ..measures.recordings import recordings
from .figures import frames as figures
from .partials_page import page
from .picture import Picture
from .report import FORMAT, SEED, Figures, Progress, Report, listed, losses
from .verdict import partials as verdict

CODES = 4096  # training frames whose codes are looked at


def report(
    run: Run,
    network: PartialsAutoencoder,
    checkpoint: str,
    step: int,
    say: Progress,
    exported: Callable[[], Patch] | None = None,
    instrument: Path | None = None,
    heard: str | None = None,
) -> Report:
    """Return the figures, pictures and page of a run, as `evaluate` wants them; arguments as of `chroma.report`."""
    recipe, corpus = run.recipe, run.corpus()
    assert isinstance(recipe, PartialsRecipe)
    say(0.0, "taking frames apart")
    split, test = _unheard(corpus, recipe.frames)
    few = recipe.frames.model_copy(update={"rows": CODES})
    train = rows(corpus, "train", few)
    if not len(train.pitches):
        raise UserError(f"corpus {corpus.folder} has no training frame that sounds; add longer or louder sounds")
    knobs = arranged_partials(network, recipe, corpus)
    network = knobs.network
    with torch.no_grad():
        codes = network.encode(*map(torch.from_numpy, train)).numpy()
        apart = _apart(network, *map(torch.from_numpy, test))
    latents = measures.latent_figures(codes, None)
    dimensions = latents["dimensions"]
    low, high = ([dimension[end] for dimension in dimensions] for end in ("low", "high"))
    loss = losses(run, recipe.loss)
    pictures: list[Picture] = [figures.histograms(codes, low, high)]
    if codes.shape[1] > 1:
        pictures.append(figures.correlation(latents["correlation"]))
    if loss["steps"]:
        pictures.append(figures.loss_curve(loss["steps"], loss["terms"], step))
    found: Figures = {
        "format": FORMAT,
        "verdict": "",
        "shortcomings": [],
        "run": {"recipe": recipe.name, "corpus": run.info.corpus_name, "checkpoint": checkpoint, "step": step},
        "split": split,
        "clips": len(corpus.clips(split)),
        "frames": len(test[1]),
        "frames_in_split": sum(1 for _ in sources(corpus, split, recipe.frames, tonal=True)),
        "sounds": {},
        "recordings": recordings(corpus),
        "reconstruction": apart,
        "latents": latents,
        "knobs": checked(knobs, pitched_ground(network, *test, (knobs.ground.low, knobs.ground.high)), split),
        "loss": loss,
    }
    alive = not all(dimension["dead"] for dimension in dimensions)
    notes = _notes(corpus, exported(), say) if exported is not None and alive else None
    found["notes"] = None if notes is None else notes.found
    found["verdict"], found["shortcomings"] = verdict(found)
    if notes is None:
        return Report(found, pictures, [], page(found, pictures, heard=heard))
    pictures, sounds = [*pictures, *notes.pictures], notes.sounds
    return Report(found, pictures, sounds, page(found, pictures, listed(sounds), heard), notes.pages)


def _notes(corpus: Corpus, patch: Patch, say: Progress) -> Beside | None:
    return beside(patch, corpus, SEED, lambda done, what: say(0.3 + 0.7 * done, what), NOTES)


def _unheard(corpus: Corpus, frames: PartialsFrames) -> tuple[Split, Row]:
    """Return the frames of the first split that has any, of those that training sees least."""
    splits: tuple[Split, ...] = ("test", "val", "train")
    few = frames.model_copy(update={"rows": CODES})
    for split in splits[:-1]:
        found = rows(corpus, split, few)
        if len(found.pitches):
            return split, found
    return splits[-1], rows(corpus, splits[-1], few)


def _apart(network: PartialsAutoencoder, levels: torch.Tensor, pitches: torch.Tensor) -> Figures:
    """Return how far decoded frames are from what was encoded, in dB: in mel bands, of harmonics, and of noise."""
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
