"""The command ``timbrel study grain``."""

from ....train.commands import Accelerator, Devices
from ...study.options import (
    CorpusOption,
    OutputOption,
    RayOption,
    RecipesOption,
    SetOption,
    StepsOption,
    comma_separated,
    one_corpus,
    run_study,
)


def grain(
    corpus: CorpusOption,
    output: OutputOption,
    recipes: RecipesOption = None,
    change: SetOption = None,
    steps: StepsOption = None,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
    ray: RayOption = None,
) -> None:
    """Repeat the Ambisynth post's figures on grains, and add better networks."""
    from ...study.runs import StudyOptions
    from .study import study

    named = comma_separated(recipes)
    options = StudyOptions(one_corpus(corpus), output, named, change or [], steps, accelerator, devices, ray=ray)
    run_study(study, options, output / "index.html")
