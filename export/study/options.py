"""Options that the commands of `timbrel study` share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ...host.errors import UserError

CorpusOption = Annotated[list[Path], typer.Option(help="A corpus folder.")]
OutputOption = Annotated[Path, typer.Option("-o", "--output", help="The study: a new folder, or one to resume.")]
RecipesOption = Annotated[str | None, typer.Option(help="Recipes to compare, separated by commas; all by default.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE changes all recipes, RECIPE:KEY=VALUE one.")
]
StepsOption = Annotated[int | None, typer.Option(min=1, help="Steps of each training; each recipe's own by default.")]
MinutesOption = Annotated[
    float | None, typer.Option(help="Minutes of each training; each recipe's own budget by default.")
]
RayOption = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Train on a Ray cluster, many at once: HOST:PORT, or auto."),
]
ClassifierOption = Annotated[Path | None, typer.Option(help="A classifier's run, which judges the generated clips.")]


def comma_separated(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",")]


def one_corpus(corpora: list[Path]) -> Path:
    """Raise UserError for several, of which typer would silently take the last."""
    if len(corpora) > 1:
        raise UserError(f"--corpus {corpora[1]} is one too many; this study takes one corpus")
    return corpora[0]


def check_budget(steps: int | None, minutes: float | None) -> None:
    """Raise UserError if both are given."""
    if steps is not None and minutes is not None:
        raise UserError(f"--steps {steps} and --minutes {minutes:g} are two budgets; give one of them")


def run_study(study: Callable[..., bool], options: object, page: Path) -> None:
    """Run a study and print its page; raise typer.Exit if it was stopped, with all progress saved."""
    from ...host.progress import Display

    with Display() as display:
        finished = study(options, display)
    if not finished:
        raise typer.Exit(130)  # what shells expect after Ctrl-C
    print(page)
