"""The audio process: owns sound card, MIDI ports and render thread.

It isolates audio from screen and files. PortAudio also cannot restart in a process whose JACK server died.
"""

import contextlib
import itertools
import math
import os
import signal
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from ..audio.sound_card import CardSink, Ear, NullSink, Sink, find_card, find_input
from ..errors import TimbrelError, UserError, how_to_install
from ..events import Event
from ..interrupts import SIGNALS
from ..midi.arrival import Arrival
from ..midi.ports import Inputs, Timed
from ..play.player import PlayableRack, Player, prime, wait_until_ready, warm_up
from ..play.rack import Rack
from ..preset.library import LiveOptions, Patch
from ..preset.recording_notes import LoadedPreset, Swap
from ..preset.shipped import Draft
from ..preset.validation import check_real_time
from ..progress import HOUSE, Notices
from ..resynthesis.processor import EffectRack
from ..session.channel_presets import ChannelPresets, Slot, by_channel
from ..session.messages import (
    REPORT_SECONDS,
    Command,
    DriverCall,
    Events,
    Fault,
    Heard,
    LiveStatus,
    Load,
    Lost,
    Message,
    Pace,
    Playing,
    PresetLines,
    Ready,
    Record,
    Refused,
    Report,
    Say,
    Setup,
    Sound,
    Standing,
    Stop,
    Swapped,
    Take,
    TakeEnd,
    View,
)
from ..session.meters import Meters, last_moved, status
from ..session.realtime import BESIDES, SOUND, hurry
from ..session.view import PresetView
from ..session.view_builder import view_of
from ..signal import white_noise
from .render_loop import EventSource, RenderLoop

JACK = "JACK"  # in PortAudio's name of this API
FASTEST_PACE = 0.01  # seconds between reports: each takes a millisecond
REST_REPORT_SECONDS = 0.5  # between reports while nothing sounds or moves
FLUSH_SECONDS = 0.02  # longest wait for a command while it records or loads, and so between flushes of a recording
COMMAND_SECONDS = 0.1  # the same otherwise: each look takes time from the sound
MOST_COMMANDS = 64  # lists of commands read between two flushes: a millisecond
SETTLE_SECONDS = 0.2  # until a rack that was swapped in has run all its parts
RESCAN_SECONDS = 1.0  # between scans for added and removed ports
START_SECONDS = 20.0  # for the driver to open a card or port, on a slow or busy machine
STUCK_SECONDS = 6.0  # for a scan of ports
LOOK_SECONDS = 0.25  # between scans of the presets' files; an edit loads once two scans agree
NULL_RATE = 48000


class HeardInputs:
    """The events of MIDI inputs without some channels, 0 to 15, as the meters show them."""

    def __init__(self, inputs: EventSource, unheard: Collection[int], meters: Meters) -> None:
        self._inputs, self._unheard, self._meters = inputs, unheard, meters

    def poll(self) -> list[Timed]:
        timed_events = [
            timed_event
            for timed_event in self._inputs.poll()
            if getattr(timed_event.event, "channel", None) not in self._unheard
        ]
        self._meters.add_events(timed_event.event for timed_event in timed_events)
        return timed_events


@dataclass
class ProcessState:
    setup: Setup
    pipe: Connection
    arrival: Arrival = field(default_factory=Arrival)  # set with each event
    presets: ChannelPresets = field(init=False)
    view: PresetView | None = None  # of the preset of all other channels, or of the first
    loop: RenderLoop | None = None
    ear: Ear | None = None
    inputs: Inputs | None = None
    device: str = ""
    rate: int = 0
    problem: BaseException | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    outbox: deque[Message] = field(default_factory=deque)
    take_wanted: bool = False

    def __post_init__(self) -> None:
        live_options = LiveOptions(voices=self.setup.voices, controller=self.setup.controller)
        self.presets = ChannelPresets(live_options, self.setup.programs)

    def record(self, active: bool) -> None:
        """Have a take begin soon, or end the present one."""
        assert self.loop is not None
        self.take_wanted, self.loop.recording = active, False
        if not active:
            self.outbox.append(TakeEnd())


def report(state: ProcessState) -> LiveStatus:
    """The session's status: the player's, with card, ports, presets and latency."""
    render_loop = state.loop
    assert render_loop is not None
    sink, rack = render_loop.sink, render_loop.player.rack
    assert state.view is not None
    playing_status = status(state.view, state.device, render_loop.player, render_loop.meters, sink.rate, sink.block)
    seconds_by_part = {
        "card": sink.latency_seconds + (0.0 if state.ear is None else state.ear.latency_seconds),
        "ring": render_loop.ring_blocks * sink.block / sink.rate,
        "timing": max(0, render_loop.delay_samples - render_loop.ring_blocks * sink.block) / sink.rate,
        "instrument": rack.latency_samples / sink.rate,
    }
    if state.ear is not None:  # latency from input to output
        del seconds_by_part["timing"]
    return replace(
        playing_status,
        latency_ms={part: 1000 * seconds for part, seconds in seconds_by_part.items()},
        measured_ms=_measured_ms(render_loop),
        underruns=sink.underruns,
        presets={slot: patch.name for slot, patch in state.presets.patches.items()},
        digests=state.presets.digests,
        ports=state.inputs.open if state.inputs is not None else [],
        last=_last(state, render_loop),
        spectrum_db=render_loop.meters.spectrum_db() if state.setup.panel else (),
    )


def _measured_ms(loop: RenderLoop) -> float | None:
    """Mean latency of the last events, from arrival to the card's output; None before the first."""
    if not loop.measured:
        return None
    # The clock marks the card's next sample to read: a sample plays a block later.
    latency_samples = statistics.fmean(list(loop.measured)) + loop.sink.block
    return 1000 * (latency_samples / loop.sink.rate + loop.sink.latency_seconds)


def _last(state: ProcessState, loop: RenderLoop) -> str:
    """Text on the last move of a controller, empty before the first."""
    if (event := loop.meters.last) is None:
        return ""
    rack_channel, patch = state.presets.patch_of(event.channel)
    return last_moved(event, patch, loop.player.rack.latent_values(rack_channel))


class NoCard(UserError):
    """The sound card is missing, or cannot be opened, in a session that may play to nowhere."""


def run(pipe: Connection, setup: Setup) -> None:
    """Run until the parent sends stop or exits, or the card is gone."""
    for signal_number in SIGNALS:  # the parent receives them too, and sends stop
        signal.signal(signal_number, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # JACK and ALSA write diagnostics across the screen
    hurry(BESIDES)  # all threads: a preempted thread that holds the interpreter lock delays the render thread
    state = ProcessState(setup, pipe)
    HOUSE.addHandler(Notices(lambda line: state.outbox.append(Say(line))))
    sound_thread = threading.Thread(target=_sound, args=(state,), name="sound", daemon=True)
    sound_thread.start()
    try:
        while not state.ready.wait(REPORT_SECONDS):
            _flush(state)
            if _stopped(state):
                os._exit(0)
        if state.problem is None:
            _serve(state, sound_thread)
        if state.problem is not None:
            _flush(state)  # earlier messages may give the reason
            _send_problem(state)
    except (BrokenPipeError, EOFError, ConnectionError):
        pass  # the parent is gone
    if state.loop is not None:
        state.loop.stop()
        sound_thread.join(0.5)
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            _flush(state)
            if not sound_thread.is_alive():
                state.pipe.send(Standing(state.loop.player.standing))
        if not sound_thread.is_alive() and state.loop.sink.alive:
            state.loop.sink.close()
    sys.stdout.flush()
    os._exit(0)  # clients of a dead JACK server hang in their clean-up


def _sound(state: ProcessState) -> None:
    """Open card and ports, and render until stopped; an error goes to `ProcessState.problem`."""
    try:
        setup, channel_presets = state.setup, state.presets
        preset_names: dict[Slot, str | Draft] = {None: setup.preset, **dict(setup.channels)}
        patches = channel_presets.opened(preset_names)
        channel_presets.activate(preset_names, patches)
        with _in_driver(state):
            sink = _open_sink(state)
        rack = _rack(patches, sink.rate, state.ear)
        if state.ear is not None:
            state.ear.heard = np.tile(white_noise(sink.block), (len(state.ear.heard), 1))
        warm_up(_rack(patches, sink.rate, state.ear), sink.block, by_channel(patches))
        with _in_driver(state):
            state.inputs = _open_inputs(state)
        meters = Meters(channel_presets.first_channel)
        state.rate = sink.rate
        state.view = view_of(preset_names, patches, rack.knobs)
        render_loop = RenderLoop(
            Player(rack, sink.rate, setup.state_events),
            sink,
            [] if state.inputs is None else [HeardInputs(state.inputs, setup.unheard, meters)],
            setup.lowest_latency,
            _recorder(state) if setup.recording or setup.panel else None,
            whole_blocks=state.inputs is not None and state.inputs.whole_blocks and JACK in state.device,
            ear=state.ear,
            meters=meters,
            recording=setup.recording,
            arrival=state.arrival if state.inputs is None or state.inputs.announced else None,
        )
        wait_until_ready(rack)
        hurry(SOUND)
        state.loop = render_loop
        state.outbox.append(Ready(report(state)))
        if setup.panel:  # after ready: until then the parent reads nothing but lines to print
            state.outbox.append(View(state.view))
        state.outbox.append(PresetLines([warning for patch in patches.values() for warning in patch.warnings]))
        state.ready.set()
        render_loop.run()
    except BaseException as error:  # sent to the parent, which shows it
        state.problem = error
        state.ready.set()


@contextlib.contextmanager
def _in_driver(state: ProcessState) -> Iterator[None]:
    """Calls of a driver, which may hang; all else may take its time."""
    state.outbox.append(DriverCall(START_SECONDS))
    yield
    state.outbox.append(DriverCall(None))


def _open_sink(state: ProcessState) -> Sink:
    """The sound card, or a null sink."""
    setup = state.setup
    if setup.null:
        state.device = "nowhere (no card)" if setup.card_fault else "nowhere (--null)"
        return NullSink(setup.rate or NULL_RATE, setup.block, setup.depth)
    if not setup.without_card:
        return _open_card(state)
    try:
        return _open_card(state)
    except UserError as error:
        raise NoCard(*error.args) from None


def _open_card(state: ProcessState) -> CardSink:
    """The card, and the audio input as `ProcessState.ear`."""
    setup = state.setup
    card = find_card(setup.device)
    state.device = f"{card.name} ({card.api})"
    input_card = None if setup.input is None else find_input(setup.input)
    if input_card is not None:
        state.device += f", input {input_card.name}"
    sink = CardSink(card, setup.rate or card.rate, setup.block, setup.depth, input_card)
    state.ear = sink.ear
    return sink


def _open_inputs(state: ProcessState) -> Inputs | None:
    """With the null sink and no port requested, only report a failure."""
    setup = state.setup
    if not setup.midi:
        return None
    try:
        return Inputs(setup.midi_ports, setup.midi_api, state.arrival)
    except UserError as error:
        if not setup.null or setup.midi_ports or setup.midi_api is not None:
            raise
        state.outbox.append(Say(f"{error}; playing on without MIDI"))
        return None


def _recorder(state: ProcessState) -> Any:
    """A function for `RenderLoop` that sends blocks and events to the parent while it records."""

    def keep(sound: np.ndarray, events: list[Event]) -> None:
        assert state.loop is not None
        if not state.loop.recording:
            return
        if events:  # first: wherever the recording ends, it includes the events of its sound
            state.outbox.append(Events(events))
        state.outbox.append(Sound(sound.T.tobytes()))

    return keep


def _serve(state: ProcessState, sound_thread: threading.Thread) -> None:
    """Report, scan ports and files, and obey commands, until the parent sends stop or the sound ends."""
    assert state.loop is not None
    load_thread: threading.Thread | None = None
    preset_requests: dict[Slot, str | Draft] = dict(state.setup.loading)
    state_events: Sequence[Event] = ()
    pace_seconds = state.loop.meters.look_seconds = state.setup.report_seconds
    begin_time = next_port_scan = next_file_scan = time.monotonic()
    last_report_time = -math.inf
    while True:
        _flush(state)
        now = time.monotonic()
        if not sound_thread.is_alive() or (not state.loop.started and now > begin_time + START_SECONDS):
            if state.problem is None:
                _send_loss(state)
            return
        is_resting = state.loop.player.resting and not state.loop.recording
        report_seconds = max(pace_seconds, REST_REPORT_SECONDS) if is_resting else pace_seconds
        if now >= last_report_time + report_seconds:
            last_report_time = now
            state_events = _report(state, state_events)
        if now >= next_port_scan:
            next_port_scan = now + RESCAN_SECONDS
            _rescan(state)
        preset_requests |= _programs(state)
        is_loading = load_thread is not None and load_thread.is_alive()
        longest_wait_seconds = FLUSH_SECONDS if state.loop.recording or is_loading else COMMAND_SECONDS
        for command in _commands(state, min(longest_wait_seconds, max(0.0, last_report_time + report_seconds - now))):
            match command:
                case Stop():
                    return
                case Events(events):
                    state.loop.forwarded.play(events)
                case Load(presets):
                    preset_requests |= presets
                case Record(active):
                    state.record(active)
                case Pace(seconds):
                    pace_seconds = max(FASTEST_PACE, seconds)
                    state.loop.meters.look_seconds = pace_seconds
        if load_thread is not None and load_thread.is_alive():
            continue
        if now >= next_file_scan:
            next_file_scan = now + LOOK_SECONDS
            if not preset_requests:  # a pending program change may choose another preset
                preset_requests = state.presets.edited()
        if preset_requests or state.take_wanted:
            load_thread = threading.Thread(target=_load, args=(state, preset_requests), name="load", daemon=True)
            preset_requests = {}
            load_thread.start()


def _send_loss(state: ProcessState) -> None:
    """Send the player's state, and why the card is gone."""
    assert state.loop is not None
    reason = "takes no more sound" if state.loop.sink.stuck else "has gone" if state.loop.started else "does not start"
    state.pipe.send(Standing(state.loop.standing))
    state.pipe.send(Lost(f"{state.device} {reason}"))


def _rescan(state: ProcessState) -> None:
    """Open new MIDI ports and close removed ones; send a line for each."""
    if state.inputs is not None:
        state.pipe.send(DriverCall(STUCK_SECONDS))
        for line in state.inputs.rescan():
            state.outbox.append(Say(line))
        state.pipe.send(DriverCall(None))


def _report(state: ProcessState, sent_events: Sequence[Event]) -> Sequence[Event]:
    """Send the status, and the player's state unless it equals ``sent_events``; return that state."""
    assert state.loop is not None
    state.pipe.send(Report(report(state)))
    if state.setup.panel and (midi_events := state.loop.meters.take_events()):
        state.pipe.send(Heard(midi_events))
    state_events = state.loop.standing
    if state_events != sent_events:
        state.pipe.send(Standing(state_events))
    return state_events


def _commands(state: ProcessState, seconds: float) -> Iterator[Command]:
    """Yield the parent's commands, after at most so many seconds, less where a program changes."""
    assert state.loop is not None
    ready = wait([state.pipe, state.loop.program_arrival.receiver], seconds)
    if state.loop.program_arrival.receiver in ready:
        state.loop.program_arrival.clear()
    if state.pipe in ready:
        for _ in range(MOST_COMMANDS):
            yield from state.pipe.recv()
            if not state.pipe.poll(0):
                return


def _flush(state: ProcessState) -> None:
    """Send the outbox, with recorded blocks joined: each message costs the parent time."""
    queued_messages = [state.outbox.popleft() for _ in range(len(state.outbox))]
    for is_recorded, message_group in itertools.groupby(
        queued_messages, key=lambda message: isinstance(message, Events | Sound)
    ):
        messages = list(message_group)
        if not is_recorded:
            for message in messages:
                state.pipe.send(message)
            continue
        events = [event for message in messages if isinstance(message, Events) for event in message.events]
        if events:
            state.pipe.send(Events(events))
        if sound_bytes := b"".join(message.data for message in messages if isinstance(message, Sound)):
            state.pipe.send(Sound(sound_bytes))


def _programs(state: ProcessState) -> dict[Slot, str]:
    """Presets that program changes request, by slot; send a line for each missing program."""
    assert state.loop is not None
    program_events = state.loop.programs
    requests, missing_lines = state.presets.requested([program_events.popleft() for _ in range(len(program_events))])
    for line in missing_lines:
        state.outbox.append(Say(line))
    return requests


def _load(state: ProcessState, requests: Mapping[Slot, str | Draft]) -> None:
    """Load the requested presets and swap them in; with none requested, begin a take."""
    assert state.loop is not None
    if not requests:
        _begin_take(state)
        return
    state.loop.brace(1)
    try:
        patches = state.presets.opened(requests)
        rack, old_digests = _rack(patches, state.rate, state.ear), state.presets.digests
        sound_unchanged = all(
            isinstance(request, Draft) and request.silent and patches[slot].digest == old_digests.get(slot)
            for slot, request in requests.items()
        )
        if isinstance(rack, Rack) and not sound_unchanged:
            prime(rack, state.loop.sink.block)
        preset_view = view_of({**state.presets.names, **requests}, patches, rack.knobs)
    except Exception as error:  # any failure: the current presets play on
        names_text = ", ".join(name if isinstance(name, str) else name.name for name in requests.values())
        fault_prefix = "" if isinstance(error, TimbrelError) else f"preset {names_text}: {type(error).__name__}: "
        *message_lines, last_reason = error.args if isinstance(error, TimbrelError) else (error,)
        refusal_lines = [*message_lines, f"{fault_prefix}{last_reason}; the preset before plays on"]
        state.outbox.append(PresetLines(refusal_lines))
        if state.setup.panel:
            state.outbox.append(Refused(dict(requests), refusal_lines))
        state.loop.brace(0)
        return
    if not sound_unchanged:
        state.loop.player.swap(rack, state.presets.channels(requests), _swap_recorder(state, requests, patches))
        state.arrival.set()
    state.presets.activate(requests, patches)
    state.view = preset_view
    state.outbox.append(Playing(dict(requests)))
    if state.setup.panel:
        state.outbox.append(View(preset_view))
    loaded_patches = [] if sound_unchanged else [patches[slot] for slot in requests]
    message_lines = [f"preset {patch.name!r} is loaded" for patch in loaded_patches]
    message_lines += [warning for patch in loaded_patches for warning in patch.warnings]
    state.outbox.append(PresetLines(message_lines))
    time.sleep(SETTLE_SECONDS)
    state.loop.brace(0)


def _swap_recorder(
    state: ProcessState, requests: Mapping[Slot, str | Draft], patches: Mapping[Slot, Patch]
) -> Callable[[int, int], None]:
    """A function for `Player.swap` that notes the swap in a recording."""
    render_loop = state.loop
    assert render_loop is not None
    block_samples = render_loop.sink.block
    loaded_presets = [LoadedPreset.from_patch(patches[slot], request, slot) for slot, request in requests.items()]

    def note(time: int, primed: int) -> None:
        if render_loop.recording:
            state.outbox.append(Swapped(time, Swap(presets=loaded_presets, primed=primed, block=block_samples)))

    return note


def _begin_take(state: ProcessState) -> None:
    """Record with a fresh rack of the same presets, so that `render` gives the same samples."""
    render_loop = state.loop
    assert render_loop is not None
    player, block_samples, channel_presets = render_loop.player, render_loop.sink.block, state.presets
    state.take_wanted = False
    render_loop.brace(1)
    try:
        loaded_presets = [
            LoadedPreset.from_patch(channel_presets.patches[slot], request, slot)
            for slot, request in channel_presets.names.items()
        ]
        rack = _rack(channel_presets.patches, state.rate, state.ear)
        if isinstance(rack, Rack):
            prime(rack, block_samples)
    except Exception as error:  # any failure: the sound plays on
        state.outbox.append(TakeEnd(f"cannot record: {type(error).__name__}: {error}"))
        render_loop.brace(0)
        return

    def begin(time: int, primed: int) -> None:
        swap = Swap(presets=loaded_presets, primed=primed, block=block_samples)
        state.outbox.append(Take(time, swap, player.standing, player.rack.latency_samples))
        render_loop.recording = True

    player.swap(rack, (), begin)
    state.arrival.set()
    time.sleep(SETTLE_SECONDS)
    render_loop.brace(0)


def _stopped(state: ProcessState) -> bool:
    """Return whether the parent has sent stop."""
    return state.pipe.poll(0) and any(isinstance(command, Stop) for command in state.pipe.recv())


def _send_problem(state: ProcessState) -> None:
    """Send the error that ended the sound."""
    error = state.problem
    if isinstance(error, TimbrelError):
        state.pipe.send(Fault(error.args, error.exit_status, isinstance(error, NoCard)))
    elif isinstance(error, ModuleNotFoundError):
        state.pipe.send(Fault([how_to_install(str(error.name))], 2))
    else:
        state.pipe.send(Fault([f"internal error: {type(error).__name__}: {error}"], 1))


def _rack(patches: Mapping[Slot, Patch], rate: int, ear: Ear | None) -> PlayableRack:
    """A live rack that plays the patches, or that processes the audio input ``ear``."""
    if ear is not None:
        return EffectRack(patches[None], rate, ear)
    for patch in patches.values():
        check_real_time(patch.preset, patch.name, "play it, or render it")
    return Rack(by_channel(patches), rate, omni=True, live=True)
