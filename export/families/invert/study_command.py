"""The command ``timbrel study recovery``."""

from pathlib import Path
from typing import Annotated

import typer

from ....host.commands.options import opened_model
from ....host.errors import UserError
from ....train.commands import Accelerator, Devices
from ...study.options import CorpusOption, MinutesOption, OutputOption, RayOption, SetOption, one_corpus, run_study


def recovery(
    corpus: CorpusOption,
    output: OutputOption,
    classifier: Annotated[Path, typer.Option(help="A classifier's run, which judges the recovered clips.")],
    generator: Annotated[Path | None, typer.Option(help="The run of a generator of clips, to be inverted.")] = None,
    model: Annotated[str | None, typer.Option(help="A clip model with an encoder, in place of a generator.")] = None,
    change: SetOption = None,
    minutes: MinutesOption = None,
    seeds: Annotated[int, typer.Option(min=1, help="Searches of each table, for other sounds.")] = 3,
    clips: Annotated[int, typer.Option(min=1, help="Sounds of each table, with each seed.")] = 60,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
    ray: RayOption = None,
) -> None:
    """Repeat the tables of Keyes et al. on recovered codes, and add better methods."""
    from .study import RecoveryStudyOptions, study

    if (generator is None) == (model is None):
        raise UserError("study recovery wants --generator RUN or --model MODEL, one of them")
    if model is not None and ray is not None:
        raise UserError("--ray shares trainings, and --model needs none; leave it out")
    subject = generator if model is None else opened_model(model)
    assert subject is not None
    options = RecoveryStudyOptions(
        one_corpus(corpus), output, subject, classifier, change or [], seeds, clips, minutes, accelerator, devices, ray
    )
    run_study(study, options, output / "index.html")
