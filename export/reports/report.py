"""Shared types and figures of all reports."""

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from ...host.arrays import Array
from ...host.errors import UserError
from ...host.patch.library import Patch
from ...train.corpus.clip_table import Split
from ...train.corpus.store import Corpus
from ...train.run import Run
from .picture import Picture

FORMAT = 1
NO_TERMS = ("step", "seconds", "total")  # columns of the training log that are not single loss terms
SEED = 2020  # of all random draws: the same run returns the same figures
EVALUATED_SPLITS: tuple[Split, ...] = ("test", "val", "train")  # the first with data: from the least used in training

Found = TypeVar("Found")
Progress = Callable[[float, str], None]
Figures = dict[str, Any]


class ReportSound(NamedTuple):
    """[samples] at ``rate`` in Hz."""

    name: str
    caption: str
    samples: Array
    rate: int


class Report(NamedTuple):
    """``found`` are the figures of report.json, ``pages`` further pages by name."""

    found: Figures
    pictures: Sequence[Picture]
    sounds: Sequence[ReportSound]
    page: str
    pages: Mapping[str, str] = MappingProxyType({})


class HeldOutRun(NamedTuple):
    """A run without the test split, for instruments of the whole corpus."""

    corpus: Corpus
    network: Any
    exported: Callable[[], Patch]


def as_json(found: Figures) -> str:
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def listed(sounds: Sequence[ReportSound]) -> dict[str, str]:
    return {f"{sound.name}.wav": sound.caption for sound in sounds}


def evaluated_split(
    take: Callable[[Split], Found], none: str, enough: Callable[[Found], bool | int] = bool
) -> tuple[Split, Found]:
    """Return the first split of test, validation and training with enough data, and the data.

    Raises:
        UserError: ``none``, if no split has enough.
    """
    for split in EVALUATED_SPLITS:
        if enough(found := take(split)):
            return split, found
    raise UserError(none)


def judged(verdict: Callable[[Figures], tuple[str, list[str]]], **figures: Any) -> Figures:
    """Return figures under their format, verdict and shortcomings."""
    found: Figures = {"format": FORMAT, "verdict": "", "shortcomings": [], **figures}
    found["verdict"], found["shortcomings"] = verdict(found)
    return found


def origin(run: Run, checkpoint: str, step: int) -> Figures:
    return {
        "recipe": run.recipe.name,
        "corpus": run.info.corpus_name,
        "checkpoint": checkpoint,
        "step": step,
        "trial": run.is_trial,
    }


def about(run: Run, checkpoint: str, step: int, parameters: int) -> Figures:
    logged = run.logged()
    seconds = logged[-1]["seconds"] if logged else None
    return {**origin(run, checkpoint, step), "parameters": parameters, "seconds": seconds}


def losses(run: Run, weighted: BaseModel) -> Figures:
    """Return weighted validation losses, by default with weight 1."""
    lines = run.logged()
    if not lines:
        return {"steps": [], "terms": {}}
    weights = weighted.model_dump()
    shared = [name for name in lines[0] if name not in NO_TERMS and all(name in line for line in lines)]
    terms = {n: [weights.get(n, 1.0) * line[n] for line in lines] for n in shared if weights.get(n, 1.0)}
    terms["total"] = [line["total"] for line in lines]
    return {"steps": [line["step"] for line in lines], "terms": terms}
