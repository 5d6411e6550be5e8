"""The command ``timbrel study sequence``."""

from pathlib import Path
from typing import Annotated

import typer

from ....train.commands import Accelerator, Devices
from ...study.options import (
    MinutesOption,
    OutputOption,
    RayOption,
    RecipesOption,
    SetOption,
    StepsOption,
    check_budget,
    comma_separated,
    run_study,
)


def sequence(
    corpus: Annotated[list[Path], typer.Option(help="A corpus folder; repeat it for several.")],
    output: OutputOption,
    recipes: RecipesOption = None,
    change: SetOption = None,
    steps: StepsOption = None,
    minutes: MinutesOption = None,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
    ray: RayOption = None,
) -> None:
    """Continue recordings by GRUV's network and by better ones."""
    from ...study.runs import StudyOptions
    from .study import study

    check_budget(steps, minutes)
    first, *more = corpus
    named = comma_separated(recipes)
    options = StudyOptions(first, output, named, change or [], steps, accelerator, devices, minutes, more=more, ray=ray)
    run_study(study, options, output / "index.html")
