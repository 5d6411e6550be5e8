"""The commands that make instruments of runs, and of sounds."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..host.commands import Overwrite
from ..host.errors import UserError
from ..train.commands import Which

commands = typer.Typer(rich_markup_mode=None)


class Family(StrEnum):
    """Families that `make` can train."""

    auto = "auto"
    chroma = "chroma"
    grain = "grain"


class Weights(StrEnum):
    """How weights are stored."""

    float16 = "float16"
    float32 = "float32"


@commands.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The model, ending in .onnx; its encoder lies beside.")
    ],
    checkpoint: Annotated[Which, typer.Option(help="Which checkpoint.")] = Which.best,
    weights: Annotated[Weights, typer.Option(help="float16 is half the file.")] = Weights.float16,
    name: Annotated[str | None, typer.Option(help="The model's name; the file's by default.")] = None,
    description: Annotated[str | None, typer.Option(help="One line.")] = None,
    license: Annotated[str | None, typer.Option(help="Of the model, its corpus included.")] = None,
    credits: Annotated[str | None, typer.Option(help="Who made the sounds.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model that any host can play, and prove that it gives what was trained."""
    from ..host.contract.encoder import encoder_path
    from ..train.run import Run
    from .export import Labels
    from .export import export as write

    labels = Labels(name, description, license, credits)
    card = write(
        Run.open(run), output, labels=labels, which=checkpoint.value, weights=weights.value, overwrite=overwrite
    )
    print(f"{output}: {len(card.latents)} latents, within {card.parity.relative:.1e} of torch")
    print(f"{encoder_path(output)}: its encoder")


@commands.command()
def make(
    output: Annotated[Path, typer.Option("-o", "--output", help="The instrument: a new folder.")],
    sounds: Annotated[list[Path] | None, typer.Argument(help="Sound files and folders.")] = None,
    minutes: Annotated[float | None, typer.Option(help="How long to train; 5 by default.")] = None,
    more_minutes: Annotated[
        float | None, typer.Option(help="Train a finished instrument so much longer; its sounds may be left out.")
    ] = None,
    family: Annotated[Family, typer.Option(help="auto chooses by how tonal the sounds are.")] = Family.auto,
) -> None:
    """Turn a folder of sounds into an instrument: corpus, training, report, model, preset, a scale to hear."""
    if minutes is not None and more_minutes is not None:
        raise UserError(f"--minutes {minutes:g} and --more-minutes {more_minutes:g} are two budgets; give one of them")
    from ..host.progress import Display
    from .make import MINUTES, make

    with Display() as display:
        summary = make(
            sounds or [],
            output,
            minutes=MINUTES if minutes is None else minutes,
            more_minutes=more_minutes,
            family=family.value,
            display=display,
        )
    print(summary)
