"""The parts that all reports share."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel

from ...host.patch.library import Patch
from ...train.corpus.store import Corpus
from ...train.run import Run
from .picture import Picture

Array = npt.NDArray[np.float32]

FORMAT = 1
NO_TERMS = ("step", "seconds", "total")  # of a line that training logged
SEED = 2020  # of all that is drawn: the same run gives the same figures

Progress = Callable[[float, str], None]
Figures = dict[str, Any]


class ReportSound(NamedTuple):
    """A sound on the page: ``name`` of its file, a caption, samples [samples] and their rate in Hz."""

    name: str
    caption: str
    samples: Array
    rate: int


class Report(NamedTuple):
    """Figures for report.json, pictures, sounds, the HTML page that shows all of them, and others by their names."""

    found: Figures
    pictures: Sequence[Picture]
    sounds: Sequence[ReportSound]
    page: str
    pages: Mapping[str, str] = MappingProxyType({})


class HeldOutRun(NamedTuple):
    """A run that learned without the test split: its corpus, its network, and what gives it as an instrument.

    An instrument that then learned all of the corpus is judged by it, where sounds should be unheard.
    """

    corpus: Corpus
    network: Any
    exported: Callable[[], Patch]


def listed(sounds: Sequence[ReportSound]) -> dict[str, str]:
    """Captions by file, as report.json has them."""
    return {f"{sound.name}.wav": sound.caption for sound in sounds}


def about(run: Run, checkpoint: str, step: int, parameters: int) -> Figures:
    """Return what a report on clips says of the run itself."""
    logged = run.logged()
    return {
        "recipe": run.recipe.name,
        "corpus": run.info.corpus_name,
        "checkpoint": checkpoint,
        "step": step,
        "parameters": parameters,
        "seconds": logged[-1]["seconds"] if logged else None,
    }


def losses(run: Run, weighted: BaseModel) -> Figures:
    """The validation losses that training logged, each term times its weight; one that has none counts as it is."""
    lines = run.logged()
    if not lines:
        return {"steps": [], "terms": {}}
    weights = weighted.model_dump()
    shared = [name for name in lines[0] if name not in NO_TERMS and all(name in line for line in lines)]
    terms = {n: [weights.get(n, 1.0) * line[n] for line in lines] for n in shared if weights.get(n, 1.0)}
    terms["total"] = [line["total"] for line in lines]
    return {"steps": [line["step"] for line in lines], "terms": terms}
