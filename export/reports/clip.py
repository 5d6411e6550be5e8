"""A run whose network makes whole clips becomes figures, pictures and a page, measured on clips it never heard."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel

from ...host.engines.clip_spectra import SpectraSound
from ...host.errors import UserError
from ...train.batches.hits import Hits, hits
from ...train.corpus.store import Split
from ...train.metrics.generated import Judge, Recordings
from ...train.metrics.levels import distance_db, log_mel
from ...train.metrics.loudness import attack_seconds, envelope_distance_db
from ...train.models.clip import ClipAutoencoder
from ...train.recipes.clip import HitRecipe
from ...train.run import Run
from . import clip_figures
from .clip_page import page
from .report import FORMAT, SEED, Figures, Progress, Report, Sound, listed, losses

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

MOST = 1024  # clips of a split that are looked at: medians to a part in a hundred
FEWEST = 2  # clips of a split that have a spread
SHOWN = 6  # clips to see and to hear
ROWS = 64  # clips at a time
COLLAPSED = 0.25  # of the recordings' own diversity: below it, all codes sound alike


@dataclass(frozen=True)
class Maker:
    """What a report asks of a network that makes clips.

    Args:
        length: of a clip, in samples.
        words: labels that it is told, none for a network that is told none.
        made: gives the clips of random codes, [clips, length], for numbers of labels, [clips], and a seed.
        again: gives clips back, encoded and decoded, with the numbers of their labels; None without encoder.
        weighted: weights of the loss's terms.
    """

    length: int
    words: list[str]
    made: Callable[[Ints, int], Array]
    again: Callable[[Array, Ints], Array] | None
    weighted: BaseModel


def report(
    run: Run, network: ClipAutoencoder, checkpoint: str, step: int, say: Progress, judge: Judge | None = None
) -> Report:
    """Return the figures, pictures and page of a run of the clip family, as `evaluate` wants them."""
    return clip_report(run, maker(network, run.recipe), checkpoint, step, say, judge)


def maker(network: ClipAutoencoder, recipe: Any) -> Maker:
    """Return what makes the clips of an autoencoder of whole short sounds."""
    assert isinstance(recipe, HitRecipe)
    sound = SpectraSound(network.length, network.transform, network.hop, network.points)
    words = recipe.network.words

    def told(labels: Ints) -> torch.Tensor | None:
        return torch.nn.functional.one_hot(torch.from_numpy(labels), len(words)).float() if words else None

    @torch.no_grad()
    def made(labels: Ints, seed: int) -> Array:
        codes = torch.randn(len(labels), recipe.network.latents, generator=torch.Generator().manual_seed(seed))
        return sound(network.decode(codes, told(labels)).numpy())

    @torch.no_grad()
    def again(clips: Array, labels: Ints) -> Array:
        return sound(network.decode(network.encode(torch.from_numpy(clips)), told(labels)).numpy())

    return Maker(network.length, words, made, again, recipe.loss)


def clip_report(
    run: Run, made_by: Maker, checkpoint: str, step: int, say: Progress, judge: Judge | None = None
) -> Report:
    """Return the figures, pictures and page of a run that makes clips.

    Args:
        judge: a classifier of the labels, where there is one.

    Raises:
        UserError: the corpus has too few clips that sound.
    """
    say(0.0, "reading clips")
    corpus = run.corpus()
    train, (split, test) = hits(corpus, "train", made_by.words), _test(run, made_by.words)
    known, asked = (_taken(run, part, made_by.length) for part in (train, test))
    say(0.2, "making clips")
    labels = test.labels[_some(test)]
    made = _in_parts(lambda part: made_by.made(labels[part], SEED + int(part[0])), len(asked))
    figures = Recordings(known, asked, corpus.rate, judge).figures(made, labels if made_by.words else None)
    again = None
    if made_by.again is not None:
        say(0.4, "encoding and decoding clips")
        given = made_by.again
        again = _in_parts(lambda part: given(asked[part], labels[part]), len(asked))
    loss = losses(run, made_by.weighted)
    names = [test.clips[index].name for index in _some(test)]
    found: Figures = {
        "format": FORMAT,
        "verdict": "",
        "shortcomings": [],
        "run": {
            "recipe": run.recipe.name,
            "corpus": run.info.corpus_name,
            "checkpoint": checkpoint,
            "step": step,
            "tonal": run.info.tonal,
        },
        "split": split,
        "clips": len(asked),
        "frames": len(asked),
        "frames_in_split": len(test.clips),
        "labels": made_by.words,
        "reconstruction": None if again is None else reconstruction(asked, again, corpus.rate),
        "generated": asdict(figures) | {"ratio": figures.likeness.ratio},
        "loss": loss,
        "collapsed": figures.diversity_db < COLLAPSED * figures.test_diversity_db,
    }
    found["verdict"], found["shortcomings"] = _verdict(found)
    shown = np.linspace(0, len(asked) - 1, min(SHOWN, len(asked))).astype(int)
    pictures = clip_figures.pictures(asked[shown], None if again is None else again[shown], made[shown], corpus.rate)
    if loss["steps"]:
        pictures.append(clip_figures.loss(loss["steps"], loss["terms"], step))
    heard_again = None if again is None else again[shown]
    sounds = _sounds([names[index] for index in shown], asked[shown], heard_again, made[:SHOWN], corpus.rate)
    found["sounds"] = listed(sounds)
    return Report(found, pictures, sounds, page(found, pictures))


def reconstruction(asked: Array, given: Array, rate: int) -> Figures:
    """Return how near clips come back, each figure with its median and its ninth decile over clips.

    Levels are compared as loud as the recording: each clip given counts with the recording's energy.

    Args:
        asked, given: [clips, samples].
        rate: in Hz.
    """
    energies = [np.sqrt(np.square(part, dtype=np.float64).sum(1)) for part in (asked, given)]
    given = (given * (energies[0] / np.maximum(energies[1], 1e-12))[:, None]).astype(np.float32)
    columns = {
        "log_mel_db": distance_db(log_mel(asked, rate), log_mel(given, rate)),
        "attack_ms": 1000 * np.abs(attack_seconds(asked, rate) - attack_seconds(given, rate)),
        "envelope_db": envelope_distance_db(asked, given, rate),
    }
    return {
        name: {"median": float(np.median(values)), "ninth_decile": float(np.quantile(values, 0.9))}
        for name, values in columns.items()
    }


def _test(run: Run, words: list[str]) -> tuple[Split, Hits]:
    """Return the clips to measure on: those that training never heard, if there are enough."""
    splits: tuple[Split, ...] = ("test", "val", "train")
    for split in splits:
        found = hits(run.corpus(), split, words)
        if len(found.clips) >= FEWEST:
            return split, found
    raise UserError(f"corpus {run.corpus().folder} has fewer than {FEWEST} clips that sound; add sounds")


def _some(part: Hits) -> Ints:
    return np.linspace(0, len(part.clips) - 1, min(MOST, len(part.clips))).astype(np.int64)


def _taken(run: Run, part: Hits, length: int) -> Array:
    return part.take(run.corpus(), _some(part), length)


def _in_parts(of: Callable[[Ints], Array], count: int) -> Array:
    return np.concatenate([of(np.arange(first, min(first + ROWS, count))) for first in range(0, count, ROWS)])


def _verdict(found: Figures) -> tuple[str, list[str]]:
    """Return what is to be said of a run in a sentence, and what it does not do well."""
    generated, again = found["generated"], found["reconstruction"]
    short = []
    if found["collapsed"]:
        short.append(
            f"random codes all sound alike ({generated['diversity_db']:.1f} dB apart, the recordings "
            f"{generated['test_diversity_db']:.1f} dB): the run has collapsed; train with another training.seed"
        )
    if generated["nearest"]["median"] < generated["test_nearest"]["median"]:
        short.append("random codes come nearer to training clips than unheard recordings do: some are remembered")
    told = f"random codes are {generated['ratio']:.1f} times as far from recordings as these are from each other"
    if again is None:
        return told, short
    return f"recordings come back {again['log_mel_db']['median']:.1f} dB off; {told}", short


def _sounds(names: list[str], asked: Array, again: Array | None, made: Array, rate: int) -> list[Sound]:
    """Return what there is to hear, all as loud as each other."""
    rows: list[tuple[str, str, Array]] = []
    for number, name in enumerate(names):
        rows.append((f"recording-{number + 1}", f"Recording {name}", asked[number]))
        if again is not None:
            rows.append((f"decoded-{number + 1}", f"Its code, decoded ({name})", again[number]))
    rows += [(f"random-{number + 1}", f"Random code {number + 1}", clip) for number, clip in enumerate(made)]
    return [Sound(file, caption, clip / max(float(np.abs(clip).max()), 1e-9), rate) for file, caption, clip in rows]
