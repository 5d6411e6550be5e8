"""The command ``timbrel study chroma``."""

from typing import Annotated

import typer

from ....train.commands import Accelerator, Devices
from ...study.options import OutputOption, RayOption, SetOption, run_study


def chroma(
    corpus: Annotated[list[str], typer.Option(help="Corpus folders: octave=DIR, five-octaves=DIR and violin=DIR.")],
    output: OutputOption,
    change: SetOption = None,
    tables: Annotated[str | None, typer.Option(help="Tables to make, of 1,2,3,4,5,vae; all by default.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each network.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = 300,
    mesh: Annotated[str | None, typer.Option(help="Points along each of 2, 3 and 8 latents: 350,50,5.")] = None,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
    ray: RayOption = None,
) -> None:
    """Repeat Colonel and Keene's tables and figures on notes, and add better networks."""
    from .study import study
    from .study_plan import SIDES, TABLES, ChromaStudyOptions, parse_corpora, parse_mesh, parse_tables

    options = ChromaStudyOptions(
        corpora=parse_corpora(corpus),
        folder=output,
        tables=list(TABLES) if tables is None else parse_tables(tables),
        changes=change or [],
        seeds=seeds,
        epochs=epochs,
        sides=SIDES if mesh is None else parse_mesh(mesh),
        accelerator=accelerator,
        devices=devices,
        ray=ray,
    )
    run_study(study, options, output / "report" / "index.html")
