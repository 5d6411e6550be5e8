"""Commands of exporting: models, instruments, evaluation, recovery and studies."""

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..host.commands.options import MODEL_HELP, PRESET_HELP, Overwrite, PresetName, Trust, known_names, opened_model
from ..host.errors import UserError
from ..train.commands import Accelerator, RecipeName, Which
from .families import AUTO, choices
from .study.commands import STUDIES, RayOption

commands = typer.Typer(rich_markup_mode=None)
study_commands = typer.Typer(
    rich_markup_mode=None,
    help="Repeat a publication's tables and figures, and add better networks. Ctrl-C saves; run it again to resume.",
)
commands.add_typer(study_commands, name="study")
for run_study in STUDIES:
    study_commands.command()(run_study)


def _print_publications(requested: bool) -> None:
    if requested:
        from .study.publications import table

        print(table())
        raise typer.Exit


@study_commands.callback()
def _study_options(
    listed: Annotated[
        bool, typer.Option("--list", callback=_print_publications, is_eager=True, help="List publications and hours.")
    ] = False,
) -> None:
    pass


Recordings = Annotated[
    bool, typer.Option("--recordings/--no-recordings", help="Hits and words: whether the model's file contains them.")
]
License = Annotated[str | None, typer.Option(help="Of the model, its corpus included.")]
Credits = Annotated[str | None, typer.Option(help="Who made the sounds.")]


class MethodChoice(StrEnum):
    network = "network"
    gradient = "gradient"
    hybrid = "hybrid"


class Weights(StrEnum):
    float16 = "float16"
    float32 = "float32"


@commands.command()
def export(
    source: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder; without -o also an instrument's folder, a model.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The model, ending in .onnx; its encoder lies beside.")
    ] = None,
    nn: Annotated[Path | None, typer.Option("--nn", help="A file for nn~ in Max and Pd, ending in .ts.")] = None,
    meaning: Annotated[
        Path | None,
        typer.Option("--json", help="The meaning of its inputs and frames, for programs, ending in .json."),
    ] = None,
    checkpoint: Annotated[Which, typer.Option(help="Which checkpoint.")] = Which.best,
    weights: Annotated[Weights, typer.Option(help="float16: half the file, unless inexact.")] = Weights.float16,
    name: Annotated[str | None, typer.Option(help="The model's name; the file's by default.")] = None,
    description: Annotated[str | None, typer.Option(help="One line.")] = None,
    license: License = None,
    credits: Credits = None,
    recordings: Recordings = True,
    overwrite: Overwrite = False,
) -> None:
    """Write a model for any host, or a file for Max and Pd, and prove that it agrees with the trained network."""
    from ..host.progress import Display
    from .api.runs import export_model

    with Display() as display:
        display.stage("exporting")
        export_model(
            source,
            output,
            nn=nn,
            json=meaning,
            checkpoint=checkpoint.value,
            weights=weights.value,
            name=name,
            description=description,
            license=license,
            credits=credits,
            recordings=recordings,
            overwrite=overwrite,
            progress=print,
        )


@commands.command()
def make(
    output: Annotated[Path, typer.Option("-o", "--output", help="The instrument: a new folder.")],
    sounds: Annotated[list[Path] | None, typer.Argument(help="Sound files and folders.")] = None,
    minutes: Annotated[float | None, typer.Option(help="How long to train; 5 by default.")] = None,
    more_minutes: Annotated[
        float | None,
        typer.Option(
            help="Train a finished instrument so much longer: OUTPUT, or a pack with its run into a new OUTPUT."
        ),
    ] = None,
    family: Annotated[
        str,
        typer.Option(
            metavar=f"<{'|'.join(choices())}>",
            help="auto chooses by the sounds; also a family of an installed package.",
        ),
    ] = AUTO,
    label: Annotated[
        str | None, typer.Option(help="Of hits or words: 'folder', or a regular expression on files' names.")
    ] = None,
    recordings: Recordings = True,
    license: License = None,
    credits: Credits = None,
) -> None:
    """Turn a folder of sounds into an instrument: corpus, training, report, model, preset, a scale to hear."""
    if minutes is not None and more_minutes is not None:
        raise UserError(f"--minutes {minutes:g} and --more-minutes {more_minutes:g} are two budgets; give one of them")
    from .api.making import make_instrument

    summary = make_instrument(
        sounds or [],
        output,
        minutes=minutes,
        more_minutes=more_minutes,
        family=family,
        label=label,
        recordings=recordings,
        license=license,
        credits=credits,
    )
    print(summary)


@commands.command()
def sweep(
    recipe: RecipeName,
    corpus: Annotated[Path, typer.Option(help="A corpus folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The sweep: a new folder, or one to resume.")],
    change: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=A,B,C: a training for each value; all keys' combinations.")
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="End the worst two thirds at a ninth of the budget, and again at a third.")
    ] = False,
    accelerator: Accelerator = "auto",
    ray: RayOption = None,
) -> None:
    """Train a recipe with all combinations of settings: one table, best first. Ctrl-C saves; run it again to resume."""
    from ..host.progress import Display
    from .study.sweep import SweepOptions
    from .study.sweep import sweep as train_all

    with Display() as display:
        display.stage("sweeping")
        is_finished = train_all(
            SweepOptions(recipe, corpus, output, change or [], prune, accelerator=accelerator, ray=ray), display
        )
    if not is_finished:
        raise typer.Exit(130)  # what shells expect after Ctrl-C
    table_file = output / "sweep.csv"
    print(table_file.read_text(encoding="utf-8"), end="")
    print(output / "index.html")


@commands.command()
def evaluate(
    run: Annotated[
        Path, typer.Argument(help="A run folder; with --corpus an instrument, as 'timbrel render' takes it.")
    ],
    checkpoint: Annotated[Which | None, typer.Option(help="Which checkpoint; the best by default.")] = None,
    classifier: Annotated[Path | None, typer.Option(help="A classifier's run, which judges clips or words.")] = None,
    corpus: Annotated[Path | None, typer.Option(help="Held-out notes to compare an instrument's notes with.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="With --corpus: the report, a new folder.")
    ] = None,
) -> None:
    """Measure a run on its test split, or an instrument beside a corpus; writes a folder with index.html."""
    from ..host.progress import Display
    from .api.runs import evaluate_run
    from .knobs.effects import as_text as knobs_text
    from .reports.floor_tables import floors_text

    if corpus is not None:
        _compare_with_corpus(run, corpus, output, checkpoint or classifier)
        return
    if output is not None:
        raise UserError(f"-o {output} goes with --corpus; the report of a run is written to {run / 'report'}")
    with Display() as display:
        display.stage("evaluating")
        figures = evaluate_run(
            run,
            checkpoint=(checkpoint or Which.best).value,
            classifier=classifier,
            progress=display.update,
        )
    _tell_notes(figures)
    if "floors" in figures:  # a family may have none
        print(floors_text(figures["floors"]))
    if figures.get("knobs"):
        print(knobs_text(figures["knobs"]))
    print(f"{run / 'report' / 'index.html'}")


def _compare_with_corpus(instrument: Path, corpus: Path, output: Path | None, run_option: object) -> None:
    """Write a report of an instrument's notes beside held-out ones, and print how they compare."""
    from ..host.preset.library import open_patch
    from ..host.progress import Display
    from ..train.corpus.store import Corpus
    from .evaluate import evaluate_instrument

    if output is None:
        raise UserError("--corpus needs -o, the folder that the report is written to")
    if run_option is not None:
        raise UserError("--checkpoint and --classifier are for runs, and --corpus is for instruments; leave either out")
    with Display() as display:
        display.stage("evaluating")
        patch, held_out_corpus = open_patch(str(instrument)), Corpus.open(corpus)
        figures = evaluate_instrument(patch, held_out_corpus, output, progress=display.update)
    _tell_notes(figures)
    print(f"{output / 'index.html'}")


def _tell_notes(figures: Mapping[str, Any]) -> None:
    """Print how an instrument's notes compare, if the report says so."""
    from .fidelity.page import as_text

    if "notes" in figures:
        print(as_text(figures["notes"]))


@commands.command()
def sample(
    preset: PresetName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The instrument for samplers: a new folder.")],
    knobs: Annotated[
        list[str] | None, typer.Option(help="One or two knobs as layers on a controller: brightness,air")
    ] = None,
    every: Annotated[int, typer.Option(min=1, max=12, help="Semitones between sampled keys.")] = 3,
    velocities: Annotated[int, typer.Option(min=1, max=16, help="Layers of velocity.")] = 4,
    takes: Annotated[int, typer.Option(min=1, max=16, help="Strikes of each, which alternate.")] = 3,
    trust: Trust = False,
) -> None:
    """Sample an instrument: FLAC files, an .sfz and a .dspreset for samplers."""
    from ..host.preset.library import open_patch
    from ..host.preset.plugin_consent import ask_for
    from ..host.progress import Display
    from .samples.sampler import sample as write_samples

    ask_for([preset], trust)
    patch = open_patch(preset)
    for warning in patch.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    with Display() as display:
        display.stage("sampling")
        knob_names = [name.strip() for option in knobs or [] for name in option.split(",")]
        summary = write_samples(
            patch, output, knobs=knob_names, every=every, velocities=velocities, takes=takes, progress=display.update
        )
    print(summary)


@commands.command()
def dataset(
    presets: Annotated[
        list[str],
        typer.Argument(metavar="PRESET...", help=f"One or several. {PRESET_HELP}", autocompletion=known_names),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The data set: a new folder, or one to go on with.")],
    notes: Annotated[int | None, typer.Option(help="How many, in all.")] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="A CSV file of notes, in place of --notes: columns of the labels, such as key and knobs."),
    ] = None,
    keys: Annotated[str | None, typer.Option(help="MIDI keys: 36-96, or 48,55,60; those recorded by default.")] = None,
    velocities: Annotated[str | None, typer.Option(help="1-127, or 25,50,100; 20-127 by default.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Of each file; 4 by default.")] = None,
    held: Annotated[
        str | None, typer.Option(help="Seconds from press to release: 0.5-3; three quarters of the file by default.")
    ] = None,
    onset: Annotated[str | None, typer.Option(help="Seconds before the press: 0-0.5; 0 by default.")] = None,
    latents: Annotated[
        str | None, typer.Option(help="preset, uniform, landmarks or grid:STEPS; the preset's by default.")
    ] = None,
    knob: Annotated[
        list[str] | None, typer.Option(help="A knob's positions, 0 to 1 of its range: brightness=0-1. Repeatable.")
    ] = None,
    settings: Annotated[Path | None, typer.Option(help="A TOML file with such settings; options win over it.")] = None,
    rate: Annotated[int | None, typer.Option(help="Sample rate in Hz, 16000 to 96000; 44100 by default.")] = None,
    stereo: Annotated[
        bool | None, typer.Option("--stereo", help="Both sides; by default one mix of them, with the power of both.")
    ] = None,
    as_float: Annotated[bool | None, typer.Option("--float", help="32-bit WAV files in place of 16-bit FLAC.")] = None,
    shard: Annotated[int | None, typer.Option(help="Notes of a shard, a multiple of 64; 1024 by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of all that is drawn; 1 by default.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Processes of this machine.")] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Render on a Ray cluster: its address, or auto.")
    ] = None,
    trust: Trust = False,
) -> None:
    """Render labelled notes by the million into WebDataset shards; the same command goes on after a stop."""
    from ..host.preset.plugin_consent import ask_for
    from ..host.progress import Display
    from .samples.dataset import make_dataset
    from .samples.drawing import read_settings

    ask_for(presets, trust)
    settings_by_name = {
        "keys": keys,
        "velocities": velocities,
        "seconds": seconds,
        "held_seconds": held,
        "onset_seconds": onset,
        "latents": latents,
        "sample_rate": rate,
        "stereo": stereo,
        "as_float": as_float,
        "shard_notes": shard,
        "seed": seed,
    }
    overrides: dict[str, Any] = {name: value for name, value in settings_by_name.items() if value is not None}
    overrides["knobs"] = _positions(knob or [])
    dataset_settings = read_settings(settings, overrides)
    with Display() as display:
        display.stage("rendering notes")
        summary = make_dataset(
            presets,
            output,
            dataset_settings,
            notes,
            table=table,
            workers=workers,
            ray=ray,
            progress=display.update,
            warn=lambda line: display.say(f"warning: {line}"),
        )
    print(summary)


def _positions(knob_options: list[str]) -> dict[str, str]:
    """Parse ``--knob``: positions by the knob's name."""
    positions_by_knob = dict[str, str]()
    for option in knob_options:
        name, equals_sign, positions = option.rpartition("=")
        if not equals_sign or not name or not positions:
            raise UserError(f"--knob {option!r} is no NAME=POSITIONS; write it as brightness=0-1")
        if name in positions_by_knob:
            raise UserError(f"--knob {option!r}: a knob is named twice; name each once")
        positions_by_knob[name] = positions
    return positions_by_knob


@commands.command()
def pack(
    preset: PresetName,
    output: Annotated[Path, typer.Option("-o", "--output", help="The pack, ending in .timbrel.")],
    with_run: Annotated[bool, typer.Option("--run", help="Also the run and the sounds, to train it further.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Pack an instrument into one file: preset, model, encoder, all that it names, a preview and a picture."""
    from ..host.preset.library import open_patch
    from .pack import pack as write_pack

    patch = open_patch(preset)
    for warning in patch.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(write_pack(patch, output, with_run=with_run, overwrite=overwrite))


@commands.command()
def recover(
    sound: Annotated[Path, typer.Argument(help="A sound file; of a model of clips also a folder, for a kit.")],
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The preset, ending in .toml; more lies beside.")],
    method: Annotated[
        MethodChoice | None,
        typer.Option(help="The model's own encoder, a search, or both; the last where timbrel[train] is installed."),
    ] = None,
    path: Annotated[bool, typer.Option("--path", help="Also write a path that follows the sound.")] = False,
    points: Annotated[int, typer.Option(min=2, max=1000, help="The most codes of the path.")] = 32,
    overwrite: Overwrite = False,
) -> None:
    """Find the latent code of a sound; write a preset with this code, and its sound."""
    # Set before numpy is imported: its threads wait by spinning, and quadruple the time on a busy machine.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ..host.progress import Display
    from ..host.resynthesis.recover import recover as recover_sound
    from .recovery.method import chosen_method

    loaded_model, notes = opened_model(model), list[str]()
    with Display() as display:
        display.stage("listening")
        recovered = recover_sound(
            sound,
            loaded_model,
            output,
            method=chosen_method(method and method.value, loaded_model, notes.append),
            points=points if path else None,
            overwrite=overwrite,
            progress=display.update,
        )
    for line in (*(f"note: {note}" for note in notes), *(f"warning: {warning}" for warning in recovered.warnings)):
        print(line, file=sys.stderr)
    print(recovered.summary)
