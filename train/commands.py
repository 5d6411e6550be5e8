"""Commands of training: corpora, recipes and runs."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..host.errors import UserError

if TYPE_CHECKING:
    from ..host.progress import Display
    from .loop import Outcome, RunStatus

commands = typer.Typer(rich_markup_mode=None)
corpus_commands = typer.Typer(rich_markup_mode=None, help="Build a corpus to train on.")
commands.add_typer(corpus_commands, name="corpus")


class Which(StrEnum):
    best = "best"
    last = "last"


Split = Annotated[str, typer.Option(help="Parts for training, validation and test, or a JSON file that lists them.")]
Seed = Annotated[int, typer.Option(help="Of all that is drawn at random.")]
CorpusName = Annotated[str | None, typer.Option(help="The corpus's name; the folder's by default.")]
Licence = Annotated[str | None, typer.Option(help="Under which the sounds may be used; models carry it on.")]
Rate = Annotated[int, typer.Option(help="Sampling rate in Hz.")]
RecipeName = Annotated[str, typer.Argument(help="A shipped recipe's name (see 'timbrel recipes'), or a TOML file.")]
Devices = Annotated[int, typer.Option(min=1, help="How many GPUs or CPU processes to train on.")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")]


@corpus_commands.command("build")
def corpus_build(
    sounds: Annotated[
        list[str],
        typer.Argument(help="Sound files and folders; data sets: .tar, .parquet, .arrow; https:// and s3://."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The corpus: a new folder, or one whose build was stopped.")
    ],
    rate: Annotated[
        int | None, typer.Option(help="Sampling rate in Hz; 44100 by default, or that of the corpus that grows.")
    ] = None,
    split: Split = "0.85/0.07/0.08",
    seed: Seed = 0,
    group: Annotated[
        str | None, typer.Option(help="A regular expression: clips whose match is equal stay together.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Labels of clips: 'folder' for the folders' names, or a regular expression on files' names."),
    ] = None,
    shortest: Annotated[
        float | None, typer.Option(help="Seconds that a clip must last; without it 4096 samples.")
    ] = None,
    loops: Annotated[
        bool, typer.Option("--loops", help="Put loops on one grid: tempos by their names, or heard.")
    ] = False,
    melodies: Annotated[bool, typer.Option("--melodies", help="Cut melodies into notes, a clip each.")] = False,
    append: Annotated[
        bool, typer.Option("--append", help="Add to the corpus in the output folder the sounds that it lacks.")
    ] = False,
    column: Annotated[
        str | None, typer.Option(help="Columns of data sets: audio=…,label=…,key=…,velocity=…,licence=….")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of this machine; its idle cores if not given.")
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="A Ray cluster that reads the sounds: HOST:PORT, or auto. See docs/scale.md.")
    ] = None,
    name: CorpusName = None,
    licence: Licence = None,
) -> None:
    """Read any audio files: mono or stereo, one rate, split by clip, labelled with pitch, with a report.

    A build that was stopped goes on when the same command runs again.
    """
    from ..host.errors import naming_extras
    from ..host.progress import Display
    from .api import build_corpus

    with naming_extras():
        from .corpus.columns import parse_columns
    columns = None if column is None else parse_columns(column)
    with Display() as display:
        display.stage("reading sounds")
        report = build_corpus(
            sounds,
            output,
            rate=rate,
            split=split,
            seed=seed,
            group=group,
            label=label,
            shortest_seconds=shortest,
            name=name,
            licence=licence,
            loops=loops,
            melodies=melodies,
            append=append,
            columns=columns,
            workers=workers,
            ray=ray,
            progress=display.update,
        )
    print(report.text())


@corpus_commands.command("soundfont")
def corpus_soundfont(
    soundfont: Annotated[Path, typer.Argument(help="An .sf2 file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The corpus: a new folder.")],
    programs: Annotated[
        str | None, typer.Option(help="Programs, counted from 0, such as 0,40,73; 0-79 by default.")
    ] = None,
    kits: Annotated[
        str | None,
        typer.Option(help="Drum kits in place of programs, such as 0,8,25: hits, labelled by what they are."),
    ] = None,
    notes: Annotated[
        str | None, typer.Option(help="MIDI notes, such as 60-72, the default; 35-81 that of kits.")
    ] = None,
    velocities: Annotated[str, typer.Option(help="Velocities, such as 100 or 40,80,120.")] = "100",
    seconds: Annotated[float, typer.Option(help="How long each note is held.")] = 1.0,
    release: Annotated[float, typer.Option(help="Seconds of each note after its release.")] = 0.0,
    channels: Annotated[
        int, typer.Option(min=1, max=2, help="2: both sides of notes, where they differ; 1: their mean.")
    ] = 2,
    rate: Rate = 44100,
    split: Split = "0.85/0.07/0.08",
    seed: Seed = 0,
    name: CorpusName = None,
    licence: Licence = None,
) -> None:
    """Render a corpus of notes, or of the hits of drum kits, with FluidSynth."""
    if programs is not None and kits is not None:
        raise UserError(f"--programs {programs} and --kits {kits} are two kinds of corpus; give one of them")

    from ..host.progress import Display
    from .corpus.soundfont import parse_numbers, render_soundfont

    with Display() as display:
        display.stage("rendering notes" if kits is None else "rendering hits")
        report = render_soundfont(
            soundfont,
            output,
            programs=parse_numbers(kits or programs or "0-79"),
            kits=kits is not None,
            notes=parse_numbers(notes or ("60-72" if kits is None else "35-81")),
            velocities=parse_numbers(velocities),
            seconds=seconds,
            release_seconds=release,
            channels=channels,
            rate=rate,
            split=split,
            seed=seed,
            name=name,
            licence=licence,
            progress=display.update,
        )
    print(report.text())


@corpus_commands.command("grooves")
def corpus_grooves(
    soundfont: Annotated[Path, typer.Argument(help="An .sf2 file with drum kits.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The corpus: a new folder.")],
    rate: Rate = 44100,
    seed: Seed = 0,
    name: CorpusName = None,
    licence: Licence = None,
) -> None:
    """Render drum loops of timbrel's own grooves on a soundfont's kits, all on one grid, with FluidSynth."""
    from ..host.progress import Display
    from .corpus.loop_rendering import render_loops

    with Display() as display:
        display.stage("rendering loops")
        report = render_loops(
            soundfont, output, rate=rate, seed=seed, name=name, licence=licence, progress=display.update
        )
    print(report.text())


@commands.command()
def recipes() -> None:
    """List the recipes that ship, then those of installed packages."""
    from .families.recipes import load_recipe, package_recipes, shipped_recipes

    shipped_names = [*shipped_recipes()]
    for name in shipped_names:  # also beside a package that cannot be loaded
        print(f"{name:<26}{load_recipe(name).description}")
    for name in package_recipes():
        if name not in shipped_names and not name.startswith("base"):
            print(f"{name:<26}{load_recipe(name).description}")


@commands.command()
def train(
    recipe: RecipeName,
    corpus: Annotated[Path, typer.Option(help="A corpus folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The run: a new folder, or one to --resume.")],
    change: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: training.epochs=5")] = None,
    minutes: Annotated[float | None, typer.Option(help="Train for this long, with a schedule made for it.")] = None,
    generator: Annotated[Path | None, typer.Option(help="invert: the run of a generator of clips.")] = None,
    classifier: Annotated[Path | None, typer.Option(help="invert: a classifier's run, which compares clips.")] = None,
    grains: Annotated[Path | None, typer.Option(help="grain-path: a run of grains, whose codes it learns.")] = None,
    pretrained: Annotated[
        Path | None,
        typer.Option(help="clip-wavegan: a published WaveGAN, a checkpoint or a dump; nothing is trained."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    devices: Devices = 1,
    nodes: Annotated[
        int, typer.Option(min=1, help="Machines, on each of which torchrun or srun starts this command.")
    ] = 1,
    accelerator: Accelerator = "auto",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard in RUN/tensorboard.")] = False,
) -> None:
    """Train a recipe on a corpus. Ctrl-C saves and stops."""
    from ..host.progress import Display
    from .api import train_recipe
    from .families import FAMILIES
    from .families.recipes import load_recipe

    loaded_recipe = load_recipe(recipe, change or [])
    with Display() as display:
        display.stage(f"training {loaded_recipe.name}")
        report, say = _reporters(display, devices * nodes)
        outcome = train_recipe(
            recipe,
            corpus,
            output,
            changes=change or [],
            minutes=minutes,
            generator=generator,
            classifier=classifier,
            grains=grains,
            pretrained=pretrained,
            resume=resume,
            devices=devices,
            nodes=nodes,
            accelerator=accelerator,
            tensorboard=tensorboard,
            progress=report,
            say=say,
        )
    if outcome is None:
        print(f"{output}: the generator of {pretrained}")
        print(f"next: timbrel export {shlex.quote(str(output))} -o MODEL.onnx")
        return
    _end_of_training(outcome, output, corpus, FAMILIES[loaded_recipe.family].exported)


def _reporters(display: "Display", devices: int) -> tuple[Any, Any]:
    """None for several processes, which cannot share a display."""
    if devices > 1:
        return None, None

    def report(status: "RunStatus") -> None:
        status_line = f"step {status.step}, loss {status.loss:.4g}, {status.examples_per_second:.0f} examples/s"
        display.update(status.budget_share, status_line, status.seconds_left)

    return report, display.say


def _end_of_training(outcome: "Outcome", run: Path, corpus: Path, is_exported: bool) -> None:
    """Print the result and the next command; exit with 130 after an interruption."""
    print(f"{run}: {outcome.step} steps, validation loss {outcome.validation:.4g}")
    if outcome.interrupted:
        recipe_path = run / "recipe.toml"  # it includes all --set options
        command_words = ["timbrel", "train", recipe_path, "--corpus", corpus, "-o", run, "--resume"]
        print(f"stopped before its end; go on with: {shlex.join(map(str, command_words))}")
        raise typer.Exit(130)  # what shells expect after Ctrl-C
    quoted_run = shlex.quote(str(run))
    print(
        f"next: timbrel evaluate {quoted_run}{f', or timbrel export {quoted_run} -o MODEL.onnx' if is_exported else ''}"
    )
