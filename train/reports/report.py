"""What all reports share."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from .. import figures
from ..picture import Picture
from ..run import Run

FORMAT = 1
SEED = 2020  # of all that is drawn: the same run gives the same figures

Progress = Callable[[float, str], None]
Figures = dict[str, Any]


class Report(NamedTuple):
    """Figures for report.json, pictures, and the HTML page that shows both."""

    found: Figures
    pictures: Sequence[Picture]
    page: str


def losses(run: Run, weighted: BaseModel, step: int) -> tuple[Figures, list[Picture]]:
    """The validation losses that training logged, each term times its weight."""
    lines = run.logged()
    if not lines:
        return {"steps": [], "terms": {}}, []
    weights = weighted.model_dump()
    names = [name for name, weight in weights.items() if weight and all(name in line for line in lines)]
    steps = [line["step"] for line in lines]
    terms = {name: [weights[name] * line[name] for line in lines] for name in names}
    terms["total"] = [line["total"] for line in lines]
    return {"steps": steps, "terms": terms}, [figures.loss_curve(steps, terms, step)]
