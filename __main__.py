"""The command line: joins the rooms' commands, and imports a room only when one of its commands is called."""

import atexit
import contextlib
import gc
import os
import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .host.errors import TimbrelError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .host.learn import Moment
    from .host.library import Patch
    from .host.midi.ports import Inputs
    from .host.progress import Display
    from .train.loop import Outcome, Report

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Turn recordings into playable instruments.",
)
corpus_app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Build a corpus to train on.")
app.add_typer(corpus_app, name="corpus")


class Family(StrEnum):
    """Families that `make` can train."""

    auto = "auto"
    chroma = "chroma"
    grain = "grain"


class Weights(StrEnum):
    """How weights are stored."""

    float16 = "float16"
    float32 = "float32"


class Which(StrEnum):
    """Checkpoints of a run."""

    best = "best"
    last = "last"


class Phase(StrEnum):
    """Whose phases a sound has that went through a model."""

    original = "original"
    own = "own"


class Way(StrEnum):
    """From one code to another."""

    linear = "linear"
    spherical = "spherical"
    dense = "dense"


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
Split = Annotated[str, typer.Option(help="Parts for training, validation and test, or a JSON file that lists them.")]
Seed = Annotated[int, typer.Option(help="Decides what is drawn at random.")]
CorpusName = Annotated[str | None, typer.Option(help="The corpus's name; the folder's by default.")]
Licence = Annotated[str | None, typer.Option(help="Under which the sounds may be used; models carry it on.")]
Rate = Annotated[int, typer.Option(help="Sampling rate in Hz.")]
MidiPort = Annotated[
    list[str] | None, typer.Option(help="A MIDI port, by any part of its name, or virtual; all by default.")
]
MidiApi = Annotated[str | None, typer.Option(help="alsa, jack, coremidi or winmm; the first that works by default.")]
Devices = Annotated[int, typer.Option(min=1, help="How many GPUs or CPU processes to train on.")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")]


BLOCKS = (16, 8192)  # samples: as host.audio.device has it, which would load numpy
RATES = (8000, 192_000)  # Hz
MOMENT_SECONDS = 0.05  # between looks at what came in
RESCAN_SECONDS = 1.0  # between looks for ports that came or went
BUDGETS = ("training.epochs", "training.steps", "training.minutes")


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command()
def demo() -> None:
    """Render the shipped demo to demo.wav and demo.png in this folder."""
    from .host.demo import PRESET, TUNE, demo

    sound, picture = demo(Path())
    print(f"{sound}: preset {PRESET} plays {TUNE}")
    print(f"{picture}: its waveform, spectrum, notes and latent path")
    print("next: 'timbrel presets' lists what ships; 'timbrel render PRESET YOUR.mid -o OUT.wav' plays your own tune;")
    print("      'timbrel make YOUR_SOUNDS -o INSTRUMENT' makes an instrument of your own recordings")


@corpus_app.command("build")
def corpus_build(
    sounds: Annotated[list[Path], typer.Argument(help="Sound files and folders.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The corpus: a new folder.")],
    rate: Rate = 44100,
    split: Split = "0.85/0.07/0.08",
    seed: Seed = 0,
    group: Annotated[
        str | None, typer.Option(help="A regular expression: clips whose match is equal stay together.")
    ] = None,
    name: CorpusName = None,
    licence: Licence = None,
) -> None:
    """Read any audio files: mono, one rate, split by clip, labelled with pitch, with a report."""
    from .host.progress import Display
    from .train.corpus.build import build

    with Display() as display:
        display.stage("reading sounds")
        report = build(
            sounds,
            output,
            rate=rate,
            split=split,
            seed=seed,
            group=group,
            name=name,
            licence=licence,
            progress=display.update,
        )
    print(report.text())


@corpus_app.command("soundfont")
def corpus_soundfont(
    soundfont: Annotated[Path, typer.Argument(help="An .sf2 file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The corpus: a new folder.")],
    programs: Annotated[str, typer.Option(help="Programs, counted from 0, such as 0-79 or 0,40,73.")] = "0-79",
    notes: Annotated[str, typer.Option(help="MIDI notes, such as 60-72.")] = "60-72",
    velocities: Annotated[str, typer.Option(help="Velocities, such as 100 or 40,80,120.")] = "100",
    seconds: Annotated[float, typer.Option(help="How long each note is held.")] = 1.0,
    rate: Rate = 44100,
    split: Split = "0.85/0.07/0.08",
    seed: Seed = 0,
    name: CorpusName = None,
    licence: Licence = None,
) -> None:
    """Render a corpus of notes with FluidSynth."""
    from .host.progress import Display
    from .train.corpus.soundfont import parse_numbers, render_soundfont

    with Display() as display:
        display.stage("rendering notes")
        report = render_soundfont(
            soundfont,
            output,
            programs=parse_numbers(programs),
            notes=parse_numbers(notes),
            velocities=parse_numbers(velocities),
            seconds=seconds,
            rate=rate,
            split=split,
            seed=seed,
            name=name,
            licence=licence,
            progress=display.update,
        )
    print(report.text())


@app.command()
def recipes() -> None:
    """List the recipes that ship."""
    from .train.recipe import load_recipe, shipped_recipes

    for name in shipped_recipes():
        print(f"{name:<26}{load_recipe(name).description}")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name (see 'timbrel recipes'), or a TOML file.")],
    corpus: Annotated[Path, typer.Option(help="A corpus folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The run: a new folder, or one to --resume.")],
    change: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: training.epochs=5")] = None,
    minutes: Annotated[float | None, typer.Option(help="Train for this long, with a schedule made for it.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard in RUN/tensorboard.")] = False,
) -> None:
    """Train a recipe on a corpus. Ctrl-C saves and stops."""
    changes = list(change or [])
    if minutes is not None:
        if other := next((c for c in changes if c.partition("=")[0] in BUDGETS), None):
            raise UserError(f"--minutes {minutes:g} and --set {other} are two budgets; give one of them")
        changes.append(f"training.minutes={minutes}")

    from .host.progress import Display
    from .train.loop import Options, start
    from .train.loop import resume as go_on
    from .train.recipe import load_recipe

    loaded = load_recipe(recipe, changes)
    with Display() as display:
        display.stage(f"training {loaded.name}")
        options = Options(accelerator, devices, tensorboard, *_reporters(display, devices))
        outcome = go_on(output, loaded, options) if resume else start(loaded, corpus, output, options)
    _end_of_training(outcome, output, corpus)


def _reporters(display: "Display", devices: int) -> tuple[Any, Any]:
    """What the loop calls to show progress; processes of their own cannot share a display, and stay silent."""
    if devices > 1:
        return None, None

    def report(now: "Report") -> None:
        note = f"step {now.step}, loss {now.loss:.4g}, {now.examples_per_second:.0f} examples/s"
        display.update(now.done, note, now.seconds_left)

    return report, display.say


def _end_of_training(outcome: "Outcome", run: Path, corpus: Path) -> None:
    print(f"{run}: {outcome.step} steps, validation loss {outcome.validation:.4g}")
    if outcome.interrupted:
        recipe = run / "recipe.toml"  # with all that was --set
        print(f"stopped before its end; go on with: timbrel train {recipe} --corpus {corpus} -o {run} --resume")
        raise typer.Exit(130)  # what shells expect after Ctrl-C
    print(f"next: timbrel evaluate {run}, or timbrel export {run} -o MODEL.onnx")


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    checkpoint: Annotated[Which, typer.Option(help="Which checkpoint.")] = Which.best,
) -> None:
    """Measure a run on its test split; writes RUN/report/index.html and report.json."""
    from .host.progress import Display
    from .train.evaluate import evaluate
    from .train.run import Run

    with Display() as display:
        display.stage("evaluating")
        evaluate(Run.open(run), checkpoint=checkpoint.value, progress=display.update)
    print(f"{run / 'report' / 'index.html'}")


@app.command()
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
    from .export.export import Labels
    from .export.export import export as write
    from .host.encoder import encoder_path
    from .train.run import Run

    labels = Labels(name, description, license, credits)
    card = write(
        Run.open(run), output, labels=labels, which=checkpoint.value, weights=weights.value, overwrite=overwrite
    )
    print(f"{output}: {len(card.latents)} latents, within {card.parity.relative:.1e} of torch")
    print(f"{encoder_path(output)}: its encoder")


@app.command()
def make(
    sounds: Annotated[list[Path], typer.Argument(help="Sound files and folders.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The instrument: a new folder.")],
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 5.0,
    family: Annotated[Family, typer.Option(help="auto chooses by how tonal the sounds are.")] = Family.auto,
) -> None:
    """Turn a folder of sounds into an instrument: corpus, training, report, model, preset, a scale to hear."""
    from .export.make import make
    from .host.progress import Display

    with Display() as display:
        summary = make(sounds, output, minutes=minutes, family=family.value, display=display)
    print(summary)


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="chroma or grain.")],
    corpus: Annotated[
        list[str], typer.Option(help="A corpus folder; of chroma octave=, five-octaves= and violin= with theirs.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The study: a new folder, or one to go on with.")],
    recipes: Annotated[str | None, typer.Option(help="grain: to compare, such as grain-plain,grain-noise.")] = None,
    change: Annotated[list[str] | None, typer.Option("--set", help="Change all recipes: network.latents=4")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="grain: of training; each recipe's own by default.")] = None,
    tables: Annotated[str | None, typer.Option(help="chroma: which to make, of 1,2,3,4,5,vae; all by default.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="chroma: how often each is trained; 3 by default.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="chroma: of training; 300 by default.")] = None,
    mesh: Annotated[
        str | None, typer.Option(help="chroma: points along each of 2, 3 and 8 latents; 350,50,5 by default.")
    ] = None,
    devices: Devices = 1,
    accelerator: Accelerator = "auto",
) -> None:
    """Make a publication's figures anew, its networks beside better ones. Ctrl-C saves; the same command goes on."""
    from .host.progress import Display
    from .train.study.studies import study as make

    for_chroma = {"--tables": tables, "--seeds": seeds, "--epochs": epochs, "--mesh": mesh}
    for_grain = {"--recipes": recipes, "--steps": steps}
    for option, value in (for_grain if name == "chroma" else for_chroma).items():
        if value is not None:
            raise UserError(f"{option} {value} is no option of study {name}; leave it out")
    asked: Any
    if name == "chroma":
        asked = _chroma_study(corpus, output, change or [], tables, seeds, epochs, mesh, accelerator, devices)
        page = output / "report" / "index.html"
    else:
        from .train.study.runs import Asked

        if len(corpus) > 1:
            raise UserError(f"--corpus {corpus[1]} is one too many; study {name} takes one corpus")
        names = None if recipes is None else [part.strip() for part in recipes.split(",")]
        asked = Asked(Path(corpus[0]), output, names, change or [], steps, accelerator, devices)
        page = output / "index.html"
    with Display() as display:
        finished = make(name, asked, display)
    if not finished:
        raise typer.Exit(130)  # what shells expect after Ctrl-C
    print(page)


def _chroma_study(
    corpora: list[str],
    output: Path,
    changes: list[str],
    tables: str | None,
    seeds: int | None,
    epochs: int | None,
    mesh: str | None,
    accelerator: str,
    devices: int,
) -> Any:
    """What the study of chroma is asked for; train writes no models, so it is handed what does."""
    from .export.export import export
    from .train.study.chroma import SIDES, TABLES, Asked, parse_corpora, parse_mesh, parse_tables

    return Asked(
        corpora=parse_corpora(corpora),
        folder=output,
        export=lambda run, path: export(run, path, weights="float32", overwrite=True),
        tables=list(TABLES) if tables is None else parse_tables(tables),
        changes=changes,
        seeds=seeds or 3,
        epochs=epochs or 300,
        sides=SIDES if mesh is None else parse_mesh(mesh),
        accelerator=accelerator,
        devices=devices,
    )


@app.command()
def info(
    model: Annotated[Path, typer.Argument(help="A model file, or a shipped model's name.")],
    as_json: Annotated[bool, typer.Option("--json", help="The whole card, for programs.")] = False,
) -> None:
    """Show what a model is."""
    from .host.describe import describe
    from .host.library import find_model
    from .host.model import Model

    opened = Model(find_model(str(model)))
    print(opened.card.model_dump_json(indent=1) if as_json else describe(opened.card, opened.path.stat().st_size))


@app.command()
def verify(model: Annotated[Path, typer.Argument(help="A model file, or a shipped model's name.")]) -> None:
    """Run a model's own reference on this machine; exit status 1 if it gives something else."""
    from .host.library import find_model
    from .host.model import Model

    verdict = Model(find_model(str(model))).verify()
    verb = "passes" if verdict.passed else "FAILS"
    print(f"{model} {verb}: off by {verdict.difference:.2e}, {verdict.tolerance:.0e} allowed")
    if not verdict.passed:
        raise typer.Exit(1)


@app.command()
def recover(
    sound: Annotated[Path, typer.Argument(help="A sound file.")],
    model: Annotated[Path, typer.Option(help="A model file with its encoder beside it, or a shipped model's name.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The preset, ending in .toml.")],
    path: Annotated[bool, typer.Option("--path", help="Also write a path that follows the sound.")] = False,
    points: Annotated[int, typer.Option(min=2, max=1000, help="The most codes of the path.")] = 32,
    overwrite: Overwrite = False,
) -> None:
    """Find the latent code of a sound, and write a preset that rests there."""
    from .host.library import find_model
    from .host.model import Model
    from .host.progress import Display
    from .host.recover import recover as write

    with Display() as display:
        display.stage("listening")
        recovered = write(
            sound,
            Model(find_model(str(model))),
            output,
            points=points if path else None,
            overwrite=overwrite,
            progress=display.update,
        )
    for warning in recovered.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(recovered.summary)


@app.command()
def process(
    sound: Annotated[Path, typer.Argument(help="A sound file.")],
    preset: Annotated[str, typer.Option(help="A shipped preset or model, a .toml preset or an .onnx model.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The sound: .wav, .flac or .ogg.")],
    scale: Annotated[
        list[str] | None, typer.Option(help="How far codes go from the centre: S, or N=S for latent N.")
    ] = None,
    shift: Annotated[list[str] | None, typer.Option(help="What is added to latent N: N=V.")] = None,
    smooth: Annotated[float | None, typer.Option(help="Seconds in which codes follow the sound.")] = None,
    freeze: Annotated[float | None, typer.Option(min=0, help="Hold the code from this second on.")] = None,
    to: Annotated[str | None, typer.Option(help="Lead codes to a landmark's label, or to a preset.")] = None,
    amount: Annotated[float | None, typer.Option(help="How much of that way, 0 to 1.")] = None,
    midi: Annotated[Path | None, typer.Option(help="A MIDI file: keys choose the chroma, controllers turn.")] = None,
    phase: Annotated[Phase | None, typer.Option(help="The sound's own, or one of the voice's own.")] = None,
    wet: Annotated[float | None, typer.Option(help="How much of it went through the model, 0 to 1.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Send a sound through a model's encoder and decoder, its latents bent on the way."""
    from .host.library import open_patch
    from .host.midi.file import read_performance
    from .host.process import process as send
    from .host.process import with_options
    from .host.progress import Display

    numbers = {"smooth_seconds": smooth, "amount": amount, "wet": wet}
    chosen = {"to": to, "phase": None if phase is None else phase.value}
    patch = with_options(open_patch(preset), scale or [], shift or [], numbers | chosen)
    for warning in patch.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    with Display() as display:
        display.stage("processing")
        done = send(
            sound,
            patch,
            output,
            events=None if midi is None else lambda rate: read_performance(midi, rate).events,
            freeze_seconds=freeze,
            overwrite=overwrite,
            progress=display.update,
        )
    print(f"{output}: {done.summary}")


@app.command()
def morph(
    first: Annotated[Path, typer.Argument(help="A sound file.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    model: Annotated[Path, typer.Option(help="A model file with its encoder beside it, or a shipped model's name.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The sound: .wav, .flac or .ogg.")],
    seconds: Annotated[float, typer.Option(min=0.5, max=600, help="How long the note is held.")] = 8.0,
    way: Annotated[Way, typer.Option(help="dense: by way of training codes.")] = Way.linear,
    key: Annotated[
        int | None, typer.Option(min=0, max=127, help="The MIDI note; that of the first sound by default.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Also draw the way among the training codes: a .png.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Play the way from one sound's timbre to another's, as one held note."""
    from .host.library import find_model
    from .host.model import Model
    from .host.morph import morph as play_way
    from .host.progress import Display

    with Display() as display:
        display.stage("morphing")
        morphed = play_way(
            first,
            second,
            Model(find_model(str(model))),
            output,
            way=way.value,
            seconds=seconds,
            key=key,
            picture=picture,
            overwrite=overwrite,
            progress=display.update,
        )
    for warning in morphed.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(morphed.summary)


@app.command()
def presets() -> None:
    """List the presets and models that ship."""
    from .host.library import shipped_models, shipped_presets
    from .host.model import Model
    from .host.preset import read_preset

    for name, path in shipped_presets().items():
        print(f"{name:<16}{read_preset(path).description}")
    for name, path in shipped_models().items():
        print(f"{name:<16}(model) {Model(path).card.description}")


@app.command()
def render(
    preset: Annotated[str, typer.Argument(help="A shipped preset or model, a .toml preset or an .onnx model.")],
    midi: Annotated[Path, typer.Argument(help="A MIDI file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The sound: .wav, .flac or .ogg.")],
    rate: Annotated[int, typer.Option(help="Sampling rate in Hz: 44100, 48000 or 96000.")] = 44100,
    channel: Annotated[list[str] | None, typer.Option(help="Another preset for a MIDI channel: 2=PRESET")] = None,
    tail: Annotated[float, typer.Option(min=0, max=600, help="The longest that sound may ring on, in seconds.")] = 30.0,
    stems: Annotated[bool, typer.Option("--stems", help="Also write one file a MIDI channel.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Play a MIDI file into a sound file."""
    from .host.library import open_patch
    from .host.midi.file import read_performance
    from .host.progress import Display
    from .host.render import RATES, render
    from .host.voices import PARTS

    if rate not in RATES:
        raise UserError(f"--rate {rate} is not one of {', '.join(map(str, RATES))} Hz; choose one of them")
    default, others = open_patch(preset), _channel_patches(channel or [])
    performance = read_performance(midi, rate)
    warnings = [*performance.warnings, *default.warnings, *(w for patch in others.values() for w in patch.warnings)]
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    as_live = performance.recorded and not others  # one preset heard all channels
    channels = [0] if as_live else performance.channels
    by_channel = {number: others.get(number, default) for number in channels}
    with Display() as display:
        display.stage("rendering")
        files = render(
            by_channel,
            performance,
            output,
            sample_rate=rate,
            tail_seconds=tail,
            stems=stems,
            overwrite=overwrite,
            processes=min(PARTS, os.cpu_count() or 1),
            omni=as_live,
            progress=display.update,
        )
    for file in files:
        print(file)


@app.command()
def play(
    preset: Annotated[str, typer.Argument(help="A shipped preset or model, a .toml preset or an .onnx model.")],
    device: Annotated[str | None, typer.Option(help="The sound card, by any part of its name.")] = None,
    rate: Annotated[int | None, typer.Option(help="Sampling rate in Hz; the card's own by default.")] = None,
    block: Annotated[int, typer.Option(help="Samples the card takes at a time, 16 to 8192.")] = 128,
    voices: Annotated[
        int | None, typer.Option(min=1, max=64, help="Most voices at a time; as the preset says by default.")
    ] = None,
    midi_port: MidiPort = None,
    midi_api: MidiApi = None,
    controller: Annotated[
        str | None, typer.Option(help="Put its knobs on the latents: a name from 'timbrel devices', or a .toml file.")
    ] = None,
    lowest_latency: Annotated[
        bool, typer.Option("--lowest-latency", help="Events take effect at the next block, not after a constant delay.")
    ] = False,
    programs: Annotated[Path | None, typer.Option("--set", help="A folder of presets for program changes.")] = None,
    source: Annotated[
        str | None,
        typer.Option("--input", help="What this hears goes through the model: an input's name, or default."),
    ] = None,
    null: Annotated[bool, typer.Option("--null", help="Play to nowhere, where there is no sound card.")] = False,
    keys: Annotated[
        bool, typer.Option("--keys", help="Play on the computer's keyboard; MIDI is heard if --midi-port names it.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Print a line a second instead of a screen.")] = False,
    record: Annotated[Path | None, typer.Option(help="Write what is played: .wav, .flac or .ogg.")] = None,
    record_midi: Annotated[Path | None, typer.Option(help="Write the performance, a .mid for 'render'.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Play live: MIDI in, sound out, until Ctrl-C."""
    from .host.messages import Setup
    from .host.play import Recording, play
    from .host.screen import Full, Plain, Typist, can_draw, can_type

    _check_range("--block", block, BLOCKS, "samples; 128 or 256 suit most cards")
    if rate is not None:
        _check_range("--rate", rate, RATES, "Hz; leave it out to take the card's own")
    if null and device is not None:
        raise UserError(f"--null and --device {device} are two outputs; give one of them")
    if null and source is not None:
        raise UserError(f"--null has no input, but --input {source} asks for one; leave one of them out")
    typist = Typist(keys) if can_type() else None
    if keys and typist is None:
        raise UserError("--keys needs a terminal to type in; run it in one, or play by MIDI")
    if controller is not None:
        from .host.controllers import read_controller

        read_controller(controller)
    setup = Setup(
        preset=preset,
        device=device,
        null=null,
        input=source,
        rate=rate,
        block=block,
        depth=1 if lowest_latency else 2,
        voices=voices,
        midi_ports=tuple(midi_port or ()),
        midi_api=midi_api,
        midi=not keys or bool(midi_port),
        lowest_latency=lowest_latency,
        programs=_set_of(programs),
        controller=controller,
    )
    watched = Path(preset) if preset.endswith(".toml") else None
    drawn = typist is not None and can_draw() and not plain
    with Full(typist) if typist is not None and drawn else Plain(typist) as screen:
        play(setup, screen, Recording(record, record_midi), overwrite, watched)


def _check_range(option: str, value: int, span: tuple[int, int], advice: str) -> None:
    low, high = span
    if not low <= value <= high:
        raise UserError(f"{option} {value} is out of range [{low}, {high}] {advice}")


def _set_of(folder: Path | None) -> tuple[str, ...]:
    """The presets of a folder in order of name: program 1 is the first."""
    if folder is None:
        return ()
    if not folder.is_dir():
        raise UserError(f"--set {folder} is not a folder; give one that holds presets (.toml)")
    presets = tuple(str(path) for path in sorted(folder.glob("*.toml")))
    if not presets:
        raise UserError(f"--set {folder} holds no preset (.toml); put some there")
    return presets


@app.command()
def devices() -> None:
    """List sound cards, MIDI ports and known controllers, with what to type to choose one."""
    from .host.audio.device import cards, inputs
    from .host.controllers import read_controller, shipped_controllers
    from .host.midi.ports import port_names

    found = _or_complaint(cards, "no sound card was found; connect one or start JACK, or 'timbrel play gm-keys --null'")
    heard = inputs() if found else []
    for kind, option, known in (("sound card ", "--device", found), ("sound input", "--input", heard)):
        names = [card.name for card in known]
        for card in known:
            name = card.name if names.count(card.name) == 1 else f"{card.name} ({card.api})"
            mark = "  (default)" if card.default else ""
            print(f'{kind} {option} "{name}"  {card.api}, {card.rate} Hz, {card.channels} channels{mark}')
    for port in _or_complaint(
        port_names, "no MIDI port was found; connect a controller, or 'timbrel play gm-keys --keys'"
    ):
        print(f'MIDI port   --midi-port "{port}"')
    for name in shipped_controllers():
        print(f"controller  --controller {name}  {read_controller(name).name}")


def _or_complaint(ask: "Callable[[], list[Any]]", none: str) -> list[Any]:
    """What there is; what is missing is said, and the rest of the list goes on."""
    try:
        with _hushed():
            found = ask()
    except UserError as error:
        print(error)
        return []
    if not found:
        print(none)
    return found


@contextlib.contextmanager
def _hushed() -> "Iterator[None]":
    """Without what JACK and ALSA write to standard error unasked when they are opened."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@app.command()
def learn(
    preset: Annotated[str, typer.Argument(help="A .toml preset; of a shipped one a copy is made in this folder.")],
    target: Annotated[
        str | None, typer.Option(help="What it moves, such as latent.0, gain or pan; all latents in turn by default.")
    ] = None,
    midi_port: MidiPort = None,
    midi_api: MidiApi = None,
) -> None:
    """Bind the knob that you move to a target, in the preset file. Ctrl-C stops and keeps what was bound."""
    from .host.learn import learn

    def say(line: str) -> None:
        print(line, flush=True)

    if not learn(preset, target, _Moments(tuple(midi_port or ()), midi_api, say), say):
        raise KeyboardInterrupt


class _Moments:
    """What comes in by MIDI, for ever; the ports are opened when it is first asked for."""

    def __init__(self, names: tuple[str, ...], api: str | None, say: "Callable[[str], None]") -> None:
        self._names, self._api, self._say = names, api, say

    def __iter__(self) -> "Iterator[Moment]":
        from .host.midi.ports import VIRTUAL, Inputs

        with _hushed():
            inputs = Inputs(self._names, self._api)
        heard = [name for name in inputs.open if name != VIRTUAL]
        self._say(f"listening to {', '.join(heard)}" if heard else "no controller is here yet; connect one")
        return self._moments(inputs)

    def _moments(self, inputs: "Inputs") -> "Iterator[Moment]":
        next_scan = time.monotonic()
        while True:
            for timed in sorted(inputs.poll(), key=lambda timed: timed.seconds):
                yield timed.seconds, timed.event
            yield time.perf_counter(), None
            time.sleep(MOMENT_SECONDS)
            if time.monotonic() >= next_scan:
                next_scan = time.monotonic() + RESCAN_SECONDS
                for line in inputs.rescan():
                    self._say(line)


@app.command()
def bench(
    preset: Annotated[str, typer.Argument(help="A shipped preset or model, a .toml preset or an .onnx model.")],
    seconds: Annotated[float, typer.Option(help="For each block size and number of voices, 0.5 to 600.")] = 3.0,
) -> None:
    """Measure which block sizes and how many voices this machine plays live."""
    from .host.bench import bench

    for line in bench(preset, seconds):
        print(line, flush=True)


def _channel_patches(options: list[str]) -> "dict[int, Patch]":
    from .host.library import open_patch

    patches: dict[int, Patch] = {}
    for option in options:
        number, equals, name = option.partition("=")
        if not equals or not number.isdecimal() or not 1 <= int(number) <= 16:
            raise UserError(f"--channel {option!r} must be NUMBER=PRESET, NUMBER from 1 to 16, such as 2=gm-keys")
        patches[int(number) - 1] = open_patch(name)
    return patches


def main() -> None:
    """Run the command line; what goes wrong is one line and an exit status."""
    # A script's background job is born deaf to SIGINT, but a stop that was sent to it must still save its work.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # to look for some, pydantic asks every package here
    atexit.register(gc.freeze)  # all memory goes back at once; to search it first would take as long as a short note
    arguments = sys.argv[1:] or ["--help"]
    debug = "--debug" in arguments
    status = 0
    command = typer.main.get_command(app)
    try:
        with command.make_context("timbrel", arguments) as context:  # not command.main: it keeps Ctrl-C to itself
            command.invoke(context)
    except typer.Exit as end:
        status = end.exit_code
    except TimbrelError as error:
        status = _complain(str(error), error.exit_status, debug)
    except KeyboardInterrupt:
        status = _complain("stopped", 130, debug)
    except BrokenPipeError:
        sys.stderr.close()
        status = 1
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's own: a wrong option, a missing argument
            message = error.format_message().splitlines()[0].rstrip(".")
            status = _complain(f"{message}; see 'timbrel --help' or 'timbrel COMMAND --help'", 2, debug)
        elif isinstance(error, ModuleNotFoundError):
            status = _complain(
                f"{error.name} is not installed; install it with: pip install 'timbrel[{_extra()}]'", 2, debug
            )
        elif isinstance(error, OSError) and error.strerror:
            where = f"cannot use {error.filename}: " if error.filename else ""
            status = _complain(f"{where}{error.strerror}; check the path, your rights and the room on disk", 1, debug)
        elif isinstance(error, MemoryError):
            status = _complain("memory is used up; close other programs or give less at once", 1, debug)
        else:
            status = _complain(f"internal error: {type(error).__name__}: {error}; run again with --debug", 1, debug)
    sys.exit(status)


def _extra() -> str:
    """The extra that holds what a command needs."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    return {"demo": "picture", "morph": "picture", "play": "live", "devices": "live", "learn": "live"}.get(
        command, "train"
    )


def _complain(message: str, status: int, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exc()
    print(f"timbrel: {' '.join(message.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
