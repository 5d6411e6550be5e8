"""Family descriptor: the functions that training calls for a family of networks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..corpus.store import Corpus
from ..network import Network
from ..preview import Held
from ..recipes.base import Recipe
from ..training_data import Data


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Args:
        network: makes the network of a recipe; receives the networks in ``reads`` as keyword arguments.
        check: raises UserError for an unsuitable corpus.
        data: makes the data of a corpus and a recipe; also receives a folder for files, and whether the corpus is
            tonal.
        held: makes preview sounds of a batch: each frame or grain held, [samples]; or None.
        complete: fills a recipe with values of the corpus, such as labels; complete recipes stay unchanged.
        follows: fills a recipe with values of the runs that it is built on, or raises UserError.
        describe: summarises in a line how a corpus's clips are used.
        health: measures the balance of adversarial training at a sampling rate; None where the losses suffice.
        reads: names of other runs' networks that this one is built on.
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
