"""Evaluates loop networks: likeness, beat, copied passages and stability."""

from collections.abc import Callable

import numpy as np
import torch

from ....host.arrays import Array
from ....train.families.loops.data import loops, sliced
from ....train.families.loops.network import LoopNetwork
from ....train.families.loops.recipe import LoopRecipe
from ....train.metrics.clips import KnownFrames
from ....train.metrics.rhythm import beat_kept
from ....train.metrics.streams import constant_share, longest_verbatim, loudness_range, repeating_share, share_in_range
from ....train.run import Run
from ....train.sampling import evenly_spaced
from ...kinds.stream import HEAT
from ...measures.sounds import silence_message
from ...reports.figures import clips as clip_figures
from ...reports.page import faint, listening, report_page, shown, table
from ...reports.report import (
    SEED,
    Figures,
    Picture,
    Progress,
    Report,
    ReportSound,
    about,
    evaluated_split,
    judged,
    listed,
    losses,
)
from ...reports.verdict import loops as verdict
from .graphs import level_range
from .steering import STEERED_BARS, UNITS, fit_rotation, played, steering

SEED_BARS, BARS = 1, 8  # given as the seed, and generated
MOST = 8  # loops that are continued
MINUTES = 10.0  # of endless generation
HOP_SECONDS = 0.0232  # between frames whose nearest training frame is searched


def report(
    run: Run, network: LoopNetwork, checkpoint: str, step: int, say: Progress, heard: str | None = None
) -> Report:
    recipe, corpus = run.recipe, run.corpus()
    assert isinstance(recipe, LoopRecipe)
    train = loops(corpus, "train", recipe)
    split, every = evaluated_split(
        lambda split: loops(corpus, split, recipe), silence_message(corpus, "loop", "add loops")
    )
    test = [every[place] for place in evenly_spaced(len(every), MOST)]
    sounds = [np.array(corpus.samples(clip)) for clip in train]
    rows, made = [], []
    measured = _measure(sounds, recipe)
    for number, clip in enumerate(test):
        say(0.1 + 0.4 * number / len(test), f"playing on from {clip.name}")
        source = np.array(corpus.samples(clip))
        given = played_on(network, recipe, source, SEED + number)
        rows.append({"name": clip.name, **measured(given, source)})
        made.append((clip.name, source, given))
    say(0.5, "playing for ten minutes")
    rotation = fit_rotation(network, recipe, corpus)
    endless = steady(network, recipe, sounds)
    say(0.65, "turning knobs")
    knobs = steering(network, recipe, rotation)
    found = judged(
        verdict,
        run=about(run, checkpoint, step, sum(p.numel() for p in network.parameters())) | {"tonal": run.info.tonal},
        split=split,
        clips=len(test),
        frames=sum(clip.length // recipe.frames.hop_length for clip in test),
        frames_in_split=sum(clip.length // recipe.frames.hop_length for clip in every),
        heat=HEAT,
        played_on=rows,
        endless=endless,
        knobs=[{"name": name, "correlation": rotation.correlations[name], **row} for name, row in knobs.items()],
        loss=losses(run, recipe.loss) | {"sides": {}, "health": {}},
    )
    pictures: list[Picture] = [clip_figures.loss(found["loss"], step)] if found["loss"]["steps"] else []
    played_sounds = _sounds(made, corpus.rate)
    found["sounds"] = listed(played_sounds)
    return Report(found, pictures, played_sounds, page(found, pictures, heard))


@torch.no_grad()
def played_on(network: LoopNetwork, recipe: LoopRecipe, source: Array, seed: int) -> Array:
    """Continue a loop's first bars, at their steering code: [samples]."""
    cut = sliced(source, recipe)[: SEED_BARS * recipe.frames.bar]
    codes = network.coded(network.features.raw(torch.from_numpy(cut)))
    return played(network, recipe, codes, network.steering_codes(codes).mean(0), BARS, seed)


def _measure(sounds: list[Array], recipe: LoopRecipe) -> Callable[[Array, Array], Figures]:
    rate, beat = recipe.frames.sample_rate, recipe.frames.hop_length * recipe.frames.steps_per_beat
    known = KnownFrames(sounds, rate, round(HOP_SECONDS * rate)) if len(sounds) > 1 else None

    def measured(given: Array, source: Array) -> Figures:
        copied, own = (longest_verbatim(sound, sounds, rate, beat) for sound in (given, source))
        return {
            "within": known.share_within(given) if known else None,
            "source_within": known.share_within(source) if known else None,
            "beat": beat_kept(given, source, rate, beat / rate),
            "copied_beats": copied._asdict(),
            "source_copied_beats": own._asdict(),
        }

    return measured


@torch.no_grad()
def steady(network: LoopNetwork, recipe: LoopRecipe, sounds: list[Array]) -> Figures:
    """Measure ten minutes from an empty seed at the middle code, limited as by hosts."""
    step, rate = recipe.frames.hop_length, recipe.frames.sample_rate
    bars = MINUTES * 60 * rate / (step * recipe.frames.bar)
    nothing = torch.zeros(0, recipe.network.components)
    loudest = level_range([torch.from_numpy(sliced(sound, recipe)) for sound in sounds])[1]
    sound = played(network, recipe, nothing, torch.zeros(recipe.network.latents), bars, SEED, loudest)
    low, high = loudness_range(sounds, step)
    return {
        "minutes": MINUTES,
        "in_range": share_in_range(sound, step, low, high),
        "range_db": [low, high],
        "constant": constant_share(sound, rate, step),
        "repeating": repeating_share(sound, step),
    }


def page(found: Figures, pictures: list[Picture], heard: str | None = None) -> str:
    return report_page(
        found,
        listening(heard, found["sounds"]),
        {
            "Played on": _rows(found),
            "Ten minutes": _endless(found["endless"]),
            "Knobs": _knobs(found["knobs"]),
        },
        {"Training": shown(pictures)("loss")},
    )


def _rows(found: Figures) -> str:
    cells = [
        [
            row["name"],
            *("–" if row[name] is None else f"{row[name]:.1%}" for name in ("within", "source_within")),
            f"{row['beat']:.2f}",
            *(f"{row[of][by]:.2f}" for of in ("copied_beats", "source_copied_beats") for by in ("waveform", "levels")),
        ]
        for row in found["played_on"]
    ]
    header = ["Loop", "Alike", "The loop's own", "Beat", "Copied", "By levels", "The loop's own", "By levels"]
    note = (
        f"{BARS} bars that follow the first of a loop, at a heat of {found['heat']:g}. Alike: share of frames no "
        "further from one of training than the rarest of a training loop from all others. Beat: how strong it is "
        "beside the loop’s. Copied: the longest stretch that correlates .95 with a training loop, in beats, as a wave "
        "and by levels of bands; the loop’s own beside it, of which none was trained on."
    )
    return table(header, cells, 7) + faint(note)


def _endless(row: Figures) -> str:
    cells = [["As loud as training loops", f"{row['in_range']:.2%}"], ["Standing still", f"{row['constant']:.2%}"]]
    cells.append(["One slice again and again", f"{row['repeating']:.2%}"])
    return table(["", "Share"], cells, 1)


def _knobs(rows: list[Figures]) -> str:
    cells = [
        [row["name"], f"{row['correlation']:.2f}"]
        + ["–" if row[end] is None else f"{row[end]:.2f}" for end in ("low", "middle", "high")]
        for row in rows
    ]
    note = (
        "Correlation: between the knob and the named quality of the sound played. Low, middle and high: that quality "
        f"in {STEERED_BARS} bars at the knob's ends and middle, at a heat of {HEAT:g}, in "
        + "; ".join(f"{name}: {unit}" for name, unit in UNITS.items())
        + ". Swing is how much later off-beat sixteenths come."
    )
    return table(["Knob", "Correlation", "Low", "Middle", "High"], cells, 4) + faint(note) if rows else ""


def _sounds(made: list[tuple[str, Array, Array]], rate: int) -> list[ReportSound]:
    rows = []
    for number, (name, source, given) in enumerate(made, 1):
        rows.append(ReportSound(f"loop-{number}", f"Loop {name}", source, rate))
        rows.append(ReportSound(f"played-on-{number}", f"What follows its first bar ({name})", given, rate))
    return rows
