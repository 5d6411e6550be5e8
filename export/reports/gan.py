"""Runs that make whole clips become figures, pictures and a page: what is made, beside recordings."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from ...host.errors import UserError
from ...train.batches.clips import Places, evenly, places
from ...train.grid import FLOOR_DB
from ...train.health import COLLAPSED, apart, frames
from ...train.metrics.levels import log_mel
from ...train.metrics.sets import frechet
from ...train.models.dcgan import Halves
from ...train.models.maker import ClipMaker
from ...train.recipes.gan import ClipFrames
from ...train.run import Run
from .page import basis, document, faint, players, shown, table
from .picture import WIDTH, Picture, Theme
from .report import FORMAT, NO_TERMS, SEED, Figures, Progress, Report, Sound, listed

Array = npt.NDArray[np.float32]

COMPARED = 256  # clips: distances are steady to some hundredths
BATCH = 32
SHOWN = 6  # clips side by side, as many are heard
GAP_SECONDS = 0.25  # between clips that are heard one after another
HEALTH = ("estimate", "diversity", "frechet")


def report(run: Run, network: ClipMaker | Halves, checkpoint: str, step: int, say: Progress) -> Report:
    """Return the figures, pictures and page of a run that makes clips, as `evaluate` wants them.

    Raises:
        UserError: the corpus has no clip that sounds.
    """
    settings, words = run.recipe.frames, list(getattr(getattr(run.recipe, "network", None), "words", []))
    assert isinstance(settings, ClipFrames)
    corpus = run.corpus()
    parts = {split: places(corpus, split, settings, words) for split in ("test", "val", "train")}
    split, found_in = next(((name, part) for name, part in parts.items() if len(part) > 1), ("train", parts["train"]))
    if not len(found_in):
        raise UserError(f"corpus {corpus.folder} has no clip that sounds; add louder sounds")
    chosen = evenly(found_in, COMPARED)
    real = found_in.take(corpus, chosen, settings.normalised)
    say(0.2, "making clips")
    made = _made(network, real, found_in, chosen)
    say(0.5, "comparing clips")
    measured = _compared(real, made, settings.sample_rate) | _reconstruction(network, real, made)
    loss = _logged(run)
    heard = _heard(real, made, settings.sample_rate, isinstance(network, Halves))
    found: Figures = {
        "format": FORMAT,
        "verdict": _verdict(measured),
        "shortcomings": _shortcomings(measured, len(parts["train"])),
        "run": {
            "recipe": run.recipe.name,
            "corpus": run.info.corpus_name,
            "checkpoint": checkpoint,
            "step": step,
            "parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
            "seconds": run.logged()[-1]["seconds"] if run.logged() else None,
        },
        "split": split,
        "clips": len(np.unique(found_in.of(chosen))),
        "frames": len(chosen),
        "frames_in_split": len(found_in),
        "sounds": listed(heard),
        "likeness": measured,
        "loss": loss,
    }
    unheard = "Recordings that training never saw." if split != "train" else "Recordings."
    pictures = [
        _side_by_side("recordings", unheard, real, settings.sample_rate),
        _side_by_side("made", "Clips that the model makes, shown in the same way.", made, settings.sample_rate),
        *([_curves(loss, step)] if loss["steps"] else []),
    ]
    return Report(found, pictures, heard, _page(found, pictures))


@torch.no_grad()
def _made(network: ClipMaker | Halves, real: Array, found_in: Places, chosen: npt.NDArray[np.int64]) -> Array:
    """Return as many clips as there are real ones: decoded from their own codes, or of new codes with their labels."""
    generator = torch.Generator().manual_seed(SEED)
    labels = torch.from_numpy(found_in.labels[found_in.of(chosen)])
    made = []
    for first in range(0, len(real), BATCH):
        part = slice(first, first + BATCH)
        if isinstance(network, Halves):
            clips = network.decode(network.encode(torch.from_numpy(real[part])))
        else:
            count = len(real[part])
            clips = network.decode(network.draw(count, generator), network.rows(labels[part]))
        made.append(clips.numpy())
    return np.concatenate(made)


def _compared(real: Array, made: Array, rate: int) -> Figures:
    """Return how made clips lie to real ones, on levels of mel bands as `train.health` measures them."""
    levels = [log_mel(clips, rate) for clips in (real, made)]
    diversity = apart(levels[1]) / max(apart(levels[0]), 1e-9)
    halves = [levels[0][::2], levels[0][1::2]]  # recordings of a kind lie together: every second one is in each half
    own = frechet(*map(frames, halves)) if len(real) > 1 else 0.0
    return {"diversity": diversity, "frechet_db2": frechet(*map(frames, levels)), "frechet_of_halves_db2": own}


def _reconstruction(network: ClipMaker | Halves, real: Array, made: Array) -> Figures:
    if not isinstance(network, Halves):
        return {}
    error, energy = np.square(real - made, dtype=np.float64).sum(), np.square(real, dtype=np.float64).sum()
    return {"relative_error": float(error / max(energy, 1e-12))}


def _logged(run: Run) -> Figures:
    """Return what training logged: losses, and of a contest its health."""
    lines = run.logged()
    if not lines:
        return {"steps": [], "terms": {}, "health": {}}
    shared = [name for name in lines[0] if name not in NO_TERMS and all(name in line for line in lines)]
    terms = {name: [line[name] for line in lines] for name in shared if name not in HEALTH}
    health = {name: [line[name] for line in lines] for name in shared if name in HEALTH}
    return {"steps": [line["step"] for line in lines], "terms": terms, "health": health}


def _heard(real: Array, made: Array, rate: int, of_same: bool) -> list[Sound]:
    """Return recordings one after another, and made clips; where these are of the recordings, in the same order."""
    gap = np.zeros(round(GAP_SECONDS * rate), np.float32)
    some = np.linspace(0, len(real) - 1, min(SHOWN, len(real))).astype(int)
    captions = ("Recordings, one after another", "The same, decoded of their own codes" if of_same else "Made of codes")
    return [
        Sound(name, caption, np.concatenate([part for index in some for part in (clips[index], gap)]), rate)
        for name, caption, clips in zip(("recordings", "made"), captions, (real, made), strict=True)
    ]


def _verdict(measured: Figures) -> str:
    if measured["diversity"] < COLLAPSED:
        return "It has collapsed: whatever the code, it makes nearly one and the same clip."
    share = measured["frechet_db2"] / max(measured["frechet_of_halves_db2"], 1e-9)
    error = measured.get("relative_error")
    again = "" if error is None else f" Of a recording's own code comes a clip with {error:.0%} of its energy in error."
    return (
        f"Made clips lie {measured['diversity']:.2f} times as far apart as recordings, and {share:.3g} times as far "
        f"from recordings as one half of these from the other.{again}"
    )


def _shortcomings(measured: Figures, clips: int) -> list[str]:
    said = []
    if measured["diversity"] < COLLAPSED:
        said.append(
            "It cannot be played: go back to a checkpoint in RUN/kept, or train again with another training.seed or a "
            "lower learning rate."
        )
    if measured.get("relative_error", 0.0) > 1:
        said.append("It has learned nothing: silence would be nearer to the recordings. Train longer.")
    if clips < 2:
        said.append("It was trained on one recording, and can make no other.")
    return said


def _side_by_side(name: str, caption: str, clips: Array, rate: int) -> Picture:
    """Return waveforms over spectrograms of some clips [clips, samples]."""
    some = clips[np.linspace(0, len(clips) - 1, min(SHOWN, len(clips))).astype(int)]
    caption = f"{caption} Above the waveform, below levels of mel bands over 60 dB."

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 2.6), layout="constrained")
        axes = figure.subplots(2, len(some), squeeze=False, gridspec_kw={"height_ratios": [1, 2]})
        for wave, image, clip in zip(*axes, some, strict=True):
            wave.plot(clip, linewidth=0.4, color=theme.first)
            wave.set_xlim(0, len(clip))
            image.imshow(log_mel(clip[None], rate)[0].T, origin="lower", aspect="auto", vmin=FLOOR_DB, vmax=0)
            for one in (wave, image):
                one.set_axis_off()
        return figure

    return Picture(name, caption, draw)


def _curves(logged: Figures, at: int) -> Picture:
    """Return what was logged over the training: the losses together, and each measure of health by itself."""
    rows: list[Mapping[str, Sequence[float]]] = [logged["terms"]]
    rows += [{name: values} for name, values in logged["health"].items()]

    def draw(theme: Theme) -> Figure:
        figure = Figure((WIDTH, 1.5 * len(rows) + 0.5), layout="constrained")
        grid = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
        for axes, lines in zip(grid, rows, strict=True):
            colours = matplotlib.colormaps["viridis"](np.linspace(0.15, 0.85, len(lines)))
            for (name, values), colour in zip(lines.items(), colours, strict=True):
                axes.plot(logged["steps"], values, ".-", color=colour, linewidth=1.2, label=name)
            axes.axvline(at, color=theme.second, linewidth=1, linestyle=":")
            axes.grid(axis="y")
            axes.legend(loc="upper right", ncols=4)
        grid[-1].set_xlabel("step")
        return figure

    return Picture("loss", "What was logged on validation clips. The dotted line is this checkpoint.", draw)


def _page(found: Figures, pictures: Sequence[Picture]) -> str:
    of, run, likeness = shown(pictures), found["run"], found["likeness"]
    rows = [
        ["Diversity", f"{likeness['diversity']:.2f}", "How far clips lie apart, 1 for recordings."],
        ["Fréchet distance, dB²", f"{likeness['frechet_db2']:.4g}", "Of frames of mel levels: made to recordings."],
        ["The same of recordings", f"{likeness['frechet_of_halves_db2']:.4g}", "One half of them to the other."],
    ]
    if "relative_error" in likeness:
        rows.append(["Relative error", f"{likeness['relative_error']:.3f}", "Of samples; 1 is what silence has."])
    sections = {
        "Listen": players(found["sounds"]),
        "Clips": of("recordings", "made"),
        "Likeness": table(["", "", "What it says"], rows, 1, "told") + faint("Levels of 64 mel bands over 60 dB."),
        "Training": of("loss"),
    }
    title = f"{run['recipe']} on {run['corpus']}"
    return document(title, found["verdict"], basis(found), sections, shortcomings=found["shortcomings"])
