"""The audio process: owns sound card, MIDI ports and render thread.

A separate process isolates audio from screen and files. PortAudio also cannot be initialised again in a process whose
JACK server died.
"""

import contextlib
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ..audio.sound_card import CardSink, Ear, NullSink, Sink, find_card, find_input
from ..dsp import white_noise
from ..errors import TimbrelError, UserError
from ..events import Event
from ..interrupts import SIGNALS
from ..midi.ports import Inputs
from ..patch.library import Patch
from ..patch.live_options import LoadedPreset, Swap
from ..play.player import PlayableRack, Player
from ..play.rack import Rack
from ..play.warm_up import prime, warm_up
from ..progress import HOUSE, Notices
from ..resynthesis.effect import LiveEffect
from ..shipped import Draft
from .channel_presets import Slot, by_channel
from .messages import Command, Setup
from .preset_description import sheet_of
from .realtime import BESIDES, SOUND, hurry
from .render_loop import EventSource, RenderLoop
from .session_state import FilteredSource, SessionState, TappedSource
from .status_report import report

JACK = "JACK"  # in PortAudio's name of this API
REPORT_SECONDS = 0.1  # between reports, until "pace" changes it
FASTEST_PACE = 0.01  # seconds between reports: each takes a millisecond
COMMAND_SECONDS = 0.02  # longest wait for a command, and so between flushes of recordings and messages
MOST_COMMANDS = 64  # read between two flushes: a millisecond
SETTLE_SECONDS = 0.2  # until a rack that was swapped in has run all its parts
READY_SECONDS = 0.005  # between checks whether a rack is ready
RESCAN_SECONDS = 1.0  # between scans for added and removed ports
LOOK_SECONDS = 0.25  # between scans of the presets' files; an edit loads once two scans agree
NULL_RATE = 48000


def run(pipe: Connection, setup: Setup) -> None:
    """Run until the parent sends stop or exits, or the card is gone."""
    for number in SIGNALS:  # the parent receives them too, and sends stop
        signal.signal(number, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # JACK and ALSA write diagnostics across the screen
    hurry(BESIDES)  # all threads: a preempted thread that holds the interpreter lock delays the render thread
    stage = SessionState(setup, pipe)
    HOUSE.addHandler(Notices(lambda line: stage.send("say", line)))
    thread = threading.Thread(target=_sound, args=(stage,), name="sound", daemon=True)
    thread.start()
    try:
        while not stage.ready.wait(REPORT_SECONDS):
            _flush(stage)
            if _stopped(stage):
                os._exit(0)
        if stage.problem is None:
            _serve(stage, thread)
        if stage.problem is not None:
            _tell_problem(stage)
    except (BrokenPipeError, EOFError, ConnectionError):
        pass  # the parent is gone
    if stage.loop is not None:
        stage.loop.stop()
        thread.join(0.5)
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            _flush(stage)
        if not thread.is_alive() and stage.loop.sink.alive:
            stage.loop.sink.close()
    sys.stdout.flush()
    os._exit(0)  # clients of a dead JACK server hang in their clean-up


def _sound(stage: SessionState) -> None:
    """The render thread, which also opens card and ports."""
    try:
        setup, cast = stage.setup, stage.cast
        names: dict[Slot, str | Draft] = {None: setup.preset, **dict(setup.channels)}
        patches = cast.opened(names)
        cast.take(names, patches)
        sink = _open_sink(stage)
        rack = _rack(patches, sink.rate, stage.ear)
        if stage.ear is not None:
            stage.ear.heard = white_noise(sink.block)
        warm_up(_rack(patches, sink.rate, stage.ear), sink.block, by_channel(patches))
        stage.inputs = _open_inputs(stage)
        sources: list[EventSource] = [stage.hands]
        if stage.inputs is not None:
            coming: EventSource = FilteredSource(stage.inputs, setup.silent)
            if setup.panel:
                coming = stage.heard = TappedSource(coming)
            sources.insert(0, coming)
        stage.rate = sink.rate
        sheet = sheet_of(names, patches, rack.knobs) if setup.panel else None
        loop = RenderLoop(
            Player(rack, sink.rate, setup.before),
            sink,
            sources,
            setup.lowest_latency,
            _recorder(stage) if setup.recording else None,
            whole_blocks=stage.inputs is not None and stage.inputs.whole_blocks and JACK in stage.device,
            ear=stage.ear,
            shown=cast.place,
        )
        while not rack.ready:
            time.sleep(READY_SECONDS)
        hurry(SOUND)
        stage.loop = loop
        stage.ready.set()
        if sheet is not None:  # after ready: until then the parent reads nothing but lines to print
            stage.send("sheet", sheet)
        stage.send("preset", [warning for patch in patches.values() for warning in patch.warnings])
        loop.run()
    except BaseException as error:  # sent to the parent, which shows it
        stage.problem = error
        stage.ready.set()


def _open_sink(stage: SessionState) -> Sink:
    setup = stage.setup
    if setup.null:
        stage.device = "nowhere (--null)"
        return NullSink(setup.rate or NULL_RATE, setup.block, setup.depth)
    card = find_card(setup.device)
    stage.device = f"{card.name} ({card.api})"
    source = None if setup.input is None else find_input(setup.input)
    if source is not None:
        stage.device += f", input {source.name}"
    sink = CardSink(card, setup.rate or card.rate, setup.block, setup.depth, source)
    stage.ear = sink.ear
    return sink


def _open_inputs(stage: SessionState) -> Inputs | None:
    """Open MIDI inputs; with the null sink and no port requested, failure is only reported."""
    setup = stage.setup
    if not setup.midi:
        return None
    try:
        return Inputs(setup.midi_ports, setup.midi_api)
    except UserError as error:
        if not setup.null or setup.midi_ports or setup.midi_api is not None:
            raise
        stage.send("say", f"{error}; playing on without MIDI")
        return None


def _recorder(stage: SessionState) -> Any:
    def keep(sound: np.ndarray, events: list[Event]) -> None:
        if events:  # first: wherever the recording ends, it includes the events of its sound
            stage.outbox.append(("events", events))
        stage.outbox.append(("sound", sound.T.tobytes()))

    return keep


def _serve(stage: SessionState, thread: threading.Thread) -> None:
    assert stage.loop is not None
    stage.pipe.send(("ready", report(stage)))
    loading: threading.Thread | None = None
    wanted: dict[Slot, str | Draft] = {}
    standing: Sequence[Event] = ()
    pace = REPORT_SECONDS
    next_report = next_scan = next_look = time.monotonic()
    while True:
        _flush(stage)
        if not thread.is_alive():
            if stage.problem is None:
                stage.pipe.send(("set", stage.loop.standing))
                stage.pipe.send(("lost", f"{stage.device} has gone"))
            return
        now = time.monotonic()
        if now >= next_report:
            next_report = now + pace
            stage.pipe.send(("report", report(stage)))
            if stage.heard is not None and (heard := stage.heard.lately()):
                stage.pipe.send(("heard", heard))
            if stage.loop.standing != standing:
                standing = stage.loop.standing
                stage.pipe.send(("set", standing))
        if now >= next_scan:
            next_scan = now + RESCAN_SECONDS
            for line in stage.inputs.rescan() if stage.inputs is not None else ():
                stage.send("say", line)
        wanted |= _programs(stage)
        for command, what in _commands(stage.pipe, min(COMMAND_SECONDS, max(0.0, next_report - now))):
            if command == "stop":
                return
            if command == "events":
                stage.hands.play(what)
            if command == "load":
                wanted |= what
            if command == "pace":
                pace = max(FASTEST_PACE, what)
                stage.loop.look(pace)
                next_report = min(next_report, now + pace)
        if loading is not None and loading.is_alive():
            continue
        if now >= next_look:
            next_look = now + LOOK_SECONDS
            if not wanted:  # a pending program change may choose another preset
                wanted = stage.cast.edited()
        if wanted:
            loading = threading.Thread(target=_load, args=(stage, wanted), name="load", daemon=True)
            wanted = {}
            loading.start()


def _commands(pipe: Connection, seconds: float) -> Iterator[Command]:
    if pipe.poll(seconds):
        for _ in range(MOST_COMMANDS):
            yield pipe.recv()
            if not pipe.poll(0):
                return


def _flush(stage: SessionState) -> None:
    """Write pending messages, with recorded blocks joined: each message costs the parent time."""
    waiting = [stage.outbox.popleft() for _ in range(len(stage.outbox))]
    for block, messages in itertools.groupby(waiting, key=lambda message: message[0] in ("events", "sound")):
        if not block:
            for message in messages:
                stage.pipe.send(message)
            continue
        found = list(messages)
        events = [event for kind, what in found if kind == "events" for event in what]
        if events:
            stage.pipe.send(("events", events))
        if sound := b"".join(what for kind, what in found if kind == "sound"):
            stage.pipe.send(("sound", sound))


def _programs(stage: SessionState) -> dict[Slot, str]:
    assert stage.loop is not None
    asked = stage.loop.programs
    wanted, lines = stage.cast.asked([asked.popleft() for _ in range(len(asked))])
    for line in lines:
        stage.send("say", line)
    return wanted


def _load(stage: SessionState, wanted: Mapping[Slot, str | Draft]) -> None:
    """Load presets in the background and swap them in; failures are reported."""
    assert stage.loop is not None
    stage.loop.brace(1)
    try:
        patches = stage.cast.opened(wanted)
        rack = _rack(patches, stage.rate, stage.ear)
        if isinstance(rack, Rack):
            prime(rack, stage.loop.sink.block)
    except Exception as error:  # any failure: the current presets play on
        named = ", ".join(name if isinstance(name, str) else name.name for name in wanted.values())
        fault = "" if isinstance(error, TimbrelError) else f"preset {named}: {type(error).__name__}: "
        *lines, last = error.args if isinstance(error, TimbrelError) else (error,)
        why = [*lines, f"{fault}{last}; the preset before plays on"]
        stage.send("preset", why)
        if stage.setup.panel:
            stage.send("refused", (dict(wanted), why))
        stage.loop.brace(0)
        return
    sheet = sheet_of({**stage.cast.names, **wanted}, patches, rack.knobs) if stage.setup.panel else None
    told = _swap_recorder(stage, wanted, patches) if stage.setup.recording else None
    stage.loop.player.swap(rack, stage.cast.channels(wanted), told)
    stage.cast.take(wanted, patches)
    stage.send("playing", dict(wanted))
    if sheet is not None:
        stage.send("sheet", sheet)
    loaded = [patches[slot] for slot in wanted]
    lines = [f"preset {patch.name!r} is loaded" for patch in loaded]
    stage.send("preset", [*lines, *(warning for patch in loaded for warning in patch.warnings)])
    time.sleep(SETTLE_SECONDS)
    stage.loop.brace(0)


def _swap_recorder(
    stage: SessionState, wanted: Mapping[Slot, str | Draft], patches: Mapping[Slot, Patch]
) -> Callable[[int, int], None]:
    assert stage.loop is not None
    outbox, block = stage.outbox, stage.loop.sink.block
    presets = [LoadedPreset.of(patches[slot], asked, slot) for slot, asked in wanted.items()]

    def note(time: int, primed: int) -> None:
        outbox.append(("swapped", (time, Swap(presets=presets, primed=primed, block=block))))

    return note


def _stopped(stage: SessionState) -> bool:
    return stage.pipe.poll(0) and stage.pipe.recv()[0] == "stop"


def _tell_problem(stage: SessionState) -> None:
    error = stage.problem
    if isinstance(error, TimbrelError):
        stage.pipe.send(("error", (error.args, error.exit_status)))
    elif isinstance(error, ModuleNotFoundError):
        line = f"{error.name} is not installed; install it with: pip install 'timbrel[live]'"
        stage.pipe.send(("error", ((line,), 2)))
    else:
        stage.pipe.send(("error", ((f"internal error: {type(error).__name__}: {error}",), 1)))


def _rack(patches: Mapping[Slot, Patch], rate: int, ear: Ear | None) -> PlayableRack:
    """Return a rack of the presets by channel, or an `LiveEffect` for audio input.

    Raises:
        UserError: a preset cannot play in real time, or as `Rack` or `LiveEffect`.
    """
    if ear is not None:
        return LiveEffect(patches[None], rate, ear)
    for patch in patches.values():
        if patch.preset.play.phase == "best":
            raise UserError(
                f"preset {patch.name!r}: play.phase = 'best' takes its time; set 'coherent' to play it, or render it"
            )
    return Rack(by_channel(patches), rate, omni=True, live=True)
