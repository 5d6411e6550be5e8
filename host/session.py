"""The process that sounds: it owns the card, the MIDI ports and the rendering thread, and nothing else.

A process of its own, so that no screen or file disturbs it, and because PortAudio cannot be initialised again in a
process whose JACK server has died. The parent sends commands and gets reports through a pipe.
"""

import os
import signal
import statistics
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .audio.device import CardSink, NullSink, Sink, find_card
from .errors import TimbrelError
from .events import ControlChange, Event, NoteOff, NoteOn, ProgramChange
from .library import Patch, open_patch
from .live import Loop, Player, Source
from .messages import Message, Report, Setup
from .midi.ports import Inputs, Timed
from .rack import Rack
from .units import gain_to_db

REPORT_SECONDS = 0.1  # between reports
RESCAN_SECONDS = 1.0  # between looks for ports that came or went
NULL_RATE = 48000
WARM_KEYS = range(36, 84, 4)  # played unheard, so that the first key finds everything loaded
WARM_BLOCKS = 60
BESIDES, SOUND = 1, 2  # realtime priorities: lower than those that cards' own threads have


class Keyboard:
    """Notes that the parent's keyboard plays."""

    def __init__(self) -> None:
        self._waiting: deque[Timed] = deque()

    def press(self, key: int, down: bool) -> None:
        """Any thread."""
        event: Event = NoteOn(0, 0, key, 100) if down else NoteOff(0, 0, key)
        self._waiting.append(Timed(time.perf_counter(), event, "keyboard"))

    def poll(self) -> list[Timed]:
        """What was pressed since the last call."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]


@dataclass
class _Stage:
    """What the threads of the process share."""

    setup: Setup
    pipe: Connection
    keyboard: Keyboard = field(default_factory=Keyboard)
    loop: Loop | None = None
    inputs: Inputs | None = None
    preset: str = ""
    device: str = ""
    rate: int = 0
    patch: Patch | None = None
    problem: BaseException | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    outbox: deque[Message] = field(default_factory=deque)
    bank: int = 0

    def send(self, kind: Any, what: Any) -> None:
        """Leave a message for the thread that writes to the pipe."""
        self.outbox.append((kind, what))


def run(pipe: Connection, setup: Setup) -> None:
    """The process: sounds until the parent says stop, goes away, or the card does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which says stop
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _hurry(BESIDES)  # all threads, for one that is kept waiting while it holds the interpreter keeps the sound waiting
    stage = _Stage(setup, pipe)
    thread = threading.Thread(target=_sound, args=(stage,), name="sound", daemon=True)
    thread.start()
    try:
        while not stage.ready.wait(REPORT_SECONDS):
            if _stopped(stage):
                os._exit(0)
        if stage.problem is None:
            _serve(stage, thread)
        if stage.problem is not None:
            _tell_problem(stage)
    except (BrokenPipeError, EOFError, ConnectionError):
        pass  # the parent has gone
    if stage.loop is not None:
        stage.loop.stop()
        thread.join(0.5)
        if not thread.is_alive() and stage.loop.sink.alive:
            stage.loop.sink.close()
    sys.stdout.flush()
    os._exit(0)  # clients of a JACK server that has died hang in their clean-up


def _sound(stage: _Stage) -> None:
    """The thread that renders: opens all it needs itself, says that it is ready, and goes on to the end."""
    try:
        setup = stage.setup
        patch = _with_voices(open_patch(setup.preset), setup.voices)
        sink = _open_sink(stage)
        rack = Rack({0: patch}, sink.rate, omni=True)
        _warm_up(patch, sink.rate, sink.block)
        stage.inputs = Inputs(setup.midi_ports, setup.midi_api) if setup.midi else None
        sources: list[Source] = [stage.keyboard] if stage.inputs is None else [stage.inputs, stage.keyboard]
        stage.patch, stage.preset, stage.rate = patch, patch.name, sink.rate
        loop = Loop(
            Player(rack, sink.rate), sink, sources, setup.lowest_latency, _recorder(stage) if setup.recording else None
        )
        _hurry(SOUND)
        stage.loop = loop
        stage.ready.set()
        loop.run()
    except BaseException as error:  # told to the parent, which shows it
        stage.problem = error
        stage.ready.set()


def _open_sink(stage: _Stage) -> Sink:
    setup = stage.setup
    if setup.null:
        stage.device = "nowhere (--null)"
        return NullSink(setup.rate or NULL_RATE, setup.block, setup.depth)
    card = find_card(setup.device)
    stage.device = f"{card.name} ({card.api})"
    return CardSink(card, setup.rate or card.rate, setup.block, setup.depth)


def _warm_up(patch: Patch, rate: int, block: int) -> None:
    rack = Rack({0: patch}, rate, omni=True)
    for count in range(WARM_BLOCKS):
        keys = [WARM_KEYS[count // 2]] if count % 2 == 0 and count // 2 < len(WARM_KEYS) else []
        rack.process([NoteOn(count * block, 0, key, 1) for key in keys], block)


def _hurry(priority: int) -> None:
    """Ask the system to run this thread, and those that it starts, before all others, where that is allowed."""
    if hasattr(os, "sched_setscheduler"):
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        except PermissionError:
            return


def _recorder(stage: _Stage) -> Any:
    def keep(sound: np.ndarray, events: list[Event]) -> None:
        stage.outbox.append(("sound", sound.T.tobytes()))
        if events:
            stage.outbox.append(("events", events))

    return keep


def _serve(stage: _Stage, thread: threading.Thread) -> None:
    assert stage.loop is not None
    stage.pipe.send(("ready", _report(stage)))
    loading: threading.Thread | None = None
    wanted: list[str] = []
    next_report = next_scan = time.monotonic()
    while True:
        while stage.outbox:
            stage.pipe.send(stage.outbox.popleft())
        if not thread.is_alive():
            if stage.problem is None:
                stage.pipe.send(("lost", f"{stage.device} has gone"))
            return
        now = time.monotonic()
        if now >= next_report:
            next_report = now + REPORT_SECONDS
            stage.pipe.send(("report", _report(stage)))
        if now >= next_scan:
            next_scan = now + RESCAN_SECONDS
            for line in stage.inputs.rescan() if stage.inputs is not None else ():
                stage.send("say", line)
        wanted += _programs(stage)
        while stage.pipe.poll(0.02):
            command, what = stage.pipe.recv()
            if command == "stop":
                return
            if command == "load":
                wanted.append(what)
            elif command == "key":
                stage.keyboard.press(*what)
        if wanted and (loading is None or not loading.is_alive()):
            loading = threading.Thread(target=_load, args=(stage, wanted[-1]), name="load", daemon=True)
            wanted.clear()
            loading.start()


def _programs(stage: _Stage) -> list[str]:
    """Presets that program changes have asked for since the last look."""
    assert stage.loop is not None
    asked: list[str] = []
    while stage.loop.programs:
        event = stage.loop.programs.popleft()
        if isinstance(event, ControlChange):
            stage.bank = event.value * 128 if event.number == 0 else stage.bank // 128 * 128 + event.value
        elif isinstance(event, ProgramChange) and stage.setup.programs:
            number = stage.bank * 128 + event.program
            if number < len(stage.setup.programs):
                asked.append(stage.setup.programs[number])
            else:
                stage.send("say", f"program {number + 1} asked for, but the set has {len(stage.setup.programs)}")
    return asked


def _load(stage: _Stage, name: str) -> None:
    """Open another preset while this one sounds, and swap it in; one that is no good is told and forgotten."""
    assert stage.loop is not None
    try:
        patch = _with_voices(open_patch(name), stage.setup.voices)
        rack = Rack({0: patch}, stage.rate, omni=True)
    except TimbrelError as error:
        stage.send("refused", str(error))
        return
    stage.loop.player.swap(rack)
    stage.patch, stage.preset = patch, patch.name
    for warning in patch.warnings:
        stage.send("say", warning)


def _with_voices(patch: Patch, voices: int | None) -> Patch:
    if voices is None:
        return patch
    play = patch.preset.play.model_copy(update={"voices": voices})
    return replace(patch, preset=patch.preset.model_copy(update={"play": play}))


def _report(stage: _Stage) -> Report:
    loop = stage.loop
    assert loop is not None
    sink, player = loop.sink, loop.player
    peak, loop.peak = loop.peak, 0.0
    parts = {
        "card": sink.latency_seconds,
        "ring": sink.depth * sink.block / sink.rate,
        "timing": (loop.delay_samples - sink.depth * sink.block) / sink.rate,
        "instrument": player.rack.latency_samples / sink.rate,
    }
    p50, p99 = loop.load.percentiles(50, 99)
    return Report(
        device=stage.device,
        rate=sink.rate,
        block=sink.block,
        latency_ms={name: 1000 * seconds for name, seconds in parts.items()},
        measured_ms=_measured_ms(loop),
        load=(p50, p99),
        underruns=sink.underruns,
        voices=player.sounding,
        shed=player.shed,
        held=player.held,
        latents=player.rack.current_latents(0),
        peak_db=gain_to_db(peak),
        preset=stage.preset,
        ports=stage.inputs.open if stage.inputs is not None else [],
        last=_words(stage, loop.heard[-1].event) if loop.heard else "",
    )


def _measured_ms(loop: Loop) -> float | None:
    if not loop.measured:
        return None
    return 1000 * (statistics.fmean(list(loop.measured)) / loop.sink.rate + loop.sink.latency_seconds)


def _words(stage: _Stage, event: Event) -> str:
    """What came in last, and what it did."""
    if not isinstance(event, ControlChange):
        return ""
    targets = [entry.target for entry in stage.patch.preset.cc if entry.number == event.number] if stage.patch else []
    return f"CC {event.number} = {event.value} -> {', '.join(targets) or 'nothing'}"


def _stopped(stage: _Stage) -> bool:
    return stage.pipe.poll(0) and stage.pipe.recv()[0] == "stop"


def _tell_problem(stage: _Stage) -> None:
    error = stage.problem
    if isinstance(error, TimbrelError):
        stage.pipe.send(("error", (str(error), error.exit_status)))
    else:
        stage.pipe.send(("error", (f"internal error: {type(error).__name__}: {error}", 1)))
