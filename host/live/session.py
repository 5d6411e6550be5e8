"""Parent of the audio process: checks the system, displays, records, and restarts it when the card returns."""

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

from ..child_process import ChildProcess
from ..errors import Failure, UserError
from ..events import ParameterTouch
from ..midi.controllers import hands_off
from ..session.frontends import Frontends, Panel, Screen
from ..session.messages import (
    Command,
    DriverCall,
    Events,
    Fault,
    LiveStatus,
    Load,
    Lost,
    Message,
    Playing,
    Ready,
    Record,
    Recorded,
    Refused,
    Report,
    Say,
    SessionView,
    Setup,
    Sound,
    Standing,
    Stop,
    Swapped,
    Take,
    TakeEnd,
    Warn,
)
from ..session.panel_process import MessageQueue, PipeWriter
from ..session.takes import Recording, Takes

# of a setup
FIELDS = ("device", "null", "card_fault", "block", "depth", "lowest_latency", "midi", "midi_ports", "only")


def changed(setup: Setup, changes: Mapping[str, Any]) -> Setup:
    """Setup with other ``device``, ``block``, ``lowest_latency``, ``ports`` or ``channel``."""
    setup_fields = {name: changes[name] for name in ("device", "block", "lowest_latency") if name in changes}
    if "device" in changes:
        setup_fields |= {"null": False, "card_fault": ""}
    if "lowest_latency" in changes:
        setup_fields["depth"] = 1 if changes["lowest_latency"] else 2
    if "ports" in changes:
        setup_fields |= {"midi": changes["ports"] is not None, "midi_ports": tuple(changes["ports"] or ())}
    if "channel" in changes:
        setup_fields["only"] = changes["channel"]
    return replace(setup, **setup_fields)


def with_settings_of(setup: Setup, source: Setup) -> Setup:
    """Setup with the `FIELDS` of another, ``source``."""
    return replace(setup, **{field_name: getattr(source, field_name) for field_name in FIELDS})


def session_view(setup: Setup, takes: Takes, restarting: bool = False) -> SessionView:
    return SessionView(
        ports=setup.midi_ports if setup.midi else None,
        midi_api=setup.midi_api,
        channel=setup.only,
        block=setup.block,
        lowest_latency=setup.lowest_latency,
        card_fault=setup.card_fault,
        restarting=restarting,
        recording=takes.state,
        start_time=takes.start_time,
        files=takes.files,
    )


GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
STEADY = ("performance", "schedutil")
WIRELESS = ("bluetooth", "bluez", "airpods", "a2dp", "hands-free")  # in the system's names of such outputs


def advice() -> list[str]:
    """Lines on settings of the system that disturb the sound."""
    lines: list[str] = []
    try:
        governor = GOVERNOR.read_text(encoding="ascii").strip()
    except OSError:  # no such setting, as in virtual machines
        governor = STEADY[0]
    if governor not in STEADY:
        lines.append(f"the processor saves power ({governor}); for steady sound: cpupower frequency-set -g performance")
    if sys.platform == "linux" and not _may_hurry():
        lines.append("no right to realtime priority; join the group 'audio' and log in again (limits: rtprio 95)")
    return lines


def bluetooth(device: str) -> list[str]:
    """A line if the output is Bluetooth, whose delay cannot be reduced."""
    if any(word in device.casefold() for word in WIRELESS):
        return [f"{device} plays by Bluetooth, a tenth of a second or more late; use a cable to play keys"]
    return []


def _may_hurry() -> bool:
    import os
    import resource

    return os.geteuid() == 0 or resource.getrlimit(resource.RLIMIT_RTPRIO)[1] != 0


# Each batch reads all weights of a decoder: a seventh faster from 2 MB pages (glibc 2.35 and later).
HUGE_PAGES = ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
_STARTING = threading.Lock()
MOMENT_SECONDS = 0.05  # latency of typed keys where stdin cannot be polled, and of a key's release
MOST_MESSAGES = 64  # read before commands are sent
AGAIN_SECONDS = 1.0  # between attempts to reopen a lost card
REST_SECONDS = 0.3  # timeout for the last recorded messages
PATIENCE_SECONDS = 0.6  # timeout of a process after stop
TRIAL_SECONDS = 3.0  # of playing with new settings: if the card goes within them, the settings before come back
STEADY_SECONDS = 10.0  # of playing: an error of the sound process within them would come again at once


def play(setup: Setup, screen: Screen, recording: Recording, overwrite: bool, panel: Panel | None = None) -> None:
    """Play until SIGINT, SIGTERM, SIGHUP or the quit key; errors as in `play_until`."""
    with _stop_on_signals() as stop_event:
        play_until(stop_event, setup, screen, recording, overwrite, panel)


def play_until(
    stop: threading.Event,
    setup: Setup,
    screen: Screen,
    recording: Recording,
    overwrite: bool = False,
    panel: Panel | None = None,
) -> None:
    """Play until ``stop`` is set, or the quit key.

    Raises:
        UserError: the card, a port, the preset or an output cannot be used.
        Failure: the card or the sound process is lost before it plays.
    """
    recording.check(overwrite)
    frontends, command_queue = Frontends(screen, panel), MessageQueue()
    with Takes(recording, overwrite, frontends) as takes:
        setup = replace(setup, panel=panel is not None)
        underrun_count = 0
        has_played = card_lost = False
        previous_setup, trial_end_time = setup, 0.0  # to go back to, if new settings fail before
        while not stop.is_set():
            if has_played and (setting_changes := _changes(frontends, takes, None)):
                previous_setup, setup, trial_end_time = setup, changed(setup, setting_changes), math.inf
            if trial_end_time == math.inf:
                frontends.show_session(session_view(setup, takes, restarting=True))
            audio_process = _AudioProcess(replace(setup, recording=takes.writing))
            try:
                ready_status = audio_process.wait_until_ready(stop, frontends, command_queue)
                if ready_status is None:
                    return
                frontends.show(Ready(replace(ready_status, underruns=ready_status.underruns + underrun_count)))
                for line in _ready_lines(ready_status, has_played, card_lost, trial_end_time):
                    frontends.show(Say(line))
                has_played, card_lost = True, False
                if trial_end_time:
                    trial_end_time = time.monotonic() + TRIAL_SECONDS
                takes.ready(setup, ready_status)
                for command in command_queue.take_all():
                    audio_process.send(command)
                setting_changes = _watch(audio_process, frontends, stop, ready_status, takes, underrun_count)
                underrun_count += audio_process.underruns
                previous_setup, setup, trial_end_time = (
                    audio_process.setup,
                    changed(audio_process.setup, setting_changes),
                    math.inf,
                )
                continue
            except (_Lost, UserError, Failure) as error:
                if not has_played and isinstance(error, _Lost):
                    raise Failure(str(error)) from None
                if not has_played and isinstance(error, _NoCard):
                    setup = _without_card(audio_process.setup, error, frontends)
                    continue
                if time.monotonic() < trial_end_time:
                    setup, trial_end_time = with_settings_of(audio_process.setup, previous_setup), 0.0
                    frontends.show(Warn(f"{error}; the settings before play on"))
                    continue
                if not has_played or isinstance(error, Failure):
                    raise
                setup, trial_end_time = audio_process.setup, 0.0
                if not card_lost:
                    card_lost = True
                    underrun_count += audio_process.underruns
                    frontends.show(Lost(str(error)))
            finally:
                audio_process.end()
            _pause(frontends, command_queue, stop)


def _without_card(setup: Setup, error: UserError, frontends: Frontends) -> Setup:
    """Setup that plays to nowhere, because the card cannot be opened."""
    card_fault = str(error.args[-1]).partition(";")[0]  # without the next step, which is another one here
    frontends.show(Say(f"{card_fault}; playing without sound: choose a card in Session of the panel"))
    return replace(setup, null=True, without_card=False, card_fault=card_fault)


def _changes(frontends: Frontends, takes: Takes, audio: "_AudioProcess | None") -> dict[str, Any]:
    """Settings that pages have changed, by name; their requests to record go to ``takes``, and on to ``audio``."""
    setting_changes: dict[str, Any] = {}
    while frontends.parent_commands:
        command = frontends.parent_commands.popleft()
        if isinstance(command, Record):
            record_command = takes.ask(command.active, is_playing=audio is not None)
            if record_command is not None and audio is not None:
                audio.send(record_command)
        elif takes.state != "off":
            frontends.show(Say("the settings stay as they are while a recording runs"))
        else:
            setting_changes |= command.changes
    return setting_changes


def _ready_lines(status: LiveStatus, has_played: bool, card_lost: bool, trial_end_time: float) -> list[str]:
    """Lines for the user once the sound plays."""
    if not has_played:
        return [*advice(), *bluetooth(status.device)]
    if trial_end_time:
        return [f"{status.device} plays, in blocks of {status.block}"]
    return [f"{status.device} is back"] if card_lost else []


def _pause(frontends: Frontends, queue: MessageQueue, stop: threading.Event) -> None:
    """Keep commands for `AGAIN_SECONDS`, before the card is opened again."""
    deadline = time.monotonic() + AGAIN_SECONDS
    while time.monotonic() < deadline and not stop.wait(MOMENT_SECONDS):
        if not frontends.keep(queue):
            stop.set()


def _sound(pipe: Connection, setup: Setup) -> None:
    """The audio process alone imports the session."""
    from .audio_process import run

    run(pipe, setup)


class _Lost(Exception):
    """The card is gone, or the sound process after it has played for a while."""


class _NoCard(UserError):
    """The card is missing, or cannot be opened."""


class _AudioProcess:
    def __init__(self, setup: Setup) -> None:
        with _for_audio():
            self._child = ChildProcess(_sound, setup, name="sound")
        self._pipe = self._child.pipe
        self._writer = PipeWriter(self._pipe)
        self._last_message_time = time.monotonic()
        self._patience = math.inf  # seconds without a message; finite while the process calls a driver
        self._steady_time = math.inf  # from which on another process follows this one after an error
        self.underruns = 0
        self.setup = setup  # with the current presets

    def wait_until_ready(self, stop: threading.Event, frontends: Frontends, queue: MessageQueue) -> LiveStatus | None:
        """None if stopped; shows messages and queues commands meanwhile."""
        while not stop.is_set():
            self.wait(MOMENT_SECONDS)
            for message in self.messages():
                if isinstance(message, Say):
                    frontends.show(message)
                if isinstance(message, Ready):
                    self._steady_time = time.monotonic() + STEADY_SECONDS
                    return message.status
            if not frontends.keep(queue):
                stop.set()
        return None

    def wait(self, seconds: float, waitables: Sequence[Any] = ()) -> None:
        wait([self._pipe, *waitables], seconds)

    def messages(self) -> Iterator[Message]:
        """At most `MOST_MESSAGES`; raise `_Lost`, or the process's UserError or Failure."""
        try:
            if not self._pipe.poll(0):
                if time.monotonic() - self._last_message_time > self._patience:
                    raise _Lost("the sound card's driver no longer answers")
                return
            for _ in range(MOST_MESSAGES):
                message: Message = self._pipe.recv()
                self._last_message_time = time.monotonic()
                self.setup = _went_on(self.setup, message)
                match message:
                    case Lost(reason):
                        raise _Lost(reason)
                    case Fault(lines, exit_status, _) if exit_status != 2 and time.monotonic() >= self._steady_time:
                        raise _Lost(f"the sound process has failed: {lines[-1]}")  # on stage, silence is worse
                    case Fault(lines, exit_status, no_card):
                        raise (_NoCard if no_card else UserError if exit_status == 2 else Failure)(*lines)
                    case DriverCall(seconds):
                        self._patience = seconds or math.inf
                    case Report(status):
                        self.underruns = status.underruns
                        yield message
                    case _:
                        yield message
                if not self._pipe.poll(0):
                    return
        except (EOFError, ConnectionError):
            raise _Lost("the sound process has ended") from None

    def send(self, command: Command) -> None:
        """Without blocking; dropped if the process is gone."""
        if isinstance(command, Load):
            self.setup = replace(self.setup, loading={**self.setup.loading, **command.presets})
        self._writer.put(command)

    def drain(self) -> Iterator[Message]:
        """Send stop, and yield the last messages."""
        self.send(Stop())
        deadline = time.monotonic() + REST_SECONDS
        with contextlib.suppress(EOFError, ConnectionError):
            while (remaining_seconds := deadline - time.monotonic()) > 0 and self._pipe.poll(remaining_seconds):
                message: Message = self._pipe.recv()
                self.setup = _went_on(self.setup, message)
                yield message

    def end(self) -> None:
        self.send(Stop())
        self._child.process.join(PATIENCE_SECONDS)
        self._writer.close()
        self._child.end()


@contextlib.contextmanager
def _for_audio() -> Iterator[None]:
    """Huge pages, and no main module: importing it would run a user's script again."""
    with _STARTING:
        main_module = sys.modules["__main__"]
        main_attributes: dict[str, object] = {
            name: main_module.__dict__[name] for name in ("__file__", "__spec__") if name in main_module.__dict__
        }
        old_tunables = os.environ.get(HUGE_PAGES[0])
        try:
            main_module.__dict__.pop("__file__", None)
            main_module.__spec__ = None
            os.environ.setdefault(*HUGE_PAGES)
            yield
        finally:
            main_module.__dict__.update(main_attributes)
            if old_tunables is None:
                del os.environ[HUGE_PAGES[0]]


def _watch(
    audio: _AudioProcess,
    frontends: Frontends,
    stop: threading.Event,
    status: LiveStatus,
    takes: Takes,
    earlier_underruns: int,
) -> dict[str, Any]:
    """Pass messages on until ``stop``, or until pages change settings; return these, by name."""
    setting_changes: dict[str, Any] = {}
    while not stop.is_set() and changed(audio.setup, setting_changes) == audio.setup:
        frontends.show_session(session_view(audio.setup, takes))
        audio.wait(MOMENT_SECONDS, frontends.waitables())
        for command in frontends.commands():  # first: display and files are slow
            if isinstance(command, Stop):
                stop.set()
            else:
                audio.send(command)
        setting_changes |= _changes(frontends, takes, audio)
        for message in audio.messages():
            match message:
                case Take():
                    takes.begin(message, audio.setup, status)
                case TakeEnd(fault):
                    takes.end(fault)
                case Report(status):
                    frontends.show(Report(replace(status, underruns=status.underruns + earlier_underruns)))
                case Sound() | Events() | Swapped():
                    takes.record(message)
                case _:
                    frontends.show(message)
    for message in audio.drain():
        if isinstance(message, Recorded):
            takes.record(message)
    return setting_changes


def _went_on(setup: Setup, message: Message) -> Setup:
    """Setup from which a restarted process continues after this message."""
    match message:
        case Playing(presets):
            channel_presets = {
                **dict(setup.channels),
                **{slot: preset for slot, preset in presets.items() if slot is not None},
            }
            loading_presets = {slot: preset for slot, preset in setup.loading.items() if presets.get(slot) != preset}
            default_preset = presets.get(None, setup.preset)
            return replace(
                setup, preset=default_preset, channels=tuple(channel_presets.items()), loading=loading_presets
            )
        case Refused(presets):
            return replace(
                setup, loading={slot: preset for slot, preset in setup.loading.items() if slot not in presets}
            )
        case Standing(events):  # keys and pedals may be released while no sound plays
            state_events = [*(event for event in events if not isinstance(event, ParameterTouch)), *hands_off()]
            return replace(setup, state_events=state_events)
    return setup


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """SIGINT, SIGTERM and SIGHUP set it, unless ignored as in `interrupts.listening`."""
    stop_event = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop_event.set()

    signal_numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup sets it
        signal_numbers.append(signal.SIGHUP)
    old_handlers = {signal_number: signal.signal(signal_number, handle) for signal_number in signal_numbers}
    try:
        yield stop_event
    finally:
        for signal_number, handler in old_handlers.items():
            signal.signal(signal_number, handler)
