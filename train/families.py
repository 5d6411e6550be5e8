"""A row for each family of networks, with all that training asks of it by its name; and the networks of runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import checkpoint
from .batches.chroma import check_spectra, chroma_data, in_octave
from .batches.clips import check_clips, clip_data, describe, told_words
from .batches.grain import check_grains, grain_data
from .batches.hits import check_hits, describe_hits, hit_data
from .batches.labelled import check_labelled, labelled_data, named
from .batches.loops import check_loops, describe_loops, loop_data, on_grid
from .batches.partials import check_partials, in_span, partials_data
from .batches.sequence import check_sequences, describe_sequences, sequence_data, told_clips
from .corpus.store import Corpus
from .data import Data
from .gan_health import health
from .models.chroma import ChromaAutoencoder
from .models.classifier import Classifier
from .models.clip import ClipAutoencoder
from .models.dcgan import DCGAN, Halves
from .models.grain import GrainAutoencoder
from .models.invert import Inverter, following
from .models.loops import LoopNetwork
from .models.partials import PartialsAutoencoder
from .models.sequence import RecurrentNetwork
from .models.wavegan import WaveGAN
from .network import Network
from .preview import (
    Held,
    held_clips,
    held_grains,
    held_hits,
    held_inversions,
    held_reconstructions,
    held_sequences,
    held_spectra,
)
from .recipes.base import Recipe
from .run import Run


@dataclass(frozen=True)
class Family:
    """A family of networks: what training asks of it.

    Args:
        network: makes the network of a recipe, and of the networks that it ``reads``, by their names.
        check: raises UserError for a corpus that cannot be trained on.
        data: makes the data of a corpus and a recipe, with a folder for its files, and whether the corpus is tonal.
        held: makes sounds for a preview: each decoded frame or grain of a batch, held, [samples]; or None.
        complete: gives a recipe what it needs of the corpus, such as its labels; the same again if it has that.
        follows: gives a recipe what it needs of those of the runs that it is built on, or raises UserError for others.
        describe: says in a line what becomes of a corpus's clips, for who trains on them.
        health: measures how a contest stands, at a sampling rate, as `health.health`; none where losses say it.
        reads: names of the networks of other runs that this one is built on, as `trained_others` gives them.
    """

    network: Callable[..., Network]
    check: Callable[[Corpus, Any], None]
    data: Callable[[Corpus, Any, Path, bool], Data]
    held: Held | None
    complete: Callable[[Any, Corpus], Recipe] = lambda recipe, corpus: recipe
    reads: tuple[str, ...] = ()
    health: Callable[[Any, Data, int], dict[str, float]] | None = None
    describe: Callable[[Corpus, Any], str] | None = None
    follows: Callable[[Any, Mapping[str, Recipe]], Recipe] = lambda recipe, others: recipe


FAMILIES: dict[str, Family] = {
    "chroma": Family(ChromaAutoencoder, check_spectra, chroma_data, held_spectra, complete=in_octave),
    "partials": Family(PartialsAutoencoder, check_partials, partials_data, None, complete=in_span),
    "grain": Family(GrainAutoencoder, check_grains, grain_data, held_grains),
    "gan": Family(WaveGAN, check_clips, clip_data, held_clips, complete=told_words, health=health, describe=describe),
    "dcgan": Family(DCGAN, check_clips, clip_data, held_clips, health=health, describe=describe),
    "halves": Family(Halves, check_clips, clip_data, held_reconstructions, describe=describe),
    "classifier": Family(Classifier, check_labelled, labelled_data, None, complete=named),
    "invert": Family(
        Inverter,
        check_clips,
        clip_data,
        held_inversions,
        follows=following,
        describe=describe,
        reads=("generator", "judge"),
    ),
    "clip": Family(ClipAutoencoder, check_hits, hit_data, held_hits, complete=told_words, describe=describe_hits),
    "loops": Family(LoopNetwork, check_loops, loop_data, None, complete=on_grid, describe=describe_loops),
    "sequence": Family(
        RecurrentNetwork,
        check_sequences,
        sequence_data,
        held_sequences,
        complete=told_clips,
        describe=describe_sequences,
    ),
}


def trained_others(run: Run) -> dict[str, Network]:
    """Return the networks that a run's own is built on, the best of each run, in evaluation mode and without gradients.

    Raises:
        UserError: one of these runs is gone, or has no checkpoint.
    """
    return {name: trained(other, "best")[0].requires_grad_(False) for name, other in run.others().items()}


def trained(run: Run, which: Literal["best", "last"]) -> tuple[Network, str, int]:
    """Return the network of a run in evaluation mode, its checkpoint's name and its step.

    Raises:
        UserError: no checkpoint, or as `trained_others`.
    """
    file = run.best if which == "best" and run.best.exists() else run.last
    network = FAMILIES[run.recipe.family].network(run.recipe, **trained_others(run))
    step = checkpoint.restore(file, network).step
    network.eval()
    return network, file.stem, step
