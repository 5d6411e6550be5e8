"""ExportFamily: describes a network family's graphs, report, and instruments of `make`."""

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
    """Export settings of a network family.

    Args:
        graphs: returns decoder, encoder and card fields; receives whether the corpus is tonal. None for networks
            without sound: they are not exported, and `make` ignores them.
        report: for `timbrel evaluate`; receives run, network, checkpoint name and step.
        recipe: that `make` trains; empty for families that train for hours.
        why: purpose of its instruments, for users.
        changes: `make`'s recipe changes for a corpus, as ``key=value``.
        tried: `make` holds out whole keys, trains once without them for the report, then on all.
        played: the report compares notes of the exported model with recordings.
        judged: the report receives a classifier ``judge``.
        whole: clips are whole recordings, at their own sample rate and of any length.
        gridded: clips are loops on one grid, at their own sample rate.
        unpitched: warning for sounds without a clear pitch.
        called: name for users, if different.
        first: writes `make`'s preset, with a sound.
        heard: file of that sound.
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
