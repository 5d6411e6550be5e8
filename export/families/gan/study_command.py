"""The command ``timbrel study gan``."""

from ....train.commands import Accelerator, Devices
from ...study.options import (
    ClassifierOption,
    CorpusOption,
    MinutesOption,
    OutputOption,
    RayOption,
    RecipesOption,
    SetOption,
    StepsOption,
    check_budget,
    comma_separated,
    one_corpus,
    run_study,
)


def gan(
    corpus: CorpusOption,
    output: OutputOption,
    recipes: RecipesOption = None,
    change: SetOption = None,
    steps: StepsOption = None,
    minutes: MinutesOption = None,
    classifier: ClassifierOption = None,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
    ray: RayOption = None,
) -> None:
    """Compare Alencar's DCGAN and its halves, WaveGAN and `tuned-clip` on one corpus."""
    from ...study.runs import StudyOptions
    from .study import study

    check_budget(steps, minutes)
    named = comma_separated(recipes)
    options = StudyOptions(
        one_corpus(corpus), output, named, change or [], steps, accelerator, devices, minutes, classifier, ray=ray
    )
    run_study(study, options, output / "index.html")
