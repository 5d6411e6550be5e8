"""What all reports share."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from ..picture import Picture
from ..run import Run

FORMAT = 1
NO_TERMS = ("step", "seconds", "total")  # of a line that training logged
SEED = 2020  # of all that is drawn: the same run gives the same figures

Progress = Callable[[float, str], None]
Figures = dict[str, Any]


class Report(NamedTuple):
    """Figures for report.json, pictures, and the HTML page that shows both."""

    found: Figures
    pictures: Sequence[Picture]
    page: str


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
