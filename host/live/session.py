"""The process that sounds: it owns the card, the MIDI ports and the rendering thread, and nothing else.

A process of its own, so that no screen or file disturbs it, and because PortAudio cannot be initialised again in a
process whose JACK server has died. The parent sends commands and gets reports through a pipe.
"""

import contextlib
import os
import signal
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ..audio.device import CardSink, Ear, NullSink, Sink, find_card, find_input
from ..controls import knob
from ..dsp import white_noise
from ..errors import TimbrelError, UserError
from ..events import ControlChange, Event, NoteOff, NoteOn
from ..midi.ports import Inputs, Timed
from ..patch.fitting import Fitting
from ..patch.library import Patch
from ..patch.preset import CCMap
from ..play.desk import UNTOUCHED
from ..play.rack import Rack
from ..progress import HOUSE, Notices
from ..stop import SIGNALS
from ..through.insert import Insert
from ..units import gain_to_db
from .cast import Cast, Slot, by_channel
from .loop import Loop, Source
from .messages import Message, Report, Setup
from .player import Machine, Player

JACK = "JACK"  # in the name that PortAudio gives to this system
LONGEST_SPIN = 10_000_000  # microseconds of realtime work without a pause, after which the system ends the process
REPORT_SECONDS = 0.1  # between reports
SETTLE_SECONDS = 0.2  # until a rack that was swapped in has gone through all its parts
RESCAN_SECONDS = 1.0  # between looks for ports that came or went
LOOK_SECONDS = 0.25  # between looks at the files of what plays: an edit is read when two have seen it
NULL_RATE = 48000
WARM_KEYS = range(36, 84, 4)  # played unheard, so that the first key finds everything loaded
WARM_BLOCKS = 60
USUAL = {
    5: "glide time",
    7: "volume",
    10: "pan",
    11: "expression",
    64: "sustain pedal",
    65: "glide",
    66: "sostenuto pedal",
}  # what controllers do that no map has
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


class Without:
    """What a source gives, but for some channels (0 to 15), which nobody hears."""

    def __init__(self, source: Source, channels: Collection[int]) -> None:
        self._source, self._channels = source, channels

    def poll(self) -> list[Timed]:
        """What came in since the last call."""
        return [timed for timed in self._source.poll() if getattr(timed.event, "channel", None) not in self._channels]


@dataclass
class _Stage:
    """What the threads of the process share."""

    setup: Setup
    pipe: Connection
    keyboard: Keyboard = field(default_factory=Keyboard)
    cast: Cast = field(init=False)
    loop: Loop | None = None
    ear: Ear | None = None
    inputs: Inputs | None = None
    device: str = ""
    rate: int = 0
    last: ControlChange | None = None
    problem: BaseException | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    outbox: deque[Message] = field(default_factory=deque)

    def __post_init__(self) -> None:
        fitting = Fitting(voices=self.setup.voices, controller=self.setup.controller)
        self.cast = Cast(fitting, self.setup.programs)

    def send(self, kind: Any, what: Any) -> None:
        """Leave a message for the thread that writes to the pipe."""
        self.outbox.append((kind, what))


def run(pipe: Connection, setup: Setup) -> None:
    """The process: sounds until the parent says stop, goes away, or the card does."""
    for number in SIGNALS:  # what stops all processes reaches the parent, which says stop
        signal.signal(number, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # JACK and ALSA write what nobody asked for across the screen
    hurry(BESIDES)  # all threads, for one that is kept waiting while it holds the interpreter keeps the sound waiting
    stage = _Stage(setup, pipe)
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
        pass  # the parent has gone
    if stage.loop is not None:
        stage.loop.stop()
        thread.join(0.5)
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            _flush(stage)
        if not thread.is_alive() and stage.loop.sink.alive:
            stage.loop.sink.close()
    sys.stdout.flush()
    os._exit(0)  # clients of a JACK server that has died hang in their clean-up


def _sound(stage: _Stage) -> None:
    """The thread that renders: opens all it needs itself, says that it is ready, and goes on to the end."""
    try:
        setup, cast = stage.setup, stage.cast
        names: dict[Slot, str] = {None: setup.preset, **dict(setup.channels)}
        patches = cast.opened(names)
        cast.take(names, patches)
        sink = _open_sink(stage)
        rack = _rack(patches, sink.rate, stage.ear)
        _warm_up(patches, sink.rate, sink.block, stage.ear)
        stage.inputs = _open_inputs(stage)
        sources: list[Source] = [stage.keyboard]
        if stage.inputs is not None:
            sources.insert(0, Without(stage.inputs, setup.silent))
        stage.rate = sink.rate
        stage.send("preset", [warning for patch in patches.values() for warning in patch.warnings])
        loop = Loop(
            Player(rack, sink.rate, setup.before),
            sink,
            sources,
            setup.lowest_latency,
            _recorder(stage) if setup.recording else None,
            whole_blocks=stage.inputs is not None and stage.inputs.whole_blocks and JACK in stage.device,
            ear=stage.ear,
            shown=cast.place,
        )
        hurry(SOUND)
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
    source = None if setup.input is None else find_input(setup.input)
    if source is not None:
        stage.device += f", input {source.name}"
    sink = CardSink(card, setup.rate or card.rate, setup.block, setup.depth, source)
    stage.ear = sink.ear
    return sink


def _open_inputs(stage: _Stage) -> Inputs | None:
    """MIDI inputs; where nobody asked for one and no card either, their lack is only told."""
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


def _warm_up(patches: Mapping[Slot, Patch], rate: int, block: int, ear: Ear | None) -> None:
    if ear is not None:
        ear.heard = white_noise(block)
    rack, channels = _rack(patches, rate, ear), by_channel(patches)
    for count in range(WARM_BLOCKS):
        keys = [WARM_KEYS[count // 2]] if count % 2 == 0 and count // 2 < len(WARM_KEYS) else []
        rack.process([NoteOn(count * block, channel, key, 1) for key in keys for channel in channels], block)


def hurry(priority: int) -> None:
    """Ask the system to run this thread, and those that it starts, before all others, where that is allowed."""
    if sys.platform != "linux":
        return
    import resource

    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return
    # Whatever goes wrong in a process that goes before all others, the machine stays usable.
    resource.setrlimit(resource.RLIMIT_RTTIME, (LONGEST_SPIN, LONGEST_SPIN))


def _recorder(stage: _Stage) -> Any:
    def keep(sound: np.ndarray, events: list[Event]) -> None:
        if events:  # first: wherever the recording ends, it knows all that is heard on it
            stage.outbox.append(("events", events))
        stage.outbox.append(("sound", sound.T.tobytes()))

    return keep


def _serve(stage: _Stage, thread: threading.Thread) -> None:
    assert stage.loop is not None
    stage.pipe.send(("ready", _report(stage)))
    loading: threading.Thread | None = None
    wanted: dict[Slot, str] = {}
    standing = UNTOUCHED
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
            next_report = now + REPORT_SECONDS
            stage.pipe.send(("report", _report(stage)))
            if stage.loop.standing != standing:
                standing = stage.loop.standing
                stage.pipe.send(("set", standing))
        if now >= next_scan:
            next_scan = now + RESCAN_SECONDS
            for line in stage.inputs.rescan() if stage.inputs is not None else ():
                stage.send("say", line)
        wanted |= _programs(stage)
        while stage.pipe.poll(0.02):
            command, what = stage.pipe.recv()
            if command == "stop":
                return
            if command == "key":
                stage.keyboard.press(*what)
        if loading is not None and loading.is_alive():
            continue
        if now >= next_look:
            next_look = now + LOOK_SECONDS
            if not wanted:  # a program change that waits may choose another
                wanted = stage.cast.edited()
        if wanted:
            loading = threading.Thread(target=_load, args=(stage, wanted), name="load", daemon=True)
            wanted = {}
            loading.start()


def _flush(stage: _Stage) -> None:
    """Write what waits to the pipe, what is recorded of many blocks together: each message costs the parent time."""
    waiting = [stage.outbox.popleft() for _ in range(len(stage.outbox))]
    events = [event for kind, what in waiting if kind == "events" for event in what]
    sound = b"".join(what for kind, what in waiting if kind == "sound")
    told = [message for message in waiting if message[0] not in ("events", "sound")]
    for message in (("events", events), ("sound", sound), *told):
        if message[1]:
            stage.pipe.send(message)


def _programs(stage: _Stage) -> dict[Slot, str]:
    """Presets that program changes have asked for since the last look."""
    assert stage.loop is not None
    asked = stage.loop.programs
    wanted, lines = stage.cast.asked([asked.popleft() for _ in range(len(asked))])
    for line in lines:
        stage.send("say", line)
    return wanted


def _load(stage: _Stage, wanted: Mapping[Slot, str]) -> None:
    """Open other presets while these sound, and swap them in; what is no good is told and forgotten."""
    assert stage.loop is not None
    stage.loop.brace(1)
    try:
        patches = stage.cast.opened(wanted)
        rack = _rack(patches, stage.rate, stage.ear)
    except Exception as error:  # whatever is wrong with it, what sounds goes on
        named = ", ".join(wanted.values())
        fault = "" if isinstance(error, TimbrelError) else f"preset {named}: {type(error).__name__}: "
        *lines, last = error.args if isinstance(error, TimbrelError) else (error,)
        stage.send("preset", [*lines, f"{fault}{last}; what was played before goes on"])
        stage.loop.brace(0)
        return
    stage.loop.player.swap(rack, stage.cast.channels(wanted))
    stage.cast.take(wanted, patches)
    stage.send("playing", dict(wanted))
    loaded = [patches[slot] for slot in wanted]
    lines = [f"preset {patch.name!r} is loaded" for patch in loaded]
    stage.send("preset", [*lines, *(warning for patch in loaded for warning in patch.warnings)])
    time.sleep(SETTLE_SECONDS)
    stage.loop.brace(0)


def _report(stage: _Stage) -> Report:
    loop = stage.loop
    assert loop is not None
    sink, player = loop.sink, loop.player
    peak, loop.peak = loop.peak, 0.0
    parts = {
        "card": sink.latency_seconds + (0.0 if stage.ear is None else stage.ear.latency_seconds),
        "ring": loop.ring_blocks * sink.block / sink.rate,
        "timing": max(0, loop.delay_samples - loop.ring_blocks * sink.block) / sink.rate,
        "instrument": player.rack.latency_samples / sink.rate,
    }
    if stage.ear is not None:  # from sound to sound
        del parts["timing"]
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
        latents=loop.latents,
        spans=[(latent.low, latent.high) for latent in stage.cast.heard_by(stage.cast.place)[1].model.card.latents],
        peak_db=gain_to_db(peak),
        limited=loop.limited,
        presets={slot: patch.name for slot, patch in stage.cast.patches.items()},
        ports=stage.inputs.open if stage.inputs is not None else [],
        last=_last(stage, loop),
    )


def _measured_ms(loop: Loop) -> float | None:
    if not loop.measured:
        return None
    # The clock of the card says what it takes next: a sample is heard a block after the clock has passed it.
    samples = statistics.fmean(list(loop.measured)) + loop.sink.block
    return 1000 * (samples / loop.sink.rate + loop.sink.latency_seconds)


def _last(stage: _Stage, loop: Loop) -> str:
    """The knob that was moved last, and what it did."""
    moved = (timed.event for timed in reversed(tuple(loop.heard)) if isinstance(timed.event, ControlChange))
    stage.last = next(moved, stage.last)
    event = stage.last
    if event is None:
        return ""
    place, patch = stage.cast.heard_by(event.channel)
    values = loop.player.rack.latent_values(place)
    did = [
        _effect(entry, event, values)
        for entry in patch.preset.cc
        if event.number in (entry.number, (entry.number or 0) + 32 if entry.bits == 14 else None)
        and entry.channel in (None, event.channel + 1)
    ]
    return f"CC {event.number} = {event.value} -> {', '.join(did) or USUAL.get(event.number, 'nothing')}"


def _effect(entry: CCMap, event: ControlChange, latents: list[float]) -> str:
    """A target, and where it is heading, as far as the knob alone tells."""
    kind, _, rest = entry.target.partition(".")
    if kind == "latent" and int(rest) < len(latents):  # else another preset is just coming in
        return f"{entry.target} = {latents[int(rest)]:.3g}"
    if entry.takeover == "jump" and entry.bits == 7:
        return f"{entry.target} = {knob(event.value, *entry.ends, entry.curve):.3g}"
    return entry.target


def _stopped(stage: _Stage) -> bool:
    return stage.pipe.poll(0) and stage.pipe.recv()[0] == "stop"


def _tell_problem(stage: _Stage) -> None:
    error = stage.problem
    if isinstance(error, TimbrelError):
        stage.pipe.send(("error", (error.args, error.exit_status)))
    elif isinstance(error, ModuleNotFoundError):
        line = f"{error.name} is not installed; install it with: pip install 'timbrel[live]'"
        stage.pipe.send(("error", ((line,), 2)))
    else:
        stage.pipe.send(("error", ((f"internal error: {type(error).__name__}: {error}",), 1)))


def _rack(patches: Mapping[Slot, Patch], rate: int, ear: Ear | None) -> Machine:
    """Presets on their channels, as they are played live, or what is heard goes through the one for all.

    Raises:
        UserError: one cannot be made in real time, or as `Rack` or `Insert`.
    """
    if ear is not None:
        return Insert(patches[None], rate, ear)
    for patch in patches.values():
        if patch.preset.play.phase == "best":
            raise UserError(
                f"preset {patch.name!r}: play.phase = 'best' takes its time; set 'coherent' to play it, or render it"
            )
    return Rack(by_channel(patches), rate, omni=True)
