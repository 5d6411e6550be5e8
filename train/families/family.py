"""The descriptor of a family of networks: the functions that training calls for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..corpus.store import Corpus
from ..data import Data
from ..network import Network
from ..preview import Held
from ..recipes.base import Recipe


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
