"""The commands that make instruments of runs, and of sounds."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..host.commands import Overwrite
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
    from ..host.encoder import encoder_path
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
    sounds: Annotated[list[Path], typer.Argument(help="Sound files and folders.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The instrument: a new folder.")],
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 5.0,
    family: Annotated[Family, typer.Option(help="auto chooses by how tonal the sounds are.")] = Family.auto,
) -> None:
    """Turn a folder of sounds into an instrument: corpus, training, report, model, preset, a scale to hear."""
    from ..host.progress import Display
    from .make import make

    with Display() as display:
        summary = make(sounds, output, minutes=minutes, family=family.value, display=display)
    print(summary)
