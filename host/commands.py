"""The commands that play: an instrument, or sounds through one."""

import os
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import UserError
from .files import hushed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .contract.model import Model
    from .midi.ports import Inputs
    from .patch.learn import Moment

commands = typer.Typer(rich_markup_mode=None)


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
Trust = Annotated[bool, typer.Option("--trust", help="Let the plugins that presets name run, without asking.")]
MidiPort = Annotated[
    list[str] | None, typer.Option(help="A MIDI port, by any part of its name, or virtual; all by default.")
]
Channels = Annotated[
    list[str] | None, typer.Option(help="Another preset for a MIDI channel, or none: 2=PRESET, 10=none")
]
MidiApi = Annotated[str | None, typer.Option(help="alsa, jack, coremidi or winmm; the first that works by default.")]

PRESET_HELP = "A shipped preset or model, a .toml preset, the folder of an instrument or an .onnx model."
MODEL_HELP = "A model file with its encoder beside it, a shipped model's name, or a preset that has one."
INFO_HELP = "A model file, a shipped model's name, or a preset that has one."
BLOCKS = (16, 8192)  # samples: as host.audio.device has it, which would load numpy
RATES = (8000, 192_000)  # Hz
MOMENT_SECONDS = 0.05  # between looks at what came in
RESCAN_SECONDS = 1.0  # between looks for ports that came or went


@commands.command()
def demo() -> None:
    """Render the shipped demo to demo.wav and demo.png in this folder."""
    from .demo import PRESET, TUNE, demo

    sound, picture = demo(Path())
    print(f"{sound}: preset {PRESET} plays {TUNE}")
    print(f"{picture}: its waveform, spectrum, notes and latent path")
    print("next: 'timbrel presets' lists what ships; 'timbrel render PRESET YOUR.mid -o OUT.wav' plays your own tune;")
    print("      'timbrel make YOUR_SOUNDS -o INSTRUMENT' makes an instrument of your own recordings")


@commands.command()
def info(
    model: Annotated[str, typer.Argument(help=INFO_HELP)],
    as_json: Annotated[bool, typer.Option("--json", help="The whole card, for programs.")] = False,
) -> None:
    """Show what a model is."""
    from .contract.describe import describe

    opened = _opened(model)
    print(opened.card.model_dump_json(indent=1) if as_json else describe(opened.card, opened.path.stat().st_size))


@commands.command()
def verify(model: Annotated[str, typer.Argument(help=INFO_HELP)]) -> None:
    """Run a model's own reference on this machine; exit status 1 if it gives something else, or tells of a part."""
    verdict = _opened(model).verify()
    partial = verdict.told < verdict.width
    verb = "FAILS" if not verdict.passed else "partial" if partial else "passes"
    outputs = f"all {verdict.width} outputs"
    if partial:
        outputs = f"{verdict.told} of {verdict.width} outputs, its card tells of no others; export it again"
    print(f"{model} {verb}: off by {verdict.difference:.2e}, {verdict.tolerance:.0e} allowed, {outputs}")
    if verb != "passes":
        raise typer.Exit(1)


def _opened(name: str) -> "Model":
    """The model that a name means, with what is to be told of it."""
    from .contract.model import Model
    from .patch.library import find_model

    model = Model(find_model(name))
    for warning in model.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return model


@commands.command()
def recover(
    sound: Annotated[Path, typer.Argument(help="A sound file.")],
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The preset, ending in .toml.")],
    path: Annotated[bool, typer.Option("--path", help="Also write a path that follows the sound.")] = False,
    points: Annotated[int, typer.Option(min=2, max=1000, help="The most codes of the path.")] = 32,
    overwrite: Overwrite = False,
) -> None:
    """Find the latent code of a sound, and write a preset that rests there."""
    from .progress import Display
    from .through.recover import recover as write

    with Display() as display:
        display.stage("listening")
        recovered = write(
            sound,
            _opened(model),
            output,
            points=points if path else None,
            overwrite=overwrite,
            progress=display.update,
        )
    for warning in recovered.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(recovered.summary)


@commands.command()
def process(
    sound: Annotated[Path, typer.Argument(help="A sound file.")],
    preset: Annotated[str, typer.Option(help=PRESET_HELP)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The sound: .wav, .flac or .ogg.")],
    scale: Annotated[
        list[str] | None, typer.Option(help="How far codes go from the centre: S, or N=S for latent N.")
    ] = None,
    shift: Annotated[list[str] | None, typer.Option(help="What is added to latent N: N=V.")] = None,
    smooth: Annotated[float | None, typer.Option(help="Seconds in which codes follow the sound.")] = None,
    freeze: Annotated[float | None, typer.Option(min=0, help="Hold the code from this second on.")] = None,
    to: Annotated[str | None, typer.Option(help="Lead codes to a landmark's label, or to a preset.")] = None,
    amount: Annotated[float | None, typer.Option(help="How much of that way, 0 to 1.")] = None,
    midi: Annotated[Path | None, typer.Option(help="A MIDI file: keys choose the pitch, controllers turn.")] = None,
    phase: Annotated[Phase | None, typer.Option(help="The sound's own, or one of the voice's own.")] = None,
    wet: Annotated[float | None, typer.Option(help="How much of it went through the model, 0 to 1.")] = None,
    trust: Trust = False,
    overwrite: Overwrite = False,
) -> None:
    """Send a sound through a model's encoder and decoder, its latents bent on the way."""
    from .midi.file import read_performance
    from .patch.library import open_patch
    from .progress import Display
    from .through.process import process as send
    from .through.process import with_options
    from .trust import ask_for

    ask_for([preset], trust)
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


@commands.command()
def morph(
    first: Annotated[Path, typer.Argument(help="A sound file.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    model: Annotated[str, typer.Option(help=MODEL_HELP)],
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
    from .progress import Display
    from .through.morph import morph as play_way

    with Display() as display:
        display.stage("morphing")
        morphed = play_way(
            first,
            second,
            _opened(model),
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


@commands.command()
def presets() -> None:
    """List the presets and models that ship."""
    from .contract.model import Model
    from .patch.reading import read_preset
    from .shelf import shipped_models, shipped_presets

    told = {name: read_preset(path).description for name, path in shipped_presets().items()}
    told |= {name: f"(model) {Model(path).card.description}" for name, path in shipped_models().items()}
    width = max(map(len, told))
    for name, description in told.items():
        print(f"{name:<{width}}  {description}")


@commands.command()
def render(
    preset: Annotated[str, typer.Argument(help=PRESET_HELP)],
    midi: Annotated[Path, typer.Argument(help="A MIDI file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The sound: .wav, .flac or .ogg.")],
    rate: Annotated[int, typer.Option(help="Sampling rate in Hz: 44100, 48000 or 96000.")] = 44100,
    channel: Channels = None,
    tail: Annotated[float, typer.Option(min=0, max=600, help="The longest that sound may ring on, in seconds.")] = 30.0,
    stems: Annotated[bool, typer.Option("--stems", help="Also write one file a MIDI channel.")] = False,
    trust: Trust = False,
    overwrite: Overwrite = False,
) -> None:
    """Play a MIDI file into a sound file."""
    from .midi.file import read_performance
    from .patch.fitting import differences, read_notes
    from .patch.library import open_patch
    from .play.rack import as_played
    from .play.voices import PARTS
    from .progress import Display
    from .render import RATES, remarks, render
    from .trust import ask_for

    if rate not in RATES:
        raise UserError(f"--rate {rate} is not one of {', '.join(map(str, RATES))} Hz; choose one of them")
    chosen = _by_channel(channel or [])
    ask_for([preset, *filter(None, chosen.values())], trust)
    performance = read_performance(midi, rate).without({number for number, name in chosen.items() if name is None})
    fitting, loaded = read_notes(performance.notes, str(midi))
    default = fitting.fit(open_patch(preset))
    others = {number: fitting.fit(open_patch(name)) for number, name in chosen.items() if name is not None}
    warnings = [*performance.warnings, *remarks(performance, default.name, others)]
    if performance.recorded:
        given = {number + 1: patch.name for number, patch in others.items()}
        warnings += [f"{midi}: {line}" for line in differences(fitting, loaded, default.name, given, rate)]
    warnings += [warning for patch in (default, *others.values()) for warning in patch.warnings]
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    by_channel = {number: others.get(number, default) for number in performance.channels}
    if performance.recorded:  # one preset heard all channels that have no other
        by_channel = as_played(default, others)
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
            omni=performance.recorded,
            progress=display.update,
            say=lambda line: display.say(f"warning: {line}"),
        )
    for file in files:
        print(file)


@commands.command()
def play(
    preset: Annotated[str, typer.Argument(help=PRESET_HELP)],
    device: Annotated[str | None, typer.Option(help="The sound card, by any part of its name.")] = None,
    rate: Annotated[int | None, typer.Option(help="Sampling rate in Hz; the card's own by default.")] = None,
    block: Annotated[int, typer.Option(help="Samples the card takes at a time, 16 to 8192.")] = 128,
    channel: Channels = None,
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
    trust: Trust = False,
    overwrite: Overwrite = False,
) -> None:
    """Play live: MIDI in, sound out, until Ctrl-C."""
    from .live.messages import Setup
    from .live.parent import Recording, play
    from .live.screen import Full, Plain, Typist, can_draw, can_type
    from .trust import ask_for

    _check_range("--block", block, BLOCKS, "samples; 128 or 256 suit most cards")
    if rate is not None:
        _check_range("--rate", rate, RATES, "Hz; leave it out to take the card's own")
    if null and device is not None:
        raise UserError(f"--null and --device {device} are two outputs; give one of them")
    if null and source is not None:
        raise UserError(f"--null has no input, but --input {source} asks for one; leave one of them out")
    chosen, among = _by_channel(channel or []), _set_of(programs)
    if source is not None and chosen:
        raise UserError("--input goes through one preset, but --channel asks for more; leave one of them out")
    ask_for([preset, *filter(None, chosen.values()), *among], trust)
    typist = Typist(keys) if can_type() else None
    if keys and typist is None:
        raise UserError("--keys needs a terminal to type in; run it in one, or play by MIDI")
    known = None
    if controller is not None:
        from .patch.controllers import read_controller

        known = read_controller(controller)
    setup = Setup(
        preset=preset,
        channels=tuple((number, name) for number, name in chosen.items() if name is not None),
        silent=tuple(number for number, name in chosen.items() if name is None),
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
        programs=among,
        controller=known,
    )
    drawn = typist is not None and can_draw() and not plain
    with Full(typist) if typist is not None and drawn else Plain(typist) as screen:
        play(setup, screen, Recording(record, record_midi), overwrite)


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
    from .shelf import preset_file

    presets = tuple(str(path) for path in sorted(folder.iterdir()) if preset_file(str(path)) is not None)
    if not presets:
        raise UserError(f"--set {folder} holds no preset (.toml, or an instrument's folder); put some there")
    return presets


@commands.command()
def devices() -> None:
    """List sound cards, MIDI ports and known controllers, with what to type to choose one."""
    from .audio.device import cards, inputs
    from .midi.ports import port_names
    from .patch.controllers import read_controller, shipped_controllers

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
        with hushed():
            found = ask()
    except UserError as error:
        print(error)
        return []
    if not found:
        print(none)
    return found


@commands.command()
def learn(
    preset: Annotated[str, typer.Argument(help="A .toml preset or its folder; of what ships a copy is made here.")],
    target: Annotated[
        str | None, typer.Option(help="What it moves, such as latent.0, gain or pan; all latents in turn by default.")
    ] = None,
    midi_port: MidiPort = None,
    midi_api: MidiApi = None,
) -> None:
    """Bind the knob that you move to a target, in the preset file. Ctrl-C stops and keeps what was bound."""
    from .patch.learn import learn

    def say(line: str) -> None:
        print(line, flush=True)

    if not learn(preset, target, _Moments(tuple(midi_port or ()), midi_api, say), say):
        raise KeyboardInterrupt


class _Moments:
    """What comes in by MIDI, for ever; the ports are opened when it is first asked for."""

    def __init__(self, names: tuple[str, ...], api: str | None, say: "Callable[[str], None]") -> None:
        self._names, self._api, self._say = names, api, say

    def __iter__(self) -> "Iterator[Moment]":
        from .midi.ports import VIRTUAL, Inputs

        with hushed():
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


@commands.command()
def bench(
    preset: Annotated[str, typer.Argument(help=PRESET_HELP)],
    seconds: Annotated[float, typer.Option(help="For each block size and number of voices, 0.5 to 600.")] = 3.0,
) -> None:
    """Measure which block sizes and how many voices this machine plays live."""
    from .live.bench import bench

    for line in bench(preset, seconds):
        print(line, flush=True)


def _by_channel(options: list[str]) -> dict[int, str | None]:
    """What each ``--channel`` names, by channel 0 to 15; None for a channel that is not to be heard."""
    chosen: dict[int, str | None] = {}
    for option in options:
        number, equals, name = option.partition("=")
        if not (equals and name and number.isdecimal() and 1 <= int(number) <= 16):
            raise UserError(
                f"--channel {option!r} must be NUMBER=PRESET, NUMBER from 1 to 16, such as 2=gm-keys, or NUMBER=none"
            )
        if int(number) - 1 in chosen:
            raise UserError(f"--channel {option!r} is the second for channel {int(number)}; give one of them")
        chosen[int(number) - 1] = None if name == "none" else name
    return chosen
