"""Family descriptor: the functions that training calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..corpus.store import Corpus
from ..data import Data
from ..network import Network
from ..preview import Preview
from ..recipe import Recipe


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Args:
        network: makes a recipe's network; receives the networks in ``reads`` by name. Objectives get a generator on the
            CPU.
        check: raises UserError for an unsuitable corpus.
        data: makes the data of a corpus, a recipe, a folder for files, and whether the corpus is tonal. Training clips
            replace missing validation clips.
        preview: its sounds during training; None for no previews.
        complete: fills in a recipe's missing values, such as labels, from the corpus.
        follows: fills a recipe from the runs in ``reads``, or raises UserError.
        describe: summarises the use of a corpus in a line.
        health: measures adversarial training at a rate in Hz; None where losses suffice.
        bfloat16: matrix products may be in bfloat16, which is faster.
        measured: `initialise` measures parts that training does not adapt: after a trial, weights start anew.
        reads: names of other runs whose networks it uses.
    """

    network: Callable[..., Network]
    check: Callable[[Corpus, Any], None]
    data: Callable[[Corpus, Any, Path, bool], Data]
    preview: Preview | None
    complete: Callable[[Any, Corpus], Recipe] = lambda recipe, corpus: recipe
    bfloat16: bool = False
    measured: bool = False
    reads: tuple[str, ...] = ()
    health: Callable[[Any, Data, int], dict[str, float]] | None = None
    describe: Callable[[Corpus, Any], str] | None = None
    follows: Callable[[Any, Mapping[str, Recipe]], Recipe] = lambda recipe, others: recipe
