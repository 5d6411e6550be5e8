"""Commands for live playing, and the address of the panel that they print."""

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config import configured
from ..errors import UserError
from ..files import hushed
from .options import Channels, MidiApi, MidiPort, Overwrite, PresetName, Programs, Trust, channel_presets, presets_in

if TYPE_CHECKING:
    from ..live.terminal import FullScreen, PlainScreen
    from ..midi.ports import Inputs
    from ..preset.learn import Moment
    from ..preset.library import Controller
    from ..session.panel_process import PanelProcess


@contextlib.contextmanager
def served(
    requested: bool, lan: bool = False, port: int | None = None, browse: bool = False, report: Path | None = None
) -> "Iterator[PanelProcess | None]":
    """The panel's process after printing its address; None unless ``requested``.

    ``port``: None for a free one. ``report``: folder of a report to show.

    Raises:
        UserError: missing dependency, taken port, or an option without a panel.
    """
    if not requested:
        if lan or port is not None:
            raise UserError(f"{'--lan' if lan else f'--port {port}'} goes with --panel; add that")
        yield None
        return
    from ..session.panel_process import PanelProcess, has_display, leading_to, missing

    if (missing_line := missing()) is not None:
        raise UserError(missing_line)
    from ..panel.process import run

    with PanelProcess(run, lan, port or 0, report=report) as panel_process:
        print(f"panel: {panel_process.url()}", flush=True)
        if lan:
            _invite(panel_process)
        with leading_to(panel_process.url()) if browse and has_display() else contextlib.nullcontext() as page_address:
            if page_address is not None:  # opened once the page has content
                panel_process.first_page = page_address
            yield panel_process


def _invite(panel_process: "PanelProcess") -> None:
    """Print the addresses for other machines, and a QR code."""
    import segno

    if not panel_process.addresses:
        print("no network is here: only this machine can open the panel", flush=True)
        return
    print("anybody with one of these addresses can play here and save presets; the connection is not encrypted:")
    for address in panel_process.addresses:
        print(f"  {panel_process.url(address)}")
    segno.make(panel_process.url(panel_process.addresses[0]), micro=False).terminal(compact=True)
    sys.stdout.flush()


commands = typer.Typer(rich_markup_mode=None)

Device = Annotated[str | None, typer.Option(help="The sound card, by any part of its name.")]
CardRate = Annotated[int | None, typer.Option(help="Sampling rate in Hz; the card's own by default.")]
Block = Annotated[int | None, typer.Option(help="Samples the card takes at a time, 16 to 8192; 128 by default.")]
Voices = Annotated[
    int | None, typer.Option(min=1, max=64, help="Most voices at a time; as the preset says by default.")
]
Knobs = Annotated[
    str | None, typer.Option(help="Put its knobs on the latents: a name from 'timbrel devices', or a .toml file.")
]
LowestLatency = Annotated[
    bool | None,
    typer.Option("--lowest-latency/--no-lowest-latency", help="Events act at the next block, not after a delay."),
]
Source = Annotated[
    str | None, typer.Option("--input", help="What this hears goes through the model: an input's name, or default.")
]
Keys = Annotated[
    bool, typer.Option("--keys", help="Play on the computer's keyboard; MIDI is heard if --midi-port names it.")
]

Null = Annotated[bool, typer.Option("--null", help="Play to nowhere, where there is no sound card.")]
Panel = Annotated[bool, typer.Option("--panel", help="Show and play it on a page, at the address that is printed.")]
Lan = Annotated[bool, typer.Option("--lan", help="With --panel: other machines of the network may play, too.")]
Port = Annotated[
    int | None, typer.Option(min=1, max=65535, help="With --panel: the page's port; one that is free by default.")
]

RATES = (8000, 192_000)  # Hz
BLOCK = 128  # samples
MOMENT_SECONDS = 0.05  # between polls of the inputs
RESCAN_SECONDS = 1.0  # between scans for added and removed ports


@commands.command()
def play(
    preset: PresetName,
    device: Device = None,
    rate: CardRate = None,
    block: Block = None,
    channel: Channels = None,
    voices: Voices = None,
    midi_port: MidiPort = None,
    midi_api: MidiApi = None,
    controller: Knobs = None,
    lowest_latency: LowestLatency = None,
    programs: Programs = None,
    source: Source = None,
    null: Null = False,
    keys: Keys = False,
    plain: Annotated[bool, typer.Option("--plain", help="Print a line a second instead of a screen.")] = False,
    record: Annotated[Path | None, typer.Option(help="Write what is played: .wav, .flac or .ogg.")] = None,
    record_midi: Annotated[Path | None, typer.Option(help="Write the performance, a .mid for 'render'.")] = None,
    panel: Panel = False,
    lan: Lan = False,
    port: Port = None,
    trust: Trust = False,
    overwrite: Overwrite = False,
) -> None:
    """Play live: MIDI in, sound out, until Ctrl-C."""
    from ..live.session import play
    from ..preset.plugin_consent import ask_for
    from ..preset.shipped import report_beside
    from ..session.messages import Setup
    from ..session.takes import Recording

    names_by_channel, program_presets = channel_presets(channel or []), presets_in(programs)
    # a card that is asked for by name is bad input if it is missing
    is_card_requested = device is not None or rate is not None
    device = device if null else _option_or_config(device, "device")
    rate, block = _option_or_config(rate, "rate"), _option_or_config(block, "block", BLOCK)
    _check(block, rate, device if null else None, source, null, bool(names_by_channel))
    ask_for([preset, *filter(None, names_by_channel.values()), *program_presets], trust)
    controller_knobs = _controller(controller)
    lowest_latency_on: bool = _option_or_config(lowest_latency, "lowest_latency", False)
    with served(panel, lan, port, report=report_beside(preset)) as panel_process, _screen(keys, plain) as screen:
        if panel_process is not None:
            panel_process.say = screen.say
        setup = Setup(
            preset=preset,
            channels=tuple(
                (channel_number, name) for channel_number, name in names_by_channel.items() if name is not None
            ),
            silent=tuple(channel_number for channel_number, name in names_by_channel.items() if name is None),
            device=device,
            null=null,
            without_card=panel and not is_card_requested and source is None,
            input=source,
            rate=rate,
            block=block,
            depth=1 if lowest_latency_on else 2,
            voices=voices,
            midi_ports=tuple(midi_port or ([] if keys else _option_or_config(None, "midi_port", []))),
            midi_api=_option_or_config(midi_api, "midi_api"),
            midi=not keys or bool(midi_port),
            lowest_latency=lowest_latency_on,
            programs=program_presets,
            controller=controller_knobs,
            report_seconds=screen.report_seconds,
        )
        play(setup, screen, Recording(record, record_midi), overwrite, panel_process)


@commands.command()
def panel(preset: PresetName, null: Null = False, trust: Trust = False) -> None:
    """Play live on a page that opens in the browser, as 'play --panel' does, until Ctrl-C."""
    from ..live.session import play
    from ..preset.plugin_consent import ask_for
    from ..preset.shipped import report_beside
    from ..session.messages import Setup
    from ..session.takes import Recording

    ask_for([preset], trust)
    with (
        served(True, browse=True, report=report_beside(preset)) as panel_process,
        _screen(keys=False, plain=False) as screen,
    ):
        if panel_process is not None:
            panel_process.say = screen.say
        lowest_latency: bool = _option_or_config(None, "lowest_latency", False)
        setup = Setup(
            preset=preset,
            device=None if null else _option_or_config(None, "device"),
            null=null,
            without_card=True,
            rate=_option_or_config(None, "rate"),
            block=_option_or_config(None, "block", BLOCK),
            midi_ports=tuple(_option_or_config(None, "midi_port", ())),
            midi_api=_option_or_config(None, "midi_api"),
            depth=1 if lowest_latency else 2,
            lowest_latency=lowest_latency,
        )
        _check(setup.block, setup.rate, None, None, null=False, has_channel_presets=False)
        try:
            play(setup, screen, Recording(), overwrite=False, panel=panel_process)
        except UserError as error:
            *earlier_lines, last_line = error.args
            if "--" in last_line:
                last_line = f"{last_line}: 'timbrel play {preset} --panel' has that option"
            raise UserError(*earlier_lines, last_line) from error


def _option_or_config(option: Any, name: str, default: Any = None) -> Any:
    """Return an option's value, the configuration file's, or the default."""
    setting = configured("play", name) if option is None else option
    return default if setting is None else setting


def _check(
    block: int, rate: int | None, null_device: str | None, source: str | None, null: bool, has_channel_presets: bool
) -> None:
    """Raise UserError for options that are out of range or contradict each other."""
    from ..audio.sound_card import check_block

    check_block(block)
    low, high = RATES
    if rate is not None and not low <= rate <= high:
        raise UserError(f"--rate {rate} is out of range [{low}, {high}] Hz; leave it out to take the card's own")
    if null_device is not None:
        raise UserError(f"--null and --device {null_device} are two outputs; give one of them")
    if null and source is not None:
        raise UserError(f"--null has no input, but --input {source} asks for one; leave one of them out")
    if source is not None and has_channel_presets:
        raise UserError("--input goes through one preset, but --channel asks for more; leave one of them out")


def _screen(keys: bool, plain: bool) -> "FullScreen | PlainScreen":
    """Return the screen for this terminal, with the computer's keyboard where it can type."""
    from ..live.terminal import FullScreen, PlainScreen, Typist, can_draw, can_type

    typist = Typist(keys) if can_type() else None
    if typist is None:
        if keys:
            raise UserError("--keys needs a terminal to type in; run it in one, or play by MIDI")
        return PlainScreen(None)
    return FullScreen(typist) if can_draw() and not plain else PlainScreen(typist)


def _controller(name: str | None) -> "Controller | None":
    if name is None:
        return None
    from ..preset.library import read_controller  # lazy: this process opens no preset

    return read_controller(name)


@commands.command()
def devices() -> None:
    """List sound cards, MIDI ports and known controllers, each with the option that chooses it, and the voice."""
    from ..audio.sound_card import cards, inputs
    from ..midi.ports import port_names
    from ..preset.library import read_controller, shipped_controllers
    from ..voice_library import voice_description

    complaints: set[str] = set()
    sound_cards = _list_or_complain(
        complaints, cards, "no sound card was found; connect one or start JACK, or 'timbrel play electric-piano --null'"
    )
    sound_inputs = inputs() if sound_cards else []
    for kind, option, listed_devices in (
        ("sound card ", "--device", sound_cards),
        ("sound input", "--input", sound_inputs),
    ):
        card_names = [card.name for card in listed_devices]
        for card in listed_devices:
            name = card.name if card_names.count(card.name) == 1 else f"{card.name} ({card.api})"
            default_text = "  (default)" if card.default else ""
            print(f'{kind} {option} "{name}"  {card.api}, {card.rate} Hz, {card.channels} channels{default_text}')
    for port_name in _list_or_complain(
        complaints, port_names, "no MIDI port was found; connect a controller, or 'timbrel play electric-piano --keys'"
    ):
        print(f'MIDI port   --midi-port "{port_name}"')
    for name in shipped_controllers():
        print(f"controller  --controller {name}  {read_controller(name).name}")
    print(f"voice       {voice_description()}")


def _list_or_complain(complaints: set[str], list_entries: Callable[[], list[Any]], empty_message: str) -> list[Any]:
    """Return the entries, after printing why there are none, unless that is among the ``complaints`` so far."""
    try:
        with hushed():
            entries = list_entries()
        complaint = "" if entries else empty_message
    except UserError as error:
        entries, complaint = [], str(error)
    if complaint and complaint not in complaints:
        print(complaint)
        complaints.add(complaint)
    return entries


@commands.command()
def learn(
    preset: Annotated[str, typer.Argument(help="A .toml preset or its folder; of what ships a copy is made here.")],
    target: Annotated[
        str | None,
        typer.Option(help="What it moves, such as latent.0 or its name, gain or pan; all latents in turn by default."),
    ] = None,
    midi_port: MidiPort = None,
    midi_api: MidiApi = None,
) -> None:
    """Bind the knob that you move to a target, in the preset file. Ctrl-C stops and keeps what was bound."""
    from ..preset.learn import learn

    port_names = tuple(midi_port or _option_or_config(None, "midi_port", ()))
    moments = _Moments(port_names, _option_or_config(midi_api, "midi_api"))
    if not learn(preset, target, moments, functools.partial(print, flush=True)):
        raise KeyboardInterrupt


class _Moments:
    """Moments of MIDI inputs, as `learn` reads them: the time, and the knob that moved or None."""

    def __init__(self, names: tuple[str, ...], api: str | None) -> None:
        self._names, self._api = names, api

    def __iter__(self) -> "Iterator[Moment]":
        from ..midi.ports import VIRTUAL, Inputs

        with hushed():
            inputs = Inputs(self._names, self._api)
        input_names = [name for name in inputs.open if name != VIRTUAL]
        input_text = (
            f"listening to {', '.join(input_names)}" if input_names else "no controller is here yet; connect one"
        )
        print(input_text, flush=True)
        return self._moments(inputs)

    def _moments(self, inputs: "Inputs") -> "Iterator[Moment]":
        from ..midi.controllers import ControllerReader

        next_scan_seconds, controller_reader = time.monotonic(), ControllerReader()
        while True:
            for timed_event in sorted(inputs.poll(), key=lambda timed: timed.seconds):
                yield timed_event.seconds, controller_reader.knob(timed_event.event)
            yield time.perf_counter(), None
            time.sleep(MOMENT_SECONDS)
            if time.monotonic() >= next_scan_seconds:
                next_scan_seconds = time.monotonic() + RESCAN_SECONDS
                for line in inputs.rescan():
                    print(line, flush=True)


@commands.command()
def bench(
    preset: PresetName,
    seconds: Annotated[float, typer.Option(help="For each block size and number of voices, 0.5 to 600.")] = 3.0,
) -> None:
    """Measure which block sizes and how many voices this machine plays live."""
    from ..live.bench import bench

    for line in bench(preset, seconds):
        print(line, flush=True)
