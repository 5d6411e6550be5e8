"""The descriptor of a family of networks for export: its graphs, its report and the instruments that `make` makes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...host.contract.model import Model
from ...host.progress import Display
from ...train.corpus.store import Corpus
from ...train.run import Run
from ..first_preset import FirstPreset
from ..graphs import Graphs
from ..reports.report import Report


@dataclass(frozen=True)
class ExportFamily:
    """A family's row: its graphs, its report and the instruments that `make` makes of it.

    Args:
        graphs: its decoder and encoder, and its part of the card; told whether the corpus is tonal. None where networks
            make no sound: these are not exported, `make` takes none of them, and what else it asks is left out.
        report: what `timbrel evaluate` says of a run: its network, and the name and the step of the checkpoint.
        recipe: that `make` trains; none of families that take hours.
        why: what its instruments do, in words for who makes one.
        changes: what `make` sets in the recipe for a corpus, as ``key=value``.
        tried: `make` holds out whole keys, and trains once without them for its report, and then with all.
        played: its report takes the exported model, and compares notes that it plays with recordings.
        judged: its report takes a classifier's ``judge`` of clips.
        whole: its clips are whole recordings, at their own rate and however short.
        gridded: its clips are loops, at their own rate, on one grid.
        unpitched: a warning for sounds without a clear pitch, if it is for sounds with one.
        called: its name where users choose a family, if that is not its own.
        first: the preset that `make` writes, with something to hear.
        heard: the file of that sound.
    """

    graphs: Callable[[Any, Any, Corpus, bool], Graphs] | None
    report: Callable[..., Report]
    recipe: str = ""
    why: str = ""
    first: Callable[[Path, Run, Model, Display], FirstPreset] | None = None
    heard: str = ""
    changes: Callable[[Corpus], list[str]] = lambda corpus: []
    tried: bool = False
    played: bool = False
    judged: bool = False
    whole: bool = False
    gridded: bool = False
    unpitched: str = ""
    called: str = ""
