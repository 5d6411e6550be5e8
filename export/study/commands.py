"""Commands of `timbrel study`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ...host.commands.options import opened_model
from ...host.errors import UserError
from ...train.commands import Accelerator, Devices

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
ClassifierOption = Annotated[Path | None, typer.Option(help="A classifier's run, which judges clips or words.")]


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


def chroma(
    corpus: Annotated[
        list[str], typer.Option(help="Corpus folders, PART=DIR: octave, five-octaves, violin, flute, clarinet, bass.")
    ],
    output: OutputOption,
    change: SetOption = None,
    tables: Annotated[
        str | None, typer.Option(help="Tables to make, of 1,2,3,4,5,vae,beta,performances; all by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each network.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = 300,
    mesh: Annotated[str | None, typer.Option(help="Points along each of 2, 3 and 8 latents: 350,50,5.")] = None,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
    ray: RayOption = None,
) -> None:
    """Repeat Colonel and Keene's tables and figures on notes, and add better networks."""
    from .chroma import SIDES, TABLES, ChromaStudyOptions, parse_corpora, parse_mesh, parse_tables, study

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


def grain(
    corpus: CorpusOption,
    output: OutputOption,
    recipes: RecipesOption = None,
    change: SetOption = None,
    steps: StepsOption = None,
    classifier: ClassifierOption = None,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
    ray: RayOption = None,
) -> None:
    """Repeat the Ambisynth post's figures on grains, and add better networks."""
    from .grain import study
    from .runs import StudyOptions

    recipe_names = comma_separated(recipes)
    options = StudyOptions(
        one_corpus(corpus),
        output,
        recipe_names,
        change or [],
        steps,
        classifier=classifier,
        accelerator=accelerator,
        devices=devices,
        ray=ray,
    )
    run_study(study, options, output / "index.html")


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
    from .gan import study
    from .runs import StudyOptions

    check_budget(steps, minutes)
    recipe_names = comma_separated(recipes)
    options = StudyOptions(
        one_corpus(corpus),
        output,
        recipe_names,
        change or [],
        steps,
        minutes,
        classifier,
        accelerator=accelerator,
        devices=devices,
        ray=ray,
    )
    run_study(study, options, output / "index.html")


def recovery(
    corpus: CorpusOption,
    output: OutputOption,
    classifier: Annotated[
        list[Path], typer.Option(help="A classifier's run, which judges the recovered clips; give two for two judges.")
    ],
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
    from .recovery import RecoveryStudyOptions, study

    if (generator is None) == (model is None):
        raise UserError("study recovery wants --generator RUN or --model MODEL, one of them")
    if model is not None and ray is not None:
        raise UserError("--ray shares trainings, and --model needs none; leave it out")
    subject = generator if model is None else opened_model(model)
    assert subject is not None
    options = RecoveryStudyOptions(
        one_corpus(corpus),
        output,
        subject,
        classifier,
        change or [],
        seeds,
        clips,
        minutes,
        accelerator=accelerator,
        devices=devices,
        ray=ray,
    )
    run_study(study, options, output / "index.html")


def sequence(
    output: OutputOption,
    corpus: Annotated[
        list[str] | None, typer.Option(help="Corpus folders: loop=DIR and kicks=DIR; kicks may be repeated.")
    ] = None,
    change: SetOption = None,
    rows: Annotated[
        str | None, typer.Option(help="Rows to make, separated by commas, such as loop-256; short ones by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each row.")] = 3,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
    ray: RayOption = None,
) -> None:
    """Repeat a post's experiments on a loop, kicks and vowels, beside floors."""
    from .sequence import USUAL_ROWS, SequenceStudyOptions, parse_corpora, parse_rows, study

    options = SequenceStudyOptions(
        corpora=parse_corpora(corpus or []),
        folder=output,
        rows=USUAL_ROWS if rows is None else parse_rows(rows),
        changes=change or [],
        seeds=seeds,
        devices=devices,
        accelerator=accelerator,
        ray=ray,
    )
    run_study(study, options, output / "index.html")


STUDIES = (chroma, grain, gan, recovery, sequence)
